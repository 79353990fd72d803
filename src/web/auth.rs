//! Who asks, and what they may do. A private repository does not exist for those who may not see it.

use axum::extract::FromRequestParts;
use chrono::TimeDelta;
use http::{header, request::Parts};

use super::{
    Web,
    problem::Problem,
    session::{CSRF_HEADER, session_of},
};
use crate::{
    domain::repository::{Repository, RepositoryName, Visibility},
    store::{Sight, User},
    tokens::{TOKEN_PREFIX, token_hash},
};

/// How old a note of a token's last use may be before it is written anew.
const USED_AGAIN: TimeDelta = TimeDelta::minutes(1);

/// Whoever sent a request.
#[derive(Debug, Clone)]
pub enum Caller {
    Anonymous,
    User(User),
}

impl FromRequestParts<Web> for Caller {
    type Rejection = Problem;

    /// A token that is not valid is refused even where none is needed: whoever sends one means to be known.
    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = values.next() else {
            return by_session(parts, web).await;
        };
        if values.next().is_some() {
            return Err(Problem::unauthorized("there is more than one Authorization header"));
        }
        let token = value
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .filter(|token| token.starts_with(TOKEN_PREFIX))
            .ok_or_else(|| Problem::unauthorized("the Authorization header must be `Bearer hwt_...`"))?;
        let hash = token_hash(token);
        let user = web.store.user_with_token(hash.as_bytes(), web.clock.now()).await?;
        let Some(user) = user else {
            return Err(Problem::unauthorized("the token is not known, or has expired"));
        };
        note_use(hash, web);
        Ok(Self::User(user))
    }
}

/// In the background: whoever only reads does not wait for a write.
fn note_use(hash: String, web: &Web) {
    let (store, now) = (web.store.clone(), web.clock.now());
    tokio::spawn(async move {
        if let Err(error) = store.token_used(hash.as_bytes(), now, now - USED_AGAIN).await {
            tracing::debug!(%error, "failed to note the use of a token");
        }
    });
}

/// A browser sends its cookie with whatever another site makes it send: what changes something needs the token too that
/// only our own pages know.
async fn by_session(parts: &Parts, web: &Web) -> Result<Caller, Problem> {
    let Some(session) = session_of(parts, web).await? else {
        return Ok(Caller::Anonymous);
    };
    let sent = parts.headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok());
    match parts.method.is_safe() || sent.is_some_and(|sent| session.accepts_csrf(sent)) {
        true => Ok(Caller::User(session.user)),
        false => Err(Problem::forbidden(
            "a request by session cookie that changes something needs the page's token in the header X-CSRF-Token",
        )),
    }
}

impl Caller {
    /// The user, or 401.
    pub fn user(&self) -> Result<&User, Problem> {
        match self {
            Self::User(user) => Ok(user),
            Self::Anonymous => Err(Problem::unauthorized(
                "this needs a token: Authorization: Bearer hwt_...",
            )),
        }
    }

    pub fn is_admin(&self) -> bool {
        matches!(self, Self::User(user) if user.is_admin)
    }

    /// The namespace that is the caller's own.
    pub fn own_namespace(&self) -> Option<&str> {
        match self {
            Self::User(user) => Some(&user.name),
            Self::Anonymous => None,
        }
    }

    /// What lists may show to the caller.
    pub fn sight(&self) -> Sight {
        match self {
            Self::User(user) if user.is_admin => Sight::Everything,
            Self::User(user) => Sight::Namespaces(vec![user.name.clone()]),
            Self::Anonymous => Sight::Namespaces(vec![]),
        }
    }

    /// Administrators everywhere, others in the namespace that bears their name.
    pub fn may_write(&self, namespace: &str) -> bool {
        self.is_admin() || self.own_namespace() == Some(namespace)
    }

    pub fn may_see(&self, namespace: &str, visibility: Visibility) -> bool {
        visibility == Visibility::Public || self.may_write(namespace)
    }

    /// The user, if they may write to a namespace: 401 without a token, 403 otherwise.
    pub fn writer_of(&self, namespace: &str) -> Result<&User, Problem> {
        let user = self.user()?;
        match self.may_write(namespace) {
            true => Ok(user),
            false => Err(Problem::forbidden(format!(
                "`{}` may not change what is in the namespace `{namespace}`",
                user.name
            ))),
        }
    }

    /// The user, if they are an administrator: 401 without a token, 403 otherwise.
    pub fn admin(&self) -> Result<&User, Problem> {
        let user = self.user()?;
        match user.is_admin {
            true => Ok(user),
            false => Err(Problem::forbidden("only administrators may do this")),
        }
    }
}

/// A repository that the caller may see, or 404.
pub async fn visible_repository(
    web: &Web,
    caller: &Caller,
    (namespace, name): &(String, String),
) -> Result<Repository, Problem> {
    let missing = || Problem::not_found("repository");
    let name = RepositoryName::new(namespace, name).map_err(|_| missing())?;
    let repository = web.store.repository_named(&name).await?.ok_or_else(missing)?;
    match caller.may_see(name.namespace(), repository.visibility) {
        true => Ok(repository),
        false => Err(missing()),
    }
}

/// A repository that the caller may change: 401 without a token, 404 where it may not be seen, 403 where it may only be
/// seen.
pub async fn writable_repository<'a>(
    web: &Web,
    caller: &'a Caller,
    name: &(String, String),
) -> Result<(Repository, &'a User), Problem> {
    caller.user()?;
    let repository = visible_repository(web, caller, name).await?;
    let user = caller.writer_of(repository.name.namespace())?;
    Ok((repository, user))
}
