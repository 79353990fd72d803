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
    domain::{
        access::{Role, Scope},
        repository::{Repository, RepositoryName, Visibility},
    },
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

    /// Whether the caller administers the whole server, by a credential that allows it.
    pub fn is_admin(&self) -> bool {
        matches!(self, Self::User(user) if user.may_administer())
    }

    /// What the caller may do in a namespace.
    pub fn role_in(&self, namespace: &str) -> Option<Role> {
        match self {
            Self::User(user) => user.role_in(namespace),
            Self::Anonymous => None,
        }
    }

    /// Whether the caller has at least this role.
    pub fn has_role(&self, namespace: &str, role: Role) -> bool {
        self.role_in(namespace) >= Some(role)
    }

    pub fn may_see(&self, namespace: &str, visibility: Visibility) -> bool {
        visibility == Visibility::Public || self.has_role(namespace, Role::Read)
    }

    /// What lists may show to the caller.
    pub fn sight(&self) -> Sight {
        match self {
            Self::User(user) if user.is_admin => Sight::Everything,
            Self::User(user) => Sight::Of(user.id.clone()),
            Self::Anonymous => Sight::Public,
        }
    }

    /// The user, if they have at least this role in a namespace: 401 without a credential, 403 otherwise.
    pub fn may(&self, namespace: &str, role: Role) -> Result<&User, Problem> {
        let user = self.user()?;
        if user.role_in(namespace) >= Some(role) {
            return Ok(user);
        }
        let (name, role) = (&user.name, role.as_str());
        let detail = match user.access.scope {
            Scope::Admin => {
                format!("this takes the role {role} in the namespace `{namespace}`, which `{name}` has not")
            }
            scope => format!(
                "this takes the role {role} in the namespace `{namespace}`, and `{name}` uses a token of the scope {}",
                scope.as_str()
            ),
        };
        Err(Problem::forbidden(detail))
    }

    /// The user, if they are an administrator: 401 without a credential, 403 otherwise.
    pub fn admin(&self) -> Result<&User, Problem> {
        let user = self.user()?;
        match user.may_administer() {
            true => Ok(user),
            false => Err(Problem::forbidden("only administrators may do this")),
        }
    }

    /// The user, if their credential is one for everything, as what concerns themselves needs: 401 and 403 otherwise.
    pub fn unrestricted(&self) -> Result<&User, Problem> {
        let user = self.user()?;
        match user.access.scope {
            Scope::Admin => Ok(user),
            scope => Err(Problem::forbidden(format!(
                "this takes a token of the scope admin; this one has {}",
                scope.as_str()
            ))),
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

/// A repository in whose namespace the caller has at least this role: 401 without a credential, 404 where it may not be
/// seen, 403 where it may only be seen.
pub async fn repository_for<'a>(
    web: &Web,
    caller: &'a Caller,
    name: &(String, String),
    role: Role,
) -> Result<(Repository, &'a User), Problem> {
    caller.user()?;
    let repository = visible_repository(web, caller, name).await?;
    let user = caller.may(repository.name.namespace(), role)?;
    Ok((repository, user))
}
