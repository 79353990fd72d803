//! Measures the service and, in the same run on the same machine, what it is to be held against; prints one table.
//!
//! Everything runs on loopback, in processes and directories that are gone afterwards. Nothing here fails because it was
//! slow: figures are for people to read.
//!
//! ```text
//! cargo bench                     all subjects
//! cargo bench -- webhooks logs    only these
//! ```

mod bases;
mod logs;
mod pages;
mod push;
mod queue;
mod support;
mod tree;
mod webhooks;

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests use more of these parts")]
mod parts;

#[path = "../tests/support/browser/mod.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod browser;

use support::{echo, table::Table};

/// The first argument of this program where it is to be the bare server that webhooks are held against.
const ECHO: &str = "echo";

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    if arguments.first().is_some_and(|argument| argument == ECHO) {
        return echo::serve().await;
    }
    let wanted = |subject: &str| arguments.is_empty() || arguments.iter().any(|argument| argument == subject);
    let mut table = Table::default();
    if wanted("webhooks") {
        webhooks::measure(&mut table).await;
    }
    if wanted("queue") {
        queue::measure(&mut table).await;
    }
    if wanted("push") {
        push::measure(&mut table).await;
    }
    if wanted("tree") {
        tree::measure(&mut table).await;
    }
    if wanted("logs") {
        logs::measure(&mut table).await;
    }
    if wanted("pages") {
        pages::measure(&mut table).await;
    }
    if wanted("bases") {
        bases::measure(&mut table).await;
    }
    table.print();
}
