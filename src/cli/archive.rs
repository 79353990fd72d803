//! The file that `backup` writes and `restore` reads: a tar, compressed with zstd and with its checksum.
//!
//! Of an archive only the names that are known are taken, as regular files: nothing in it can reach out of the directory
//! that it is unpacked into.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub const MANIFEST: &str = "backup.json";
pub const DATABASE: &str = "hullworks.db";
pub const KEY_FILE: &str = "master.key";
pub const LOGS: &str = "logs";

const FORMAT: u32 = 1;
const COMPRESSION: i32 = 3;

/// Largest manifest that is read, in bytes.
const MAX_MANIFEST: u64 = 64 << 10;

/// How deep the logs' directories may go.
const MAX_DEPTH: usize = 4;

/// What an archive says of itself; its first entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format: u32,
    /// The program's version that wrote it.
    pub version: String,
    pub database: DatabaseKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseKind {
    /// In the archive.
    Sqlite,
    /// Backed up by its own tools.
    Postgres,
}

/// Why an archive is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("it cannot be read to its end: {0}")]
    Unreadable(#[from] io::Error),
    #[error("it is not a backup of Hullworks: it does not begin with {MANIFEST}")]
    Foreign,
    #[error("it has the format {0}, which this version does not know")]
    UnknownFormat(u32),
    #[error("it has an entry that no backup has: `{}`", .0.escape_debug())]
    ForeignEntry(String),
    #[error("it lacks {0}")]
    Incomplete(&'static str),
}

/// Writes an archive entry by entry.
pub struct ArchiveWriter<W: Write> {
    tar: tar::Builder<zstd::Encoder<'static, W>>,
}

impl<W: Write> ArchiveWriter<W> {
    pub fn new(to: W, database: DatabaseKind) -> io::Result<Self> {
        let mut encoder = zstd::Encoder::new(to, COMPRESSION)?;
        encoder.include_checksum(true)?;
        let mut writer = Self {
            tar: tar::Builder::new(encoder),
        };
        let manifest = Manifest {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            database,
        };
        let text = serde_json::to_vec(&manifest)?;
        writer.append(MANIFEST, text.len() as u64, text.as_slice())?;
        Ok(writer)
    }

    pub fn file(&mut self, name: &str, path: &Path) -> io::Result<()> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        // A file that grows meanwhile is cut where it was.
        self.append(name, size, file.take(size))
    }

    /// The files below a directory whose names a backup may have; others are the work of a moment, such as temporary files.
    pub fn logs(&mut self, directory: &Path) -> io::Result<()> {
        let mut waiting = vec![(LOGS.to_owned(), directory.to_owned())];
        while let Some((name, directory)) = waiting.pop() {
            for entry in fs::read_dir(&directory)? {
                let entry = entry?;
                let Ok(own_name) = entry.file_name().into_string() else {
                    continue;
                };
                let name = format!("{name}/{own_name}");
                if !is_log_name(&name) {
                    continue;
                }
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    waiting.push((name, entry.path()));
                } else if kind.is_file() {
                    match self.file(&name, &entry.path()) {
                        // Deleted with its repository since the directory was read.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        done => done?,
                    }
                }
            }
        }
        Ok(())
    }

    pub fn finish(self) -> io::Result<W> {
        self.tar.into_inner()?.finish()
    }

    fn append(&mut self, name: &str, size: u64, content: impl Read) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_mode(0o600);
        self.tar.append_data(&mut header, name, content)
    }
}

/// Unpacks a whole archive into an empty directory, every file readable by its owner alone.
pub fn unpack(from: impl Read, into: &Path) -> Result<Manifest, ArchiveError> {
    let mut archive = tar::Archive::new(zstd::Decoder::new(from)?);
    let mut manifest = None;
    let mut names = BTreeSet::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if manifest.is_none() {
            manifest = Some(read_manifest(&name, &mut entry)?);
            continue;
        }
        let is_known = [DATABASE, KEY_FILE].contains(&name.as_str()) || is_log_name(&name);
        if !is_known || entry.header().entry_type() != tar::EntryType::Regular || !names.insert(name.clone()) {
            return Err(ArchiveError::ForeignEntry(name));
        }
        write_private(&into.join(&name), &mut entry)?;
    }
    // The checksum is at the very end, behind the tar's own end.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    let manifest = manifest.ok_or(ArchiveError::Foreign)?;
    if !names.contains(KEY_FILE) {
        return Err(ArchiveError::Incomplete(KEY_FILE));
    }
    if manifest.database == DatabaseKind::Sqlite && !names.contains(DATABASE) {
        return Err(ArchiveError::Incomplete(DATABASE));
    }
    Ok(manifest)
}

