//! Base images as the API and the pages both show them, and the steering of waves. Whatever is answered holds only what the
//! caller may see: what comes from repositories that they may not see is left out as if it were not there.

mod circles;
mod consequences;
mod graph;
mod images;
mod outdated;
mod repository;
mod sight;
mod standing;
mod steering;
mod waves;

pub use self::{
    circles::check_circle,
    consequences::{DryRun, DryRunItem, consequences},
    graph::{GraphEdge, GraphNode, Picture, graph},
    images::{
        ImageSummary, ImageVersionSeen, ImageView, StandingOn, VersionWave, image, images, look_now, may_look_now,
    },
    outdated::{OutdatedBase, count_outdated, outdated},
    repository::{BaseUse, RepositoryBase, Watch, of_repository},
    steering::{cancel, pause, steerable, throttle},
    waves::{ItemView, MoveView, WaveDetail, WaveView, wave, waves},
};
use crate::domain::image::ImageReference;

/// An image as short as people write it.
pub fn familiar(image: &str) -> String {
    ImageReference::parse(image).map_or_else(|_| image.to_owned(), |image| image.familiar())
}

/// A full or familiar name in full, as images are stored; `None`: it names none.
fn full_name(name: &str) -> Option<String> {
    ImageReference::parse(name).ok().map(|image| image.to_string())
}
