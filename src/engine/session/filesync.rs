//! `moby.filesync.v1.FileSync`: serves the build context to BuildKit.
//!
//! The exchange of one `DiffCopy`: we list every selected entry, the engine asks for the contents that it lacks by
//! their place in the list, we send those in pieces, and both sides say that they have finished. The list is streamed as
//! the tree is walked and contents are read when they are asked for, so memory holds one file at a time, and twenty
//! bytes for each entry.

use std::{
    convert::Infallible,
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codegen::{BoxFuture, Context, Poll, Service, http},
    metadata::MetadataMap,
    server::{Grpc, NamedService, StreamingService},
};
use tonic_prost::ProstCodec;

use super::{
    super::{error::EngineError, fault::Fault},
    fsutil::{Kind, Packet, Stat},
    stamps::History,
};
use crate::domain::context::{BuildContext, ContextPart, EntryKind, Selection};

/// Size of the pieces in which contents are sent, in bytes.
const CHUNK: usize = 32 << 10;

/// Packets that wait for the connection.
const OUTBOUND: usize = 32;

/// Requests that wait for the reader; the engine is held back beyond them.
const REQUESTED: usize = 1024;

/// Serves one build's context.
#[derive(Clone)]
pub(super) struct FileSync(Arc<Shared>);

struct Shared {
    context: Arc<dyn BuildContext>,
    history: Arc<History>,
    /// The time of what this build brings anew.
    stamp: i64,
    fault: Fault,
}

type Outbound = mpsc::Sender<Result<Packet, Status>>;

/// What the entries are called for [`BuildContext::read`], by their place in the list; `None` where nothing is to read.
type Listed = Mutex<Vec<Option<[u8; 20]>>>;

impl FileSync {
    pub(super) fn new(context: Arc<dyn BuildContext>, history: Arc<History>, fault: Fault) -> Self {
        let stamp = history.stamp(context.modified());
        Self(Arc::new(Shared {
            context,
            history,
            stamp,
            fault,
        }))
    }

    /// Under which the engine keeps what it got.
    pub(super) fn shared_key(&self) -> &str {
        self.0.history.key()
    }

    fn diff_copy(&self, request: Request<Streaming<Packet>>) -> Result<ReceiverStream<Result<Packet, Status>>, Status> {
        let (part, selection) = read_metadata(request.metadata())?;
        let (outbound, stream) = mpsc::channel(OUTBOUND);
        let (requests, requested) = mpsc::channel(REQUESTED);
        let listed = Arc::new(Listed::default());

        let (shared, out, list) = (Arc::clone(&self.0), outbound.clone(), Arc::clone(&listed));
        tokio::task::spawn_blocking(move || shared.list(part, &selection, &out, &list));
        let (shared, out) = (Arc::clone(&self.0), outbound.clone());
        tokio::task::spawn_blocking(move || shared.send_contents(requested, &out, &listed));
        tokio::spawn(receive(request.into_inner(), requests, outbound));
        Ok(ReceiverStream::new(stream))
    }
}

impl Shared {
    /// Sends the list of entries. Blocks.
    fn list(&self, part: ContextPart, selection: &Selection, outbound: &Outbound, listed: &Listed) {
        let tree = match part {
            ContextPart::Context => "context",
            ContextPart::Dockerfile => "dockerfile",
        };
        let walked = self.context.walk(part, selection, &mut |entry| {
            let content = matches!(entry.kind, EntryKind::File { .. }).then_some(entry.object);
            listed.lock().unwrap_or_else(PoisonError::into_inner).push(content);
            let modified = match entry.kind {
                EntryKind::Directory => self.stamp,
                _ => self.history.modified(tree, &entry.path, &entry.object, self.stamp),
            };
            match outbound.blocking_send(Ok(Packet::stat(Some(Stat::new(entry, modified))))) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        });
        match walked {
            // Fails only when the engine has hung up.
            Ok(()) => drop(outbound.blocking_send(Ok(Packet::stat(None)))),
            Err(error) => self.fail(error.into(), outbound),
        }
    }

    /// Sends the contents that are asked for. Blocks.
    fn send_contents(&self, mut requested: mpsc::Receiver<u32>, outbound: &Outbound, listed: &Listed) {
        while let Some(id) = requested.blocking_recv() {
            let object = usize::try_from(id).ok().and_then(|at| {
                listed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get(at)
                    .copied()
                    .flatten()
            });
            let Some(object) = object else {
                let _ = outbound.blocking_send(Err(Status::invalid_argument("there is no such file in the list")));
                return;
            };
            match self.context.read(&object) {
                Ok(content) => {
                    // An empty piece ends a file.
                    for piece in content.chunks(CHUNK).chain([&[][..]]) {
                        if outbound.blocking_send(Ok(Packet::data(id, piece))).is_err() {
                            return;
                        }
                    }
                }
                Err(error) => return self.fail(error.into(), outbound),
            }
        }
    }

