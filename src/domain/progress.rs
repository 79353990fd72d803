//! How the parts that do a build's work tell what they are doing.

use super::build::{BaseImage, Step};

/// Takes what a build says. Calls never block and never fail: who builds must not notice who reads.
pub trait Progress: Send + Sync {
    /// Appends bytes to the build's log, as they came; they need not end at a line's end.
    fn write(&self, bytes: &[u8]);

    /// Replaces the list of steps by a newer state of it.
    fn steps(&self, steps: Vec<Step>);

    /// Replaces the list of the images that the build stands on by what is known now.
    fn base_images(&self, _images: Vec<BaseImage>) {}

    /// Appends one line of our own.
    fn line(&self, text: &str) {
        self.write(format!("{text}\n").as_bytes());
    }
}
