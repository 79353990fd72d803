//! The bare server that webhooks are held against: the same HTTP library, a process of its own, and nothing but the body
//! sent back.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
};

use axum::{Router, body::Bytes};
use tokio::net::TcpListener;

/// A running bare server; it ends when this is dropped.
pub struct Echo {
    pub address: String,
    process: Child,
}

impl Echo {
    pub fn start() -> Self {
        let program = std::env::current_exe().expect("the path of this program");
        let mut process = Command::new(program)
            .arg(crate::ECHO)
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be started again");
        let mut address = String::new();
        BufReader::new(process.stdout.take().expect("a pipe"))
            .read_line(&mut address)
            .expect("the bare server tells its address");
        Self {
            address: address.trim().to_owned(),
            process,
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves until it is killed, after a line on standard output that says where.
pub async fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    writeln!(std::io::stdout(), "{address}").expect("standard output");
    let router = Router::new().fallback(async |body: Bytes| body);
    axum::serve(listener, router)
        .await
        .expect("it serves until it is killed");
}
