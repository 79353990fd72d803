//! What one's profile page shows, where mail goes, and who sees new repositories.

use askama::Template;
use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use http::StatusCode;
use serde::Deserialize;

use super::check_line;
use crate::{
    domain::repository::Visibility,
    store::Profile,
    web::{
        Web,
        pages::{
            form::{FormErrors, Submitted},
            notice::Notice,
            page::{PageResult, done, render_with},
            viewer::Viewer,
        },
        parameters::Query,
        problem::FieldError,
    },
};

const PATH: &str = "/settings/profile";

const LONGEST_NAME: usize = 100;
const LONGEST_ABOUT: usize = 1000;
const LONGEST_EMAIL: usize = 254;
const LONGEST_WEBSITE: usize = 300;

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route(PATH, get(show).post(save))
        .route("/settings/profile/visibility", post(save_visibility))
}

#[derive(Template)]
#[template(path = "settings/profile.html")]
struct ProfilePage {
    viewer: Viewer,
    errors: FormErrors,
    profile: Profile,
    default_visibility: Visibility,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileForm {
    full_name: String,
    about: String,
    email: String,
    website: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VisibilityForm {
    default_visibility: Visibility,
}

async fn show(State(web): State<Web>, viewer: Viewer, Query(()): Query<()>) -> PageResult {
    let profile = web.store.profile(&viewer.user()?.id).await?.unwrap_or_default();
    render(&web, StatusCode::OK, viewer, FormErrors::default(), profile).await
}

async fn render(web: &Web, status: StatusCode, viewer: Viewer, errors: FormErrors, profile: Profile) -> PageResult {
    let default_visibility = web
        .store
        .default_visibility(&viewer.user()?.id)
        .await?
        .unwrap_or_default();
    let page = ProfilePage {
        viewer,
        errors,
        profile,
        default_visibility,
    };
    render_with(status, &page)
}

async fn save(
    State(web): State<Web>,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<ProfileForm>,
) -> PageResult {
    let profile = Profile {
        full_name: form.full_name.trim().to_owned(),
        about: form.about.trim().to_owned(),
        email: form.email.trim().to_owned(),
        website: form.website.trim().to_owned(),
    };
    let errors = check(&profile);
    if !errors.is_empty() {
        let errors = FormErrors::new(errors);
        return render(&web, StatusCode::UNPROCESSABLE_ENTITY, viewer, errors, profile).await;
    }
    web.store.set_profile(&viewer.user()?.id, &profile).await?;
    Ok(done(PATH, &Notice::good("Your profile was saved.")))
}

async fn save_visibility(
    State(web): State<Web>,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<VisibilityForm>,
) -> PageResult {
    let user = &viewer.user()?.id;
    web.store.set_default_visibility(user, form.default_visibility).await?;
    let notice = format!(
        "New repositories of yours are {} from now on.",
        form.default_visibility.as_str()
    );
    Ok(done(PATH, &Notice::good(notice)))
}

fn check(profile: &Profile) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut note = |field: &str, found: Result<(), String>| {
        errors.extend(found.err().map(|message| FieldError::new(field, message)));
    };
    note("full_name", check_line(&profile.full_name, LONGEST_NAME));
    note("about", check_about(&profile.about));
    note("email", check_email(&profile.email));
    note("website", check_website(&profile.website));
    errors
}

fn check_about(about: &str) -> Result<(), String> {
    let is_text = !about.contains(|c: char| c.is_control() && c != '\n' && c != '\t');
    match is_text && about.chars().count() <= LONGEST_ABOUT {
        true => Ok(()),
        false => Err(format!("it is text of at most {LONGEST_ABOUT} characters")),
    }
}

/// Enough to catch a slip; whether mail arrives, only mail can tell.
fn check_email(email: &str) -> Result<(), String> {
    check_line(email, LONGEST_EMAIL)?;
    let is_plain = !email.contains(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | ',' | ';' | '"'));
    let parts = email.rsplit_once('@');
    let is_address = parts.is_some_and(|(local, host)| {
        !local.is_empty() && !local.contains('@') && !host.is_empty() && !host.starts_with('.') && !host.ends_with('.')
    });
    match email.is_empty() || (is_plain && is_address) {
        true => Ok(()),
        false => Err("it is an address such as ann@example.com".to_owned()),
    }
}

/// The profile page makes a link of it, so it can be nothing but a page of the web.
fn check_website(website: &str) -> Result<(), String> {
    check_line(website, LONGEST_WEBSITE)?;
    let is_web = url::Url::parse(website).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let is_spelled_out = website.starts_with("https://") || website.starts_with("http://");
    match website.is_empty() || (is_web && is_spelled_out) {
        true => Ok(()),
        false => Err("it is an address such as https://example.com/".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_address_is_one_address_or_none() {
        for good in [
            "",
            "ann@example.com",
            "ann+builds@example.co.uk",
            "ann@localhost",
            "änn@exämple.de",
        ] {
            assert_eq!(check_email(good), Ok(()), "{good}");
        }
        let long = format!("{}@example.com", "a".repeat(LONGEST_EMAIL));
        for bad in [
            "ann",
            "@example.com",
            "ann@",
            "ann@.com",
            "ann@example.",
            "a@b@c",
            "Ann <ann@example.com>",
            "ann@example.com, bob@example.com",
            "ann@example.com\r\nBcc: x@example.com",
            &long,
        ] {
            assert!(check_email(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_website_is_a_page_of_the_web_or_none() {
        for good in ["", "https://example.com", "http://example.com/~ann?x=1#y"] {
            assert_eq!(check_website(good), Ok(()), "{good}");
        }
        for bad in [
            "example.com",
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "data:text/html,x",
            "//example.com",
            "https://",
            "ftp://example.com",
            "https://example.com/\nx",
        ] {
            assert!(check_website(bad).is_err(), "{bad}");
        }
    }
}
