//! The form of a sealed log: Zstandard's seekable format 0.1.0 (contrib/seekable_format of zstd), which is independent
//! frames (RFC 8878) and then a table of their sizes in a frame that decompressors skip. So `zstd -d` reads it whole, and
//! a part is read by decompressing what it touches.
//!
//! Whatever a file claims, no more memory is taken than one frame needs.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};

use zstd::bulk::{Compressor, Decompressor};

/// Content of one frame, in bytes: what has to be decompressed for one byte.
pub(super) const FRAME: usize = 1024 * 1024;
const LEVEL: i32 = 3;
/// Magic number of the skippable frame that holds the table.
const TABLE_MAGIC: u32 = 0x184D_2A5E;
/// Last bytes of the file.
const SEEKABLE_MAGIC: u32 = 0x8F92_EAB1;
/// Magic number and size of the skippable frame.
const HEADER: usize = 8;
/// Compressed and decompressed size of a frame.
const ENTRY: usize = 8;
/// Number of frames, descriptor, magic number.
const FOOTER: usize = 9;

/// Why a sealed log could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum SeekableError {
    /// What is in the file is not what was written.
    #[error("{0}")]
    Corrupt(&'static str),
    #[error(transparent)]
    Io(#[from] io::Error),
}

use SeekableError::Corrupt;

/// Writes frame after frame, then the table.
pub(super) struct SeekableWriter<W> {
    out: W,
    compressor: Compressor<'static>,
    table: Vec<u8>,
    frames: u32,
}

impl<W: Write> SeekableWriter<W> {
    pub fn new(out: W) -> io::Result<Self> {
        let mut compressor = Compressor::new(LEVEL)?;
        compressor.include_checksum(true)?;
        Ok(Self {
            out,
            compressor,
            table: Vec::new(),
            frames: 0,
        })
    }

    /// Writes `content`, of at most [`FRAME`] bytes.
    pub fn frame(&mut self, content: &[u8]) -> io::Result<()> {
        let compressed = self.compressor.compress(content)?;
        self.out.write_all(&compressed)?;
        self.table.extend(size(compressed.len())?.to_le_bytes());
        self.table.extend(size(content.len())?.to_le_bytes());
        self.frames += 1;
        Ok(())
    }

    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&TABLE_MAGIC.to_le_bytes())?;
        self.out.write_all(&size(self.table.len() + FOOTER)?.to_le_bytes())?;
        self.out.write_all(&self.table)?;
        self.out.write_all(&self.frames.to_le_bytes())?;
        // The descriptor: no checksums in the table, the frames have theirs.
        self.out.write_all(&[0])?;
        self.out.write_all(&SEEKABLE_MAGIC.to_le_bytes())?;
        Ok(self.out)
    }
}

fn size(length: usize) -> io::Result<u32> {
    u32::try_from(length).map_err(|_| io::Error::other("too large for the seekable format"))
}

/// Reads parts of what [`SeekableWriter`] wrote.
pub(super) struct SeekableReader {
    file: File,
    frames: Vec<Frame>,
}

#[derive(Clone, Copy)]
struct Frame {
    /// Where it begins in the file.
    at: u64,
    compressed: usize,
    /// Where its content begins.
    offset: u64,
    content: usize,
}

impl SeekableReader {
    pub fn open(mut file: File) -> Result<Self, SeekableError> {
        let length = file.seek(SeekFrom::End(0))?;
        if length < (HEADER + FOOTER) as u64 {
            return Err(Corrupt("it is too short"));
        }
        let footer: [u8; FOOTER] = read_at(&mut file, length - FOOTER as u64)?;
        if number(&footer[5..]) != SEEKABLE_MAGIC {
            return Err(Corrupt("its end is missing"));
        }
        if footer[4] != 0 {
            return Err(Corrupt("its table has an unknown form"));
        }
        let table_size = u64::from(number(&footer)) * ENTRY as u64;
        let Some(table_at) = length.checked_sub(table_size + (HEADER + FOOTER) as u64) else {
            return Err(Corrupt("its table is longer than the file"));
        };
        let header: [u8; HEADER] = read_at(&mut file, table_at)?;
        if number(&header) != TABLE_MAGIC || u64::from(number(&header[4..])) != table_size + FOOTER as u64 {
            return Err(Corrupt("its table has a wrong size"));
        }
        // The reader stands at the table, and the file is at least as long.
        let mut table = Vec::new();
        (&mut file).take(table_size).read_to_end(&mut table)?;
        let frames = frames(&table, table_at)?;
        Ok(Self { file, frames })
    }

    /// The size of the whole content, in bytes.
    pub fn size(&self) -> u64 {
        self.frames
            .last()
            .map_or(0, |frame| frame.offset + frame.content as u64)
    }

    /// Up to `max` bytes from `offset` on, out of one frame; none beyond the end.
    pub fn read(&mut self, offset: u64, max: usize) -> Result<Vec<u8>, SeekableError> {
        let after = self.frames.partition_point(|frame| frame.offset <= offset);
        let Some(frame) = after.checked_sub(1).map(|index| self.frames[index]) else {
            return Ok(Vec::new());
        };
        let Ok(from) = usize::try_from(offset - frame.offset) else {
            return Ok(Vec::new());
        };
        if from >= frame.content {
            return Ok(Vec::new());
        }
        let mut content = self.content(frame)?;
        content.truncate(frame.content.min(from.saturating_add(max)));
        content.drain(..from);
        Ok(content)
    }