    fn fail(&self, error: EngineError, outbound: &Outbound) {
        let status = Status::internal(error.to_string());
        self.fault.set(error);
        let _ = outbound.blocking_send(Err(status));
    }
}

/// Takes in what the engine asks for, until it has finished or hung up.
async fn receive(mut inbound: Streaming<Packet>, requests: mpsc::Sender<u32>, outbound: Outbound) {
    loop {
        let packet = tokio::select! {
            packet = inbound.message() => packet,
            // The call was given up.
            () = outbound.closed() => return,
        };
        match packet {
            Ok(Some(packet)) if packet.kind == i32::from(Kind::Request) => {
                if requests.send(packet.id).await.is_err() {
                    return;
                }
            }
            Ok(Some(packet)) if packet.kind == i32::from(Kind::Finish) => {
                let _ = outbound.send(Ok(Packet::finish())).await;
                return;
            }
            Ok(Some(packet)) if packet.kind == i32::from(Kind::Error) => return,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return,
        }
    }
}

/// What the engine wants, from the call's metadata.
fn read_metadata(metadata: &MetadataMap) -> Result<(ContextPart, Selection), Status> {
    let part = match list(metadata, "dir-name")?.first().map(String::as_str) {
        Some("context") => ContextPart::Context,
        Some("dockerfile") => ContextPart::Dockerfile,
        other => {
            return Err(Status::not_found(format!(
                "there is no directory {other:?} in this build"
            )));
        }
    };
    let selection = Selection {
        include: list(metadata, "include-patterns")?,
        exclude: list(metadata, "exclude-patterns")?,
        follow: list(metadata, "followpaths")?,
    };
    Ok((part, selection))
}

/// The values of one key. Newer engines escape those that are not plain ASCII, and say so under a second key.
fn list(metadata: &MetadataMap, key: &str) -> Result<Vec<String>, Status> {
    let escaped = metadata.contains_key(format!("{key}-encoded").as_str());
    metadata
        .get_all(key)
        .iter()
        .map(|value| {
            let bytes = value.as_encoded_bytes();
            if !escaped {
                return Ok(String::from_utf8_lossy(bytes).into_owned());
            }
            let mut pair = b"=".to_vec();
            pair.extend_from_slice(bytes);
            url::form_urlencoded::parse(&pair)
                .next()
                .map(|(_, value)| value.into_owned())
                .ok_or_else(|| Status::invalid_argument(format!("`{key}` cannot be read")))
        })
        .collect()
}

impl NamedService for FileSync {
    const NAME: &'static str = "moby.filesync.v1.FileSync";
}

/// The gRPC plumbing. The generated one would force paths to be UTF-8.
impl Service<http::Request<Body>> for FileSync {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            if request.uri().path() != "/moby.filesync.v1.FileSync/DiffCopy" {
                return Ok(Status::unimplemented("not offered").into_http());
            }
            Ok(Grpc::new(ProstCodec::<Packet, Packet>::default())
                .streaming(service, request)
                .await)
        })
    }
}

impl StreamingService<Packet> for FileSync {
    type Response = Packet;
    type ResponseStream = ReceiverStream<Result<Packet, Status>>;
    type Future = std::future::Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<Packet>>) -> Self::Future {
        std::future::ready(self.diff_copy(request).map(Response::new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_unescaped_where_the_engine_says_so() {
        let mut metadata = MetadataMap::new();
        metadata.insert("dir-name", "context".parse().unwrap());
        metadata.append("exclude-patterns", "a%2Bb".parse().unwrap());
        metadata.append("followpaths", "%C3%A4+x".parse().unwrap());
        metadata.append("followpaths", "y".parse().unwrap());
        metadata.insert("followpaths-encoded", "1".parse().unwrap());
        let (part, selection) = read_metadata(&metadata).unwrap();
        assert_eq!(part, ContextPart::Context);
        assert_eq!(selection.exclude, ["a%2Bb"]);
        assert_eq!(selection.follow, ["ä x", "y"]);
    }

    #[test]
    fn only_the_two_trees_of_a_build_are_served() {
        let mut metadata = MetadataMap::new();
        assert!(read_metadata(&metadata).is_err());
        metadata.insert("dir-name", "/etc".parse().unwrap());
        assert!(read_metadata(&metadata).is_err());
    }
}