fn read_manifest(name: &str, entry: &mut impl Read) -> Result<Manifest, ArchiveError> {
    if name != MANIFEST {
        return Err(ArchiveError::Foreign);
    }
    let mut text = Vec::new();
    entry.take(MAX_MANIFEST).read_to_end(&mut text)?;
    let found: serde_json::Value = serde_json::from_slice(&text).map_err(|_| ArchiveError::Foreign)?;
    match found["format"].as_u64() {
        Some(format) if format == u64::from(FORMAT) => {}
        Some(format) => return Err(ArchiveError::UnknownFormat(format as u32)),
        None => return Err(ArchiveError::Foreign),
    }
    serde_json::from_value(found).map_err(|_| ArchiveError::Foreign)
}

fn write_private(path: &PathBuf, content: &mut impl Read) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    io::copy(content, &mut file)?;
    file.sync_all()
}

/// `logs/...`, of plain components alone: no hidden ones, no `..`, nothing absolute.
fn is_log_name(name: &str) -> bool {
    let Some(below) = name.strip_prefix("logs/") else {
        return false;
    };
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
    name.len() <= 200
        && below.split('/').count() <= MAX_DEPTH
        && below
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && part.bytes().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive with a manifest and these entries.
    fn archive(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
        let mut writer = ArchiveWriter::new(Vec::new(), DatabaseKind::Sqlite).unwrap();
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            // Set byte by byte: the library itself refuses the names that are tested here.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o4777);
            if matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link) {
                header.set_link_name("/etc/passwd").unwrap();
            }
            header.set_cksum();
            writer.tar.append(&header, *content).unwrap();
        }
        writer.finish().unwrap()
    }

    fn unpacked(bytes: &[u8]) -> (tempfile::TempDir, Result<Manifest, ArchiveError>) {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let result = unpack(bytes, &inner);
        (directory, result)
    }

    const FILE: tar::EntryType = tar::EntryType::Regular;
    const WHOLE: [(&str, tar::EntryType, &[u8]); 3] = [
        (DATABASE, FILE, b"db"),
        (KEY_FILE, FILE, b"key"),
        ("logs/ab/cd.zst", FILE, b"log"),
    ];

    #[test]
    fn what_was_packed_is_unpacked_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let (directory, result) = unpacked(&archive(&WHOLE));
        assert_eq!(result.unwrap().database, DatabaseKind::Sqlite);
        for (name, _, content) in WHOLE {
            let path = directory.path().join("inner").join(name);
            assert_eq!(fs::read(&path).unwrap(), content);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        }
    }

    #[test]
    fn names_that_no_backup_has_are_refused_and_nothing_is_written_outside() {
        let names = [
            "../evil",
            "/evil",
            "logs/../../evil",
            "logs/.hidden",
            "logs//x",
            "logs",
            "logs/",
            "lock",
            "hullworks.toml",
            "./master.key",
            "mirrors/x",
            "logs/a/b/c/d/e",
            "logs/a\nb",
        ];
        for name in names {
            let mut entries = WHOLE.to_vec();
            entries.push((name, FILE, b"x"));
            let (directory, result) = unpacked(&archive(&entries));
            assert!(
                matches!(&result, Err(ArchiveError::ForeignEntry(found)) if found == name),
                "{name}: {result:?}"
            );
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "{name}");
        }
    }

    #[test]
    fn links_devices_and_repetitions_are_refused() {
        for kind in [
            tar::EntryType::Symlink,
            tar::EntryType::Link,
            tar::EntryType::Fifo,
            tar::EntryType::Directory,
        ] {
            let (_directory, result) = unpacked(&archive(&[("logs/x", kind, b"")]));
            assert!(matches!(result, Err(ArchiveError::ForeignEntry(_))), "{kind:?}");
        }
        let (_directory, result) = unpacked(&archive(&[WHOLE[0], WHOLE[0]]));
        assert!(matches!(result, Err(ArchiveError::ForeignEntry(_))));
    }

    #[test]
    fn an_archive_that_is_cut_or_changed_anywhere_is_refused() {
        let bytes = archive(&WHOLE);
        for length in 0..bytes.len() {
            assert!(unpacked(&bytes[..length]).1.is_err(), "cut to {length}");
        }
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 0x10;
            let (directory, result) = unpacked(&changed);
            if result.is_ok() {
                let inner = directory.path().join("inner");
                for (name, _, content) in WHOLE {
                    assert_eq!(fs::read(inner.join(name)).unwrap(), content, "byte {index} changed");
                }
            }
        }
    }

    #[test]
    fn an_incomplete_or_foreign_archive_is_refused() {
        assert!(matches!(
            unpacked(&archive(&WHOLE[..1])).1,
            Err(ArchiveError::Incomplete(KEY_FILE))
        ));
        assert!(matches!(
            unpacked(&archive(&WHOLE[1..])).1,
            Err(ArchiveError::Incomplete(DATABASE))
        ));
        let empty = zstd::encode_all(&[0; 1024][..], 1).unwrap();
        assert!(matches!(unpacked(&empty).1, Err(ArchiveError::Foreign)));
        assert!(unpacked(b"PK\x03\x04").1.is_err());
    }
}
