//! Logs of builds that are over: one compressed file each, in a directory of the local disk.
//!
//! A file appears whole or not at all, and never changes. No name of a file is ever made from anything but a checked id.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::NamedTempFile;
use tokio::task::spawn_blocking;

use super::chunks::{ChunkReader, Extent, ReadError, ReadPiece};
use super::seekable::{FRAME, SeekableError, SeekableReader, SeekableWriter};
use crate::domain::ids::BuildId;

const SUFFIX: &str = ".log.zst";
/// Begins the names of files that are not whole yet.
const UNFINISHED: &str = ".sealing-";
/// No log takes longer to be sealed: what is older was left behind by a crash.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a log was not sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Our bug: only what has ended may be sealed, or its rest would be lost.
    #[error("the log has not ended")]
    NotEnded,
    /// Our bug.
    #[error("the id of the build is not one of ours")]
    BadId,
    #[error("failed to read the log to seal: {0}")]
    Read(#[from] ReadError),
    /// A full disk, for one. May pass.
    #[error("failed to write the sealed log: {0}")]
    Write(#[from] io::Error),
}

/// The sealed logs of one directory.
#[derive(Debug, Clone)]
pub struct SealedLogs {
    dir: Arc<Path>,
}

impl SealedLogs {
    /// Uses `dir`, makes it if need be, and removes what a crash left in it. Blocks on the disk.
    pub fn new(dir: impl Into<PathBuf>) -> io::Result<Self> {
        let dir = dir.into();
        fs::create_dir_all(&dir)?;
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let unfinished = entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes());
            if unfinished
                && entry
                    .metadata()?
                    .modified()?
                    .elapsed()
                    .is_ok_and(|age| age > LEFT_BEHIND)
            {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { dir: dir.into() })
    }

    /// Writes the whole log of `build` and gives its size in bytes before compression. It is durable then. Sealing
    /// again replaces the file by one with the same content.
    pub async fn seal<R: ChunkReader>(&self, build: &BuildId, reader: &R) -> Result<u64, SealError> {
        let path = self.path(build).ok_or(SealError::BadId)?;
        let dir = Arc::clone(&self.dir);
        let mut writer = blocking(move || {
            let file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(dir)?;
            SeekableWriter::new(file)
        })
        .await?;
        let mut size = 0;
        loop {
            let content = read_frame(build, reader, size).await?;
            if content.is_empty() {
                break;
            }
            size += content.len() as u64;
            writer = blocking(move || writer.frame(&content).map(|()| writer)).await?;
        }
        let dir = Arc::clone(&self.dir);
        blocking(move || keep(writer, &path, &dir)).await?;
        Ok(size)
    }

    /// Removes the log of `build`, if there is one.
    pub async fn remove(&self, build: &BuildId) -> io::Result<()> {
        let Some(path) = self.path(build) else { return Ok(()) };
        blocking(move || match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
        .await
    }

    /// Only a hexadecimal id makes a name.
    fn path(&self, build: &BuildId) -> Option<PathBuf> {
        let id = build.as_str();
        let valid = (1..=64).contains(&id.len()) && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        valid.then(|| self.dir.join(format!("{id}{SUFFIX}")))
    }

    async fn with_log<T: Send + 'static>(
        &self,
        build: &BuildId,
        work: impl FnOnce(SeekableReader) -> Result<T, SeekableError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let path = self.path(build).ok_or(ReadError::NotFound)?;
        let done = spawn_blocking(move || work(SeekableReader::open(File::open(path)?)?)).await;
        done.map_err(|error| ReadError::Unavailable(error.to_string()))?
            .map_err(|error| match error {
                SeekableError::Io(error) => match error.kind() {
                    io::ErrorKind::NotFound => ReadError::NotFound,
                    io::ErrorKind::UnexpectedEof => ReadError::Corrupt("it is cut off".to_owned()),
                    _ => ReadError::Unavailable(error.to_string()),
                },
                SeekableError::Corrupt(what) => ReadError::Corrupt(what.to_owned()),
            })
    }
}

impl ChunkReader for SealedLogs {
    /// At most what is left of 1 MiB, which is what one frame holds.
    async fn read(&self, build: &BuildId, offset: u64, max: usize) -> Result<ReadPiece, ReadError> {
        let bytes = self.with_log(build, move |mut log| log.read(offset, max)).await?;
        Ok(ReadPiece { bytes, ended: true })
    }

