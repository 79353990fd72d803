//! How often the disk can make something durable: the limit of everything that promises to keep what it was given.

use std::{
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

const TIME: Duration = Duration::from_secs(1);

/// Appends of 4 KiB, each synced before the next, per second.
pub fn syncs_per_second(directory: &Path) -> f64 {
    let mut file = tempfile::tempfile_in(directory).expect("a temporary file");
    let (begun, mut syncs) = (Instant::now(), 0);
    while begun.elapsed() < TIME {
        file.write_all(&[0x5a; 4096]).expect("a page can be written");
        file.sync_data().expect("a page can be synced");
        syncs += 1;
    }
    f64::from(syncs) / begun.elapsed().as_secs_f64()
}
