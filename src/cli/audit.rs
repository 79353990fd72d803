//! What the command line changes in a database is in its audit log too.

use serde_json::Value;

use super::failure::Failure;
use crate::{
    app::Opened,
    domain::audit::{Action, By},
    store::Actor,
};

/// Who it was is for the machine's own log: here it is whoever may open the database.
const ACTOR: &str = "command line";

/// Writes down what was done. `namespace`: whose owners see it; empty: the whole server.
pub async fn write_down(
    opened: &Opened,
    action: Action,
    subject: &str,
    namespace: &str,
    detail: Value,
) -> Result<(), Failure> {
    let actor = Actor {
        at: opened.clock.now(),
        name: ACTOR.to_owned(),
        by: By::CommandLine,
        address: String::new(),
    };
    let written = opened
        .store
        .record_audit(&actor.did(action, subject, namespace, detail))
        .await;
    written.map_err(|error| Failure::caused_by(&error))
}