    async fn extent(&self, build: &BuildId) -> Result<Extent, ReadError> {
        let size = self.with_log(build, |log| Ok(log.size())).await?;
        Ok(Extent { size, ended: true })
    }
}

/// Reads the content of the next frame; empty at the end of the log.
async fn read_frame<R: ChunkReader>(build: &BuildId, reader: &R, offset: u64) -> Result<Vec<u8>, SealError> {
    let mut content = Vec::new();
    while content.len() < FRAME {
        let piece = reader
            .read(build, offset + content.len() as u64, FRAME - content.len())
            .await?;
        if !piece.ended {
            return Err(SealError::NotEnded);
        }
        if piece.bytes.is_empty() {
            break;
        }
        content.extend(piece.bytes);
    }
    Ok(content)
}

/// Makes the finished file durable under its name.
fn keep(writer: SeekableWriter<NamedTempFile>, path: &Path, dir: &Path) -> io::Result<()> {
    let file = writer.finish()?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(dir)?.sync_all()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::SeqCst;

    use super::super::follow::follow;
    use super::super::hub::LogHub;
    use super::super::testing::MemoryStore;
    use super::*;
    use futures_util::TryStreamExt as _;

    struct Fixture {
        dir: tempfile::TempDir,
        sealed: SealedLogs,
        store: Arc<MemoryStore>,
        build: BuildId,
    }

    impl Fixture {
        /// With a log of that many bytes, ended and not sealed.
        fn new(size: u32) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let sealed = SealedLogs::new(dir.path()).unwrap();
            let (store, build) = (MemoryStore::new(), BuildId::new());
            // Neither all the same nor random.
            let log: Vec<u8> = (0..size)
                .map(|number| (number.wrapping_mul(number) >> 7) as u8)
                .collect();
            store.put(&build, &log);
            store.end(&build);
            Self {
                dir,
                sealed,
                store,
                build,
            }
        }

        fn files(&self) -> Vec<String> {
            let names = fs::read_dir(self.dir.path()).unwrap();
            names
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect()
        }

        fn path(&self) -> PathBuf {
            self.sealed.path(&self.build).unwrap()
        }
    }

    #[tokio::test]
    async fn any_range_of_a_sealed_log_is_that_of_the_original() {
        let fixture = Fixture::new(2_500_000);
        let original = fixture.store.log(&fixture.build);
        assert_eq!(
            fixture.sealed.seal(&fixture.build, &*fixture.store).await.unwrap(),
            2_500_000
        );
        assert_eq!(fixture.files(), [format!("{}.log.zst", fixture.build)]);
        let extent = fixture.sealed.extent(&fixture.build).await.unwrap();
        assert_eq!(
            extent,
            Extent {
                size: 2_500_000,
                ended: true
            }
        );
        let edges = [
            0,
            1,
            FRAME - 1,
            FRAME,
            FRAME + 1,
            2 * FRAME,
            2_400_000,
            2_499_999,
            2_500_000,
            9_000_000,
        ];
        for from in edges {
            for length in [1, 1000, FRAME, 3_000_000] {
                let mut got = Vec::new();
                while got.len() < length {
                    let offset = (from + got.len()) as u64;
                    let piece = fixture
                        .sealed
                        .read(&fixture.build, offset, length - got.len())
                        .await
                        .unwrap();
                    assert!(piece.ended);
                    if piece.bytes.is_empty() {
                        break;
                    }
                    got.extend(piece.bytes);
                }
                let from = from.min(original.len());
                assert!(
                    got == original[from..original.len().min(from + length)],
                    "{from} {length}"
                );
            }
        }
    }

    #[tokio::test]
    async fn a_sealed_log_is_followed_like_a_growing_one() {
        let fixture = Fixture::new(200_000);
        fixture.sealed.seal(&fixture.build, &*fixture.store).await.unwrap();
        let hub = Arc::<LogHub>::default();
        let log = follow(Arc::new(fixture.sealed.clone()), &hub, fixture.build.clone(), 100);
        let pieces: Vec<_> = log.try_collect().await.unwrap();
        let bytes: Vec<u8> = pieces.into_iter().flat_map(|piece| piece.bytes).collect();
        assert!(bytes == fixture.store.log(&fixture.build)[100..]);
    }

    #[tokio::test]
    async fn empty_logs_and_whole_frames_are_sealed() {
        for size in [0, FRAME as u32, 2 * FRAME as u32] {
            let fixture = Fixture::new(size);
            assert_eq!(
                fixture.sealed.seal(&fixture.build, &*fixture.store).await.unwrap(),
                u64::from(size)
            );
            assert_eq!(
                fixture.sealed.extent(&fixture.build).await.unwrap().size,
                u64::from(size)
            );
        }
    }

    #[tokio::test]
    async fn a_log_that_still_grows_or_cannot_be_read_leaves_no_file() {
        let fixture = Fixture::new(1000);
        let growing = BuildId::new();
        fixture.store.put(&growing, b"begun");
        assert!(matches!(
            fixture.sealed.seal(&growing, &*fixture.store).await,
            Err(SealError::NotEnded)
        ));
        fixture.store.reads_fail.store(true, SeqCst);
        assert!(matches!(
            fixture.sealed.seal(&fixture.build, &*fixture.store).await,
            Err(SealError::Read(_))
        ));
        assert_eq!(fixture.files(), [""; 0]);
    }

    #[tokio::test]
    async fn sealing_again_and_removing_twice_are_harmless() {
        let fixture = Fixture::new(1000);
        for _ in 0..2 {
            fixture.sealed.seal(&fixture.build, &*fixture.store).await.unwrap();
        }
        for _ in 0..2 {
            fixture.sealed.remove(&fixture.build).await.unwrap();
        }
        assert_eq!(
            fixture.sealed.read(&fixture.build, 0, 1).await,
            Err(ReadError::NotFound)
        );
        assert_eq!(fixture.files(), [""; 0]);
    }

    #[tokio::test]
    async fn only_hexadecimal_ids_make_file_names() {
        let fixture = Fixture::new(1000);
        let long = "a".repeat(65);
        for id in ["", "..", "../x", "/etc/passwd", "a/b", "0A", "0g", "a\0", "a.b", &long] {
            let build = BuildId::from(id);
            fixture.store.end(&build);
            assert!(
                matches!(
                    fixture.sealed.seal(&build, &*fixture.store).await,
                    Err(SealError::BadId)
                ),
                "{id}"
            );
            assert_eq!(
                fixture.sealed.read(&build, 0, 1).await,
                Err(ReadError::NotFound),
                "{id}"
            );
            fixture.sealed.remove(&build).await.unwrap();
        }
    }

    #[tokio::test]
    async fn damaged_files_are_told_apart_from_missing_ones() {
        let fixture = Fixture::new(100_000);
        fixture.sealed.seal(&fixture.build, &*fixture.store).await.unwrap();
        let good = fs::read(fixture.path()).unwrap();
        for length in [0, 5, 100, good.len() / 2, good.len() - 1] {
            fs::write(fixture.path(), &good[..length]).unwrap();
            let read = fixture.sealed.read(&fixture.build, 0, 10).await;
            assert!(matches!(read, Err(ReadError::Corrupt(_))), "{length} {read:?}");
        }
        let mut damaged = good;
        damaged[1000] ^= 1;
        fs::write(fixture.path(), &damaged).unwrap();
        assert!(matches!(
            fixture.sealed.read(&fixture.build, 0, 10).await,
            Err(ReadError::Corrupt(_))
        ));
    }

    #[tokio::test]
    async fn what_a_crash_left_behind_is_removed_and_what_is_being_sealed_is_not() {
        let fixture = Fixture::new(1000);
        fixture.sealed.seal(&fixture.build, &*fixture.store).await.unwrap();
        for (name, age) in [
            (".sealing-old", LEFT_BEHIND * 2),
            (".sealing-new", Duration::ZERO),
            ("other", LEFT_BEHIND * 2),
        ] {
            let file = File::create(fixture.dir.path().join(name)).unwrap();
            file.set_modified(std::time::SystemTime::now() - age).unwrap();
        }
        SealedLogs::new(fixture.dir.path()).unwrap();
        let mut left = fixture.files();
        left.sort();
        assert_eq!(
            left,
            [
                ".sealing-new".to_owned(),
                format!("{}.log.zst", fixture.build),
                "other".to_owned()
            ]
        );
    }
}
