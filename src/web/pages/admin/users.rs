//! Everybody who may sign in: adding, shutting out, making administrators, forgetting.

use askama::Template;
use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use http::StatusCode;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use crate::{
    domain::{access::Access, audit::Action, ids::UserId, repository::check_name},
    store::{Person, PersonChange, User},
    web::{
        Web,
        audit::Origin,
        pages::{
            form::{FormErrors, Submitted},
            notice::Notice,
            page::{PageResult, done, render_with},
            viewer::Viewer,
            words::When,
        },
        parameters::{FromParameters, Parameters, Query},
        password_work::typed,
        problem::{FieldError, Problem},
    },
};

const PATH: &str = "/admin/users";

/// People on one page.
const SHOWN: u32 = 50;

/// Longest text that is looked for, in bytes.
const LONGEST_WORDS: usize = 100;

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route(PATH, get(show).post(add))
        .route("/admin/users/change", post(change))
        .route("/admin/users/password", post(set_password))
}

#[derive(Default)]
struct Wanted {
    words: String,
    /// The name after which the page begins.
    after: String,
}

impl FromParameters for Wanted {
    const NAMES: &'static [&'static str] = &["q", "after"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        let words = parameters.take("q")?.unwrap_or_default();
        if words.len() > LONGEST_WORDS || words.contains('\0') {
            return Err(FieldError::new("q", "it is a few words to look for"));
        }
        let after = parameters.take("after")?.unwrap_or_default();
        if !after.is_empty() && check_name(&after).is_err() {
            return Err(FieldError::new("after", "it is a user's name"));
        }
        Ok(Self { words, after })
    }
}

#[derive(Template)]
#[template(path = "admin/users.html")]
struct UsersPage {
    viewer: Viewer,
    wanted: Wanted,
    errors: FormErrors,
    /// Of a new user.
    typed_name: String,
    is_admin: bool,
    people: Vec<Row>,
    next: Option<String>,
}

struct Row {
    name: String,
    full_name: String,
    email: String,
    is_admin: bool,
    disabled: bool,
    is_viewer: bool,
    repositories: String,
    since: When,
    seen: Option<When>,
}

