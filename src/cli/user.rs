//! `hullworks user`.

use std::io::{self, IsTerminal, Read};

use clap::Subcommand;
use secrecy::{ExposeSecret, SecretString};

use super::{
    failure::Failure,
    output::{Output, note},
    settings::SettingsArgs,
};
use crate::{
    app::{self, Opened},
    domain::{
        access::Access,
        audit::{Action as Deed, By},
        ids::UserId,
        repository::check_name,
    },
    passwords,
    store::{self, Actor},
};

/// Add people, list them, set their passwords
///
/// Works on the database itself, with or without a running server, and makes the data directory where it is missing.
#[derive(Debug, clap::Args)]
pub struct User {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add a person; the name is also the namespace that is theirs
    Add {
        /// Lower case letters and digits, joined by single `.`, `_` or `-`
        #[arg(value_parser = parse_name)]
        name: String,
        /// Make them an administrator of the whole server
        #[arg(long)]
        admin: bool,
        /// Read the password (at least 8 characters) from standard input
        #[arg(long, required = true)]
        password_stdin: bool,
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// List everybody, by name
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Replace a person's password
    Passwd {
        /// Whose
        #[arg(value_parser = parse_name)]
        name: String,
        /// Read the password (at least 8 characters) from standard input
        #[arg(long, required = true)]
        password_stdin: bool,
        #[command(flatten)]
        settings: SettingsArgs,
    },
}

impl User {
    pub async fn run(self, out: Output) -> Result<(), Failure> {
        match self.action {
            Action::Add {
                name, admin, settings, ..
            } => add(name, admin, settings).await,
            Action::List { json, settings } => list(json, settings, out).await,
            Action::Passwd { name, settings, .. } => passwd(&name, settings).await,
        }
    }
}

/// A person's name, as an argument.
pub fn parse_name(text: &str) -> Result<String, String> {
    check_name(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

async fn add(name: String, is_admin: bool, settings: SettingsArgs) -> Result<(), Failure> {
    let config = settings.load()?;
    let hash = read_and_hash()?;
    let opened = open(&config).await?;
    let user = store::User {
        id: UserId::new(),
        name,
        is_admin,
        created_at: opened.clock.now(),
        access: Access::default(),
    };
    let added = opened.store.add_user(&user, &hash).await;
    if matches!(added, Ok(true)) {
        note_deed(
            &opened,
            Deed::UserCreated,
            &user.name,
            serde_json::json!({ "is_admin": is_admin }),
        )
        .await?;
    }
    opened.store.close().await;
    match added.map_err(|error| Failure::caused_by(&error))? {
        true => {
            note(&format!("added {}", user.name));
            Ok(())
        }
        false => Err(Failure::Failed(format!(
            "there is a user {} already; `hullworks user passwd {}` sets a new password",
            user.name, user.name
        ))),
    }
}

async fn list(json: bool, settings: SettingsArgs, mut out: Output) -> Result<(), Failure> {
    let opened = open(&settings.load()?).await?;
    let users = opened.store.users().await;
    opened.store.close().await;
    let users = users.map_err(|error| Failure::caused_by(&error))?;
    if json {
        let users: Vec<_> = users.iter().map(to_json).collect();
        out.json(&serde_json::json!({ "items": users }))?;
        return Ok(());
    }
    for user in &users {
        let role = if user.is_admin { "admin" } else { "user" };
        out.line(&format!(
            "{:<24} {role:<6} {}",
            user.name,
            user.created_at.format("%Y-%m-%d")
        ))?;
    }
    Ok(())
}

async fn passwd(name: &str, settings: SettingsArgs) -> Result<(), Failure> {
    let config = settings.load()?;
    let hash = read_and_hash()?;
    let opened = open(&config).await?;
    let changed = opened.store.set_password(name, &hash, None).await;
    if matches!(changed, Ok(true)) {
        note_deed(&opened, Deed::PasswordChanged, name, serde_json::json!({})).await?;
    }
    opened.store.close().await;
    match changed.map_err(|error| Failure::caused_by(&error))? {
        true => {
            note(&format!("changed the password of {name}"));
            Ok(())
        }
        false => Err(Failure::Failed(format!("there is no user {name}"))),
    }
}

fn to_json(user: &store::User) -> serde_json::Value {
    serde_json::json!({ "name": user.name, "is_admin": user.is_admin, "created_at": user.created_at })
}

/// Writes into the audit log what was done here. Nobody but the machine's owner can be named as the one who did it.
pub async fn note_deed(opened: &Opened, deed: Deed, subject: &str, detail: serde_json::Value) -> Result<(), Failure> {
    let actor = Actor {
        at: opened.clock.now(),
        name: String::new(),
        by: By::CommandLine,
        address: String::new(),
    };
    let noted = opened.store.record_audit(&actor.did(deed, subject, "", detail)).await;
    noted.map_err(|error| Failure::caused_by(&error))
}

/// Opens the installation's database and key file.
pub async fn open(config: &crate::config::Config) -> Result<Opened, Failure> {
    app::open(config).await.map_err(|error| Failure::caused_by(&error))
}

/// Before the database is touched, so that an unfit password leaves nothing behind.
fn read_and_hash() -> Result<String, Failure> {
    if io::stdin().is_terminal() {
        note("password (it will be seen as you type; end with Enter and Ctrl-D):");
    }
    let password = read_password(io::stdin().lock())?;
    passwords::hash(&password).map_err(|error| Failure::Failed(error.to_string()))
}

/// Reads a password; one line end after it is not part of it.
fn read_password(from: impl Read) -> Result<SecretString, Failure> {
    let mut text = secrecy::zeroize::Zeroizing::new(String::new());
    // Two more than are taken, for the line end.
    let limit = passwords::MAX_BYTES as u64 + 3;
    from.take(limit)
        .read_to_string(&mut text)
        .map_err(|error| Failure::Failed(format!("the password cannot be read from standard input: {error}")))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    let password = SecretString::from(line);
    match password.expose_secret().contains(char::is_control) {
        true => Err(Failure::Failed(
            "the password is one line without control characters".to_owned(),
        )),
        false => Ok(password),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_end_is_not_part_of_the_password() {
        let check = |input: &str, expected: Option<&str>| {
            let read = read_password(input.as_bytes()).ok();
            assert_eq!(read.as_ref().map(ExposeSecret::expose_secret), expected, "{input:?}");
        };
        check("correct horse", Some("correct horse"));
        check("correct horse\n", Some("correct horse"));
        check("correct horse\r\n", Some("correct horse"));
        check(" spaces stay ", Some(" spaces stay "));
        check("one\ntwo\n", None);
        check("nul\0", None);
    }
}
