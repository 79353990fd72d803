//! Lets libgit2 speak through our own HTTP client, and through nothing else.
//!
//! libgit2's own transports resolve names by themselves, follow redirects and cannot be stopped while a server is
//! silent. So libgit2 is given a remote under a private scheme, of which the rest is an unguessable number: it finds
//! the fetch that is under way. The refs have been heard by then; only packs are asked for here.

use std::collections::HashMap;
use std::io::{self, Cursor, Read, Write};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::{Buf, Bytes};
use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream, Transport};
use reqwest::Response;
use tokio::runtime::Handle;

use super::SourceError;
use super::advertisement::{pkt_line, readable};
use super::http::{HttpRepository, next_piece};
use super::limits::Limits;

const SCHEME: &str = "hullworks-fetch";

/// Far beyond what any negotiation needs; the number of its lines depends on the mirror alone.
const MAX_REQUEST_BYTES: usize = 16 << 20;

/// The fetches under way, by the number in their private address.
static SESSIONS: LazyLock<Mutex<HashMap<String, Arc<Session>>>> = LazyLock::new(Mutex::default);

/// What one fetch shares with the transport that libgit2 drives for it.
pub(super) struct Session {
    pub repository: HttpRepository,
    pub limits: Arc<Limits>,
    runtime: Handle,
    /// What went wrong, since libgit2 passes on no more than that something did.
    failure: Mutex<Option<SourceError>>,
    /// What the server said instead of a pack.
    refusal: Mutex<Option<String>>,
}

impl Session {
    pub(super) fn new(repository: HttpRepository, limits: Arc<Limits>, runtime: Handle) -> Self {
        Self {
            repository,
            limits,
            runtime,
            failure: Mutex::default(),
            refusal: Mutex::default(),
        }
    }

    pub(super) fn take_failure(&self) -> Option<SourceError> {
        lock(&self.failure).take()
    }

    pub(super) fn take_refusal(&self) -> Option<String> {
        lock(&self.refusal).take()
    }

    /// Remembers the reason; the error for libgit2 must hold no NUL, so it holds nothing of the server's.
    pub(super) fn fail(&self, error: SourceError) {
        lock(&self.failure).get_or_insert(error);
    }
}

/// An address under which libgit2 finds a session, for as long as this lives.
pub(super) struct PrivateAddress(String);

impl PrivateAddress {
    pub(super) fn new(session: Arc<Session>) -> Self {
        let id = hex::encode(rand::random::<[u8; 16]>());
        lock(&SESSIONS).insert(id.clone(), session);
        Self(id)
    }

    pub(super) fn url(&self) -> String {
        format!("{SCHEME}://{}", self.0)
    }
}

impl Drop for PrivateAddress {
    fn drop(&mut self) {
        lock(&SESSIONS).remove(&self.0);
    }
}

/// Registers the transport with libgit2, once in the life of the process.
pub(super) fn register() -> Result<(), SourceError> {
    static REGISTERED: OnceLock<Result<(), String>> = OnceLock::new();
    REGISTERED
        .get_or_init(|| {
            #[expect(
                unsafe_code,
                reason = "libgit2 keeps its transports in an unguarded list; this is the only write to it, and no \
                          remote is made before `Sources::new` has come through here"
            )]
            let registered = unsafe { git2::transport::register(SCHEME, open) };
            registered.map_err(|error| error.message().to_owned())
        })
        .clone()
        .map_err(SourceError::Mirror)
}

/// libgit2 calls this to open a remote of our scheme.
fn open(remote: &git2::Remote<'_>) -> Result<Transport, git2::Error> {
    let session = remote
        .url()
        .ok()
        .and_then(|url| url.strip_prefix(SCHEME)?.strip_prefix("://").map(str::to_owned))
        .and_then(|id| lock(&SESSIONS).get(&id).cloned())
        .ok_or_else(|| git2::Error::from_str("no such fetch"))?;
    // Stateless: each round is a request of its own, as HTTP has it.
    Transport::smart(remote, true, Subtransport(session))
}

struct Subtransport(Arc<Session>);

impl SmartSubtransport for Subtransport {
    fn action(&self, _url: &str, service: Service) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        match service {
            Service::UploadPackLs => Ok(Box::new(Cursor::new(self.0.repository.advertisement.raw().to_vec()))),
            Service::UploadPack => Ok(Box::new(Round {
                session: Arc::clone(&self.0),
                request: Vec::new(),
                answer: None,
                piece: Bytes::new(),
                head: Some(Vec::new()),
            })),
            Service::ReceivePackLs | Service::ReceivePack => Err(git2::Error::from_str("nothing is ever pushed")),
        }
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

/// One request and its answer: all writes come before the first read, which sends them.
struct Round {
    session: Arc<Session>,
    request: Vec<u8>,
    answer: Option<Response>,
    /// What came and was not yet read.
    piece: Bytes,
    /// The answer's first line as far as it came, until it is known whether it is a refusal.
    head: Option<Vec<u8>>,
}

impl Round {
    fn receive(&mut self) -> Result<Option<Bytes>, SourceError> {
        let runtime = self.session.runtime.clone();
        let limits = &self.session.limits;
        if self.answer.is_none() {
            let request = std::mem::take(&mut self.request);
            self.answer = Some(runtime.block_on(self.session.repository.ask(request, limits))?);
        }
        match &mut self.answer {
            Some(answer) => runtime.block_on(next_piece(answer, limits)),
            None => Ok(None),
        }
    }

    /// Looks whether the first line is an error; libgit2 would drop its text.
    fn look_for_refusal(&mut self) {
        let Some(head) = &mut self.head else { return };
        let room = 1024usize.saturating_sub(head.len());
        head.extend_from_slice(&self.piece[..self.piece.len().min(room)]);
        match pkt_line(head) {
            Ok(None) if head.len() < 1024 => return,
            Ok(Some(line)) => {
                if let Some(message) = line.content.and_then(|content| content.strip_prefix(b"ERR ")) {
                    lock(&self.session.refusal).get_or_insert(readable(message));
                }
            }
            Ok(None) | Err(_) => {}
        }
        self.head = None;
    }
}

impl Read for Round {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receive() {
                Ok(Some(piece)) => self.piece = piece,
                Ok(None) => return Ok(0),
                Err(error) => {
                    self.session.fail(error);
                    return Err(io::Error::other("the transfer failed"));
                }
            }
            self.look_for_refusal();
        }
        let length = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

impl Write for Round {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.request.len() + bytes.len() > MAX_REQUEST_BYTES {
            return Err(io::Error::other("the request is too long"));
        }
        self.request.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
