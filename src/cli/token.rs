//! `hullworks token`.

use chrono::TimeDelta;
use clap::Subcommand;
use secrecy::ExposeSecret;

use super::{
    duration::parse_duration,
    failure::Failure,
    output::Output,
    settings::SettingsArgs,
    user::{note_deed, open, parse_name},
};
use crate::{
    domain::{access::Scope, audit::Action as Deed, ids::TokenId},
    store::NewToken,
    tokens,
};

/// Longest label of a token, in characters.
const MAX_LABEL: usize = 100;

/// Make API tokens
///
/// Works on the database itself, with or without a running server.
#[derive(Debug, clap::Args)]
pub struct Token {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token and print it, alone on standard output: it is shown this once
    Create(Create),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// Whose rights the token has
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    user: String,
    /// What the token is for, shown in lists
    #[arg(long = "name", value_name = "LABEL", default_value = "", hide_default_value = true, value_parser = parse_label)]
    label: String,
    /// How long the token is good for, such as 90d, 12h or 30m [default: without end]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires: Option<TimeDelta>,
    /// The most that the token may do, whatever its user may: read looks, write also starts, cancels and retries builds,
    /// admin does everything
    #[arg(long, value_name = "SCOPE", default_value = "admin", value_parser = parse_scope)]
    scope: Scope,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl Token {
    pub async fn run(self, out: Output) -> Result<(), Failure> {
        match self.action {
            Action::Create(create) => create.run(out).await,
        }
    }
}

impl Create {
    async fn run(self, mut out: Output) -> Result<(), Failure> {
        let opened = open(&self.settings.load()?).await?;
        let user = opened.store.user_named(&self.user).await;
        let Some(user) = user.map_err(|error| Failure::caused_by(&error))? else {
            opened.store.close().await;
            return Err(Failure::Failed(format!(
                "there is no user {0}; `hullworks user add {0} --password-stdin` adds one",
                self.user
            )));
        };
        let token = tokens::new_token();
        let created_at = opened.clock.now();
        let added = opened
            .store
            .add_token(&NewToken {
                id: TokenId::new(),
                user: &user.id,
                label: &self.label,
                hash: tokens::token_hash(token.expose_secret()).as_bytes(),
                scope: self.scope,
                created_at,
                expires_at: self.expires.map(|expires| created_at + expires),
            })
            .await;
        if added.is_ok() {
            let detail = serde_json::json!({ "user": user.name, "scope": self.scope });
            note_deed(&opened, Deed::TokenCreated, &self.label, detail).await?;
        }
        opened.store.close().await;
        added.map_err(|error| Failure::caused_by(&error))?;
        out.line(token.expose_secret())?;
        Ok(())
    }
}

fn parse_scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text).ok_or_else(|| "a scope is read, write or admin".to_owned())
}

fn parse_label(text: &str) -> Result<String, String> {
    match text.chars().count() <= MAX_LABEL && !text.contains(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(format!("a label is one line of at most {MAX_LABEL} characters")),
    }
}
