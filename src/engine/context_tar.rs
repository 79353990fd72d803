//! The build context as a tar stream for the classic builder, made while it is uploaded.
//!
//! Links stay links, owners are root, times are the commit's. Memory holds one file at a time.

use std::{
    io::{self, Write},
    ops::ControlFlow,
    sync::Arc,
};

use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tar::{Builder, EntryType, Header};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::{
    EngineError,
    dockerfile::{Dockerfile, find, ignore_patterns},
    fault::Fault,
    http::Body,
};
use crate::domain::context::{BuildContext, ContextPart, Entry, EntryKind, Selection};

/// Pieces that wait for the connection.
const PIECES: usize = 8;

/// Size of a piece, in bytes.
const PIECE: usize = 64 << 10;

const IGNORE_FILE: &str = ".dockerignore";

/// How the context is to be packed, decided before anything is sent.
pub(super) struct Plan {
    selection: Selection,
    /// The Dockerfile's path in the tar.
    pub(super) dockerfile: String,
    /// The Dockerfile, where it is not in the context, and the ignore file that keeps it out of the image.
    added: Vec<(String, Vec<u8>)>,
}

/// Plans the tar. Blocks.
pub(super) fn plan(context: &dyn BuildContext, dockerfile: Dockerfile) -> Result<Plan, EngineError> {
    let mut exclude = ignore_patterns(context)?;
    let own_path = context.dockerfile();
    let in_place = find(context, ContextPart::Context, own_path)
        .ok()
        .flatten()
        .is_some_and(|entry| entry.path == own_path.as_bytes() && entry.object == dockerfile.object);
    // As the Docker command line does: both are needed by the builder, which removes them again if they are ignored.
    if in_place {
        exclude.extend([format!("!{own_path}"), format!("!{IGNORE_FILE}")]);
        let selection = Selection {
            exclude,
            ..Selection::default()
        };
        return Ok(Plan {
            selection,
            dockerfile: own_path.to_owned(),
            added: Vec::new(),
        });
    }
    // A name that changes with the content alone, so that it breaks no cache that holds.
    let name = format!(".dockerfile.{}", hex::encode(dockerfile.object));
    let mut ignore = match find(context, ContextPart::Context, IGNORE_FILE)? {
        Some(Entry {
            kind: EntryKind::File { .. },
            object,
            ..
        }) => context.read(&object)?,
        _ => IGNORE_FILE.as_bytes().to_vec(),
    };
    ignore.extend_from_slice(format!("\n{name}\n").as_bytes());
    exclude.push(IGNORE_FILE.to_owned());
    Ok(Plan {
        selection: Selection {
            exclude,
            ..Selection::default()
        },
        dockerfile: name.clone(),
        added: vec![(IGNORE_FILE.to_owned(), ignore), (name, dockerfile.content)],
    })
}

/// The tar as a request's body. It is read from the context while it is sent; a failure goes into `fault` and breaks the
/// request off.
pub(super) fn stream(context: Arc<dyn BuildContext>, plan: Plan, fault: Fault) -> Body {
    let (pieces, received) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let mut failure = None;
        let mut tar = Builder::new(io::BufWriter::with_capacity(PIECE, Pieces(pieces.clone())));
        let written = write(context.as_ref(), &plan, &mut tar, &mut failure).and_then(|()| tar.into_inner()?.flush());
        if let Some(error) = failure {
            let broken = io::Error::other(error.to_string());
            fault.set(error);
            // The engine must not take what it got for the whole.
            let _ = pieces.blocking_send(Err(broken));
        } else if let Err(error) = written {
            let _ = pieces.blocking_send(Err(error));
        }
    });
    StreamBody::new(ReceiverStream::new(received).map(|piece| piece.map(Frame::data))).boxed()
}

fn write(
    context: &dyn BuildContext,
    plan: &Plan,
    tar: &mut Builder<impl Write>,
    failure: &mut Option<EngineError>,
) -> io::Result<()> {
    let modified = u64::try_from(context.modified()).unwrap_or_default();
    let mut result = Ok(());
    let walked = context.walk(ContextPart::Context, &plan.selection, &mut |entry| {
        let content = match entry.kind {
            EntryKind::File { .. } => match context.read(&entry.object) {
                Ok(content) => content,
                Err(error) => {
                    *failure = Some(error.into());
                    return ControlFlow::Break(());
                }
            },
            _ => Vec::new(),
        };
        result = append(tar, &entry, &content, modified);
        if result.is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    if let Err(error) = walked {
        *failure = Some(error.into());
    }
    result?;
    for (path, content) in &plan.added {
        let kind = EntryKind::File {
            size: content.len() as u64,
            executable: false,
        };
        append(
            tar,
            &Entry {
                path: path.clone().into_bytes(),
                kind,
                object: [0; 20],
            },
            content,
            modified,
        )?;
    }
    if failure.is_none() { tar.finish() } else { Ok(()) }
}

fn append(tar: &mut Builder<impl Write>, entry: &Entry, content: &[u8], modified: u64) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(modified);
    header.set_size(content.len() as u64);
    let path = os_path(&entry.path);
    match &entry.kind {
        EntryKind::Directory => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(0o755);
            tar.append_data(&mut header, path, content)
        }
        EntryKind::File { executable, .. } => {
            header.set_entry_type(EntryType::Regular);
            header.set_mode(if *executable { 0o755 } else { 0o644 });
            tar.append_data(&mut header, path, content)
        }
        EntryKind::Symlink { target } => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            append_link(tar, &mut header, path, target)
        }
    }
}

/// Appends a link with its target byte for byte: `append_link` of the crate would tidy it.
fn append_link(
    tar: &mut Builder<impl Write>,
    header: &mut Header,
    path: &std::path::Path,
    target: &[u8],
) -> io::Result<()> {
    if header.set_link_name_literal(target).is_ok() {
        return tar.append_data(header, path, io::empty());
    }
    // Too long for the header: GNU's long link, an entry of its own before the link.
    let mut long = Header::new_gnu();
    long.set_entry_type(EntryType::GNULongLink);
    long.set_path("././@LongLink")?;
    long.set_mode(0o644);
    long.set_size(target.len() as u64 + 1);
    long.set_cksum();
    tar.append(&long, [target, b"\0"].concat().as_slice())?;
    tar.append_data(header, path, io::empty())
}

fn os_path(path: &[u8]) -> &std::path::Path {
    use std::os::unix::ffi::OsStrExt;
    std::path::Path::new(std::ffi::OsStr::from_bytes(path))
}

/// Writes into a channel, waiting for room.
struct Pieces(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes))) {
            Ok(()) => Ok(bytes.len()),
            Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
