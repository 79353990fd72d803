//! A proxy that stands before a registry, an engine or a database and fails in the ways that networks and servers do.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, copy_bidirectional},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::JoinSet,
};

/// What goes wrong with each connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: bytes pass both ways.
    None,
    /// Every request is answered with this status, and never reaches the server.
    Status(u16),
    /// Connections break at once, those that are open as well: the server is gone.
    Gone,
    /// Connections are taken, and nothing is ever answered.
    Stall,
    /// The connection breaks after the client has sent so many bytes.
    CutAfter(u64),
}

/// A running proxy; it ends when this is dropped.
pub struct FaultyProxy {
    host: String,
    fault: watch::Sender<Fault>,
    /// Connections that something went wrong with.
    failed: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl FaultyProxy {
    /// Stands before `upstream`, a host and port or `unix:///path`, without a fault at first.
    pub async fn before(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let host = listener.local_addr().expect("its address").to_string();
        let (fault, receiver) = watch::channel(Fault::None);
        let mut tasks = JoinSet::new();
        let failed = Arc::new(AtomicUsize::new(0));
        tasks.spawn(accept(listener, upstream.to_owned(), receiver, Arc::clone(&failed)));
        Self {
            host,
            fault,
            failed,
            _tasks: tasks,
        }
    }

    /// Host and port to use instead of the server's.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// How many connections something went wrong with, as it was set to.
    pub fn failed(&self) -> usize {
        self.failed.load(Ordering::Relaxed)
    }

    /// Sets what happens to connections made from now on.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

async fn accept(listener: TcpListener, upstream: String, fault: watch::Receiver<Fault>, failed: Arc<AtomicUsize>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        if *fault.borrow() != Fault::None {
            failed.fetch_add(1, Ordering::Relaxed);
        }
        let (upstream, mut fault) = (upstream.clone(), fault.clone());
        connections.spawn(async move {
            let now = *fault.borrow();
            tokio::select! {
                // A broken connection is what this is for.
                _ = pass(client, &upstream, now) => {}
                _ = fault.wait_for(|fault| *fault == Fault::Gone) => {}
            }
        });
    }
}

async fn pass(mut client: TcpStream, upstream: &str, fault: Fault) -> io::Result<()> {
    match fault {
        Fault::None => {
            let mut server = connect(upstream).await?;
            copy_bidirectional(&mut client, &mut server).await?;
        }
        Fault::Status(status) => {
            read_head(&mut client).await?;
            let answer = format!("HTTP/1.1 {status} Fault\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            client.write_all(answer.as_bytes()).await?;
            client.shutdown().await?;
        }
        Fault::Gone => {}
        Fault::Stall => {
            // Read, so that the client's end is seen.
            copy(&mut client, &mut tokio::io::sink()).await?;
        }
        Fault::CutAfter(bytes) => {
            let (from_client, mut to_client) = client.split();
            let (mut from_server, mut to_server) = tokio::io::split(connect(upstream).await?);
            let mut limited = from_client.take(bytes);
            tokio::select! {
                result = copy(&mut limited, &mut to_server) => result?,
                result = copy(&mut from_server, &mut to_client) => result?,
            };
        }
    }
    Ok(())
}

/// A connection of either kind.
trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

async fn connect(upstream: &str) -> io::Result<Box<dyn Duplex>> {
    match upstream.strip_prefix("unix://") {
        Some(path) => Ok(Box::new(UnixStream::connect(path).await?)),
        None => Ok(Box::new(TcpStream::connect(upstream).await?)),
    }
}

/// Reads up to the empty line that ends a request's head.
async fn read_head(client: &mut TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    Ok(())
}