impl Row {
    fn new(person: Person, viewer: &Viewer) -> Self {
        Self {
            is_viewer: viewer.name() == Some(person.name.as_str()),
            repositories: match person.repositories {
                1 => "1 repository".to_owned(),
                count => format!("{count} repositories"),
            },
            since: When::new(person.created_at, viewer.now),
            seen: person.last_seen_at.map(|at| When::new(at, viewer.now)),
            name: person.name,
            full_name: person.full_name,
            email: person.email,
            is_admin: person.is_admin,
            disabled: person.disabled,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AddForm {
    name: String,
    #[serde(deserialize_with = "typed")]
    password: SecretString,
    #[serde(default)]
    is_admin: bool,
}

/// What a button beside a person does.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Deed {
    MakeAdministrator,
    UnmakeAdministrator,
    Disable,
    Enable,
    Delete,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeForm {
    name: String,
    deed: Deed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PasswordForm {
    name: String,
    #[serde(deserialize_with = "typed")]
    password: SecretString,
}

async fn show(State(web): State<Web>, viewer: Viewer, Query(wanted): Query<Wanted>) -> PageResult {
    viewer.caller.admin()?;
    let errors = FormErrors::default();
    page(&web, viewer, wanted, errors, String::new(), false).await
}

async fn page(
    web: &Web,
    viewer: Viewer,
    wanted: Wanted,
    errors: FormErrors,
    name: String,
    is_admin: bool,
) -> PageResult {
    let mut people = web.store.people(&wanted.words, &wanted.after, SHOWN + 1).await?;
    let has_more = people.len() > SHOWN as usize;
    people.truncate(SHOWN as usize);
    let next = people.last().filter(|_| has_more).map(|last| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("q", &wanted.words).append_pair("after", &last.name);
        format!("{PATH}?{}", query.finish())
    });
    let status = match errors.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let page = UsersPage {
        people: people.into_iter().map(|person| Row::new(person, &viewer)).collect(),
        viewer,
        wanted,
        errors,
        typed_name: name,
        is_admin,
        next,
    };
    render_with(status, &page)
}

async fn add(
    State(web): State<Web>,
    origin: Origin,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<AddForm>,
) -> PageResult {
    let actor = origin.actor(&viewer.caller.admin()?.name);
    let name = form.name.trim().to_owned();
    let refused = |field: &str, message: String| FormErrors::one(field, message);
    let hash = match web.passwords.hash(form.password).await? {
        Ok(hash) => hash,
        Err(unfit) => {
            let errors = refused("password", unfit.to_string());
            return page(&web, viewer, Wanted::default(), errors, name, form.is_admin).await;
        }
    };
    if let Err(error) = check_name(&name) {
        let errors = refused("name", error.to_string());
        return page(&web, viewer, Wanted::default(), errors, name, form.is_admin).await;
    }
    let user = User {
        id: UserId::new(),
        name: name.clone(),
        is_admin: form.is_admin,
        created_at: web.clock.now(),
        access: Access::default(),
    };
    if !web.store.add_user(&user, &hash).await? {
        let errors = refused("name", format!("`{name}` is taken, by a user or an organisation"));
        return page(&web, viewer, Wanted::default(), errors, name, form.is_admin).await;
    }
    web.note(actor.did(
        Action::UserCreated,
        &name,
        &name,
        json!({ "administrator": form.is_admin }),
    ))
    .await;
    Ok(done(PATH, &Notice::good(format!("{name} may sign in now."))))
}

async fn change(
    State(web): State<Web>,
    origin: Origin,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<ChangeForm>,
) -> PageResult {
    let actor = origin.actor(&viewer.caller.admin()?.name);
    let name = form.name.as_str();
    let changed = match form.deed {
        Deed::MakeAdministrator => web.store.set_administrator(name, true).await?,
        Deed::UnmakeAdministrator => web.store.set_administrator(name, false).await?,
        Deed::Disable => web.store.set_disabled(name, true).await?,
        Deed::Enable => web.store.set_disabled(name, false).await?,
        Deed::Delete => web.store.delete_person(name).await?,
    };
    if let Some(reason) = refusal(name, changed)? {
        return Ok(done(PATH, &Notice::bad(reason)));
    }
    web.signals.access_changed();
    let (action, detail, said) = match form.deed {
        Deed::MakeAdministrator => (
            Action::UserChanged,
            json!({ "administrator": true }),
            "administers this server now",
        ),
        Deed::UnmakeAdministrator => (
            Action::UserChanged,
            json!({ "administrator": false }),
            "is no administrator any more",
        ),
        Deed::Disable => (
            Action::UserChanged,
            json!({ "disabled": true }),
            "is shut out now: sessions have ended, and tokens are refused",
        ),
        Deed::Enable => (Action::UserChanged, json!({ "disabled": false }), "may sign in again"),
        Deed::Delete => (Action::UserDeleted, json!({}), "was deleted"),
    };
    web.note(actor.did(action, name, name, detail)).await;
    Ok(done(PATH, &Notice::good(format!("{name} {said}."))))
}

/// Why nothing was changed, where it was not.
fn refusal(name: &str, change: PersonChange) -> Result<Option<String>, Problem> {
    let reason = match change {
        PersonChange::Done | PersonChange::Same => return Ok(None),
        PersonChange::Missing => return Err(Problem::not_found("user")),
        PersonChange::LastAdministrator => {
            format!("{name} is the only administrator. Make somebody else one first.")
        }
        PersonChange::HasRepositories => {
            format!("The namespace of {name} still has repositories. Delete them first, or shut {name} out instead.")
        }
        PersonChange::LastOwner => {
            format!("{name} is the only owner of an organisation. Make another member its owner first.")
        }
    };
    Ok(Some(reason))
}

async fn set_password(
    State(web): State<Web>,
    origin: Origin,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<PasswordForm>,
) -> PageResult {
    let actor = origin.actor(&viewer.caller.admin()?.name);
    let hash = match web.passwords.hash(form.password).await? {
        Ok(hash) => hash,
        Err(unfit) => {
            return Ok(done(
                PATH,
                &Notice::bad(format!("The password was not changed: {unfit}.")),
            ));
        }
    };
    if !web.store.set_password(&form.name, &hash, None).await? {
        return Err(Problem::not_found("user"));
    }
    web.signals.access_changed();
    web.note(actor.did(Action::PasswordChanged, &form.name, &form.name, json!({})))
        .await;
    let said = format!("{} has the new password, and every session ended.", form.name);
    Ok(done(PATH, &Notice::good(said)))
}
