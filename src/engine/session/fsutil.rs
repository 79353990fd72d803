//! The packets of BuildKit's file sync (`fsutil.types`, proto3), with paths as bytes.
//!
//! The published definition says `string`, but the engine takes a path byte for byte as Go does, and a file's name in a
//! git tree need not be UTF-8; on the wire the two are the same.

use crate::domain::context::{Entry, EntryKind};

/// Go's `os.FileMode` bits, which the mode of a [`Stat`] is made of besides the permissions.
const MODE_DIRECTORY: u32 = 1 << 31;
const MODE_SYMLINK: u32 = 1 << 27;

/// One message of the exchange, in either direction.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Packet {
    #[prost(enumeration = "Kind", tag = "1")]
    pub(super) kind: i32,
    /// With [`Kind::Stat`]: an entry; its absence ends the list.
    #[prost(message, optional, tag = "2")]
    pub(super) stat: Option<Stat>,
    /// With [`Kind::Request`] and [`Kind::Data`]: the entry's place in the list, from 0.
    #[prost(uint32, tag = "3")]
    pub(super) id: u32,
    /// With [`Kind::Data`]: a piece of the file; none ends it.
    #[prost(bytes = "vec", tag = "4")]
    pub(super) data: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Kind {
    Stat = 0,
    Request = 1,
    Data = 2,
    Finish = 3,
    Error = 4,
}

/// What the receiver compares with what it has: a file is asked for when one of these differs.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Stat {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) path: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(super) mode: u32,
    #[prost(int64, tag = "5")]
    pub(super) size: i64,
    /// Nanoseconds since 1970.
    #[prost(int64, tag = "6")]
    pub(super) modified: i64,
    #[prost(bytes = "vec", tag = "7")]
    pub(super) link: Vec<u8>,
}

impl Stat {
    /// Owner and group are left at 0.
    pub(super) fn new(entry: Entry, modified: i64) -> Self {
        let (mode, size, link) = match entry.kind {
            EntryKind::Directory => (MODE_DIRECTORY | 0o755, 0, Vec::new()),
            EntryKind::File { size, executable } => (
                if executable { 0o755 } else { 0o644 },
                i64::try_from(size).unwrap_or(i64::MAX),
                Vec::new(),
            ),
            EntryKind::Symlink { target } => (
                MODE_SYMLINK | 0o777,
                i64::try_from(target.len()).unwrap_or(i64::MAX),
                target,
            ),
        };
        Self {
            path: entry.path,
            mode,
            size,
            modified,
            link,
        }
    }
}

impl Packet {
    pub(super) fn stat(stat: Option<Stat>) -> Self {
        Self {
            kind: Kind::Stat.into(),
            stat,
            ..Self::default()
        }
    }

    pub(super) fn data(id: u32, data: &[u8]) -> Self {
        Self {
            kind: Kind::Data.into(),
            id,
            data: data.to_vec(),
            ..Self::default()
        }
    }

    pub(super) fn finish() -> Self {
        Self {
            kind: Kind::Finish.into(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use bollard_buildkit_proto::fsutil::types;
    use prost::Message as _;

    use super::*;

    #[test]
    fn packets_are_those_of_the_published_definition() {
        let entry = Entry {
            path: b"a/b".to_vec(),
            kind: EntryKind::Symlink {
                target: b"../c".to_vec(),
            },
            object: [0; 20],
        };
        let ours = Packet {
            id: 7,
            data: vec![1],
            ..Packet::stat(Some(Stat::new(entry, 5)))
        };
        let theirs = types::Packet {
            r#type: types::packet::PacketType::PacketStat.into(),
            stat: Some(types::Stat {
                path: "a/b".to_owned(),
                mode: 1 << 27 | 0o777,
                size: 4,
                mod_time: 5,
                linkname: "../c".to_owned(),
                ..types::Stat::default()
            }),
            id: 7,
            data: vec![1],
        };
        assert_eq!(ours.encode_to_vec(), theirs.encode_to_vec());
    }
}