    fn content(&mut self, frame: Frame) -> Result<Vec<u8>, SeekableError> {
        self.file.seek(SeekFrom::Start(frame.at))?;
        let mut compressed = vec![0; frame.compressed];
        self.file.read_exact(&mut compressed)?;
        let content = Decompressor::new()?
            .decompress(&compressed, frame.content)
            .map_err(|_| Corrupt("a frame cannot be decompressed"))?;
        if content.len() != frame.content {
            return Err(Corrupt("a frame has a wrong size"));
        }
        Ok(content)
    }
}

/// Reads the table; the frames fill the file up to `end`.
fn frames(table: &[u8], end: u64) -> Result<Vec<Frame>, SeekableError> {
    let (mut at, mut offset) = (0, 0);
    let mut frames = Vec::with_capacity(table.len() / ENTRY);
    for entry in table.chunks_exact(ENTRY) {
        let (compressed, content) = (number(entry) as usize, number(&entry[4..]) as usize);
        if content > FRAME || compressed > zstd::zstd_safe::compress_bound(FRAME) {
            return Err(Corrupt("a frame is too large"));
        }
        frames.push(Frame {
            at,
            compressed,
            offset,
            content,
        });
        at += compressed as u64;
        offset += content as u64;
    }
    if at == end {
        Ok(frames)
    } else {
        Err(Corrupt("its frames do not fill it"))
    }
}

fn read_at<const N: usize>(file: &mut File, at: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The little-endian number in the first four bytes.
fn number(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .take(4)
        .rev()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn written(frames: &[&[u8]]) -> Vec<u8> {
        let mut writer = SeekableWriter::new(Vec::new()).unwrap();
        for frame in frames {
            writer.frame(frame).unwrap();
        }
        writer.finish().unwrap()
    }

    fn opened(bytes: &[u8]) -> Result<SeekableReader, SeekableError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        SeekableReader::open(file)
    }

    /// Everything, or the first error.
    fn read_all(bytes: &[u8]) -> Result<Vec<u8>, SeekableError> {
        let mut reader = opened(bytes)?;
        let mut all = Vec::new();
        loop {
            let piece = reader.read(all.len() as u64, FRAME)?;
            if piece.is_empty() {
                return Ok(all);
            }
            all.extend(piece);
        }
    }

    #[test]
    fn the_ordinary_tool_reads_it() {
        let bytes = written(&[b"first\n", b"second\n", &[b'x'; FRAME]]);
        let mut tool = Command::new("zstd")
            .arg("-dc")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = tool.stdin.take().unwrap();
        let feed = std::thread::spawn(move || input.write_all(&bytes).unwrap());
        let output = tool.wait_with_output().unwrap();
        feed.join().unwrap();
        assert!(output.status.success());
        assert!(output.stdout == [b"first\nsecond\n", &[b'x'; FRAME][..]].concat());
    }

    #[test]
    fn reads_cross_no_frame_and_end_at_the_end() {
        let mut reader = opened(&written(&[b"first\n", b"second\n"])).unwrap();
        assert_eq!(reader.size(), 13);
        assert_eq!(reader.read(0, 100).unwrap(), b"first\n");
        assert_eq!(reader.read(2, 2).unwrap(), b"rs");
        assert_eq!(reader.read(6, 100).unwrap(), b"second\n");
        for beyond in [13, 14, u64::MAX] {
            assert_eq!(reader.read(beyond, 100).unwrap(), b"");
        }
        assert_eq!(opened(&written(&[])).unwrap().read(0, 100).unwrap(), b"");
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = written(&[b"first frame\n", b"second frame\n"]);
        for length in 0..bytes.len() {
            assert!(read_all(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn every_flipped_bit_is_an_error_or_changes_nothing() {
        let content: [&[u8]; 2] = [b"first frame, with a bit of text in it\n", b"second frame\n"];
        let bytes = written(&content);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok(read) = read_all(&damaged) {
                assert_eq!(read, content.concat(), "{bit}");
            }
        }
    }

    #[test]
    fn a_frame_that_would_unfold_to_more_than_it_says_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; 64 * FRAME], 3).unwrap();
        let mut writer = SeekableWriter::new(Vec::new()).unwrap();
        writer.out.extend(&bomb);
        writer.table.extend((bomb.len() as u32).to_le_bytes());
        writer.table.extend((FRAME as u32).to_le_bytes());
        writer.frames = 1;
        assert!(matches!(
            read_all(&writer.finish().unwrap()),
            Err(Corrupt("a frame cannot be decompressed"))
        ));

        let mut writer = SeekableWriter::new(Vec::new()).unwrap();
        writer.frame(&vec![0; FRAME + 1]).unwrap();
        assert!(matches!(
            read_all(&writer.finish().unwrap()),
            Err(Corrupt("a frame is too large"))
        ));
    }

    #[test]
    fn a_table_that_claims_millions_of_frames_is_refused() {
        let mut bytes = written(&[b"first\n"]);
        let count_at = bytes.len() - FOOTER;
        bytes[count_at..count_at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(
            read_all(&bytes),
            Err(Corrupt("its table is longer than the file"))
        ));
    }
}
