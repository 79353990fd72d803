//! Forms that people send. A form is taken from somebody who is signed in, on a page that we made for them: it carries their
//! session's token, and browsers say that it comes from here (`guard`).

use axum::{
    RequestExt,
    extract::{FromRequest, Request},
};
use http::header;
use serde::de::DeserializeOwned;

use super::viewer::Viewer;
use crate::web::{
    Web,
    json::read_body,
    problem::{FieldError, Problem},
    session::{CSRF_HEADER, Session},
};

/// The hidden field that carries it.
const CSRF_FIELD: &str = "csrf";

/// Largest form, in bytes.
const LARGEST_FORM: usize = 1 << 20;

const MEDIA_TYPE: &str = "application/x-www-form-urlencoded";

/// A form, from somebody who is signed in and saw it on our page.
pub struct Submitted<T> {
    pub viewer: Viewer,
    pub form: T,
}

impl<T: DeserializeOwned> FromRequest<Web> for Submitted<T> {
    type Rejection = Problem;

    async fn from_request(mut request: Request, web: &Web) -> Result<Self, Problem> {
        let viewer: Viewer = request.extract_parts_with_state(web).await?;
        viewer.user()?;
        let fields = Fields::read(request).await?;
        fields.check_token(viewer.session.as_ref())?;
        let form = fields.parse()?;
        Ok(Self { viewer, form })
    }
}

/// A form from somebody who need not be known yet: to sign in, to set up. Browsers say that it comes from here (`guard`).
pub struct Unsigned<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Web> for Unsigned<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Web) -> Result<Self, Problem> {
        Ok(Self(Fields::read(request).await?.parse()?))
    }
}

/// A form as it came.
struct Fields {
    pairs: Vec<(String, String)>,
    token_header: Option<String>,
}

impl Fields {
    async fn read(request: Request) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let is_form = parts
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .and_then(|kind| kind.split(';').next())
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case(MEDIA_TYPE));
        if !is_form {
            let detail = format!("this takes a form: Content-Type: {MEDIA_TYPE}");
            return Err(Problem::new(http::StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let body = read_body(&parts.headers, body, LARGEST_FORM).await?;
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(&body)
            // Text areas send lines as CRLF.
            .map(|(name, value)| (name.into_owned(), value.replace("\r\n", "\n")))
            .collect();
        // The databases differ in what they make of a NUL; nothing that people type has one.
        if let Some((name, _)) = pairs
            .iter()
            .find(|(name, value)| name.contains('\0') || value.contains('\0'))
        {
            return Err(Problem::field(name.replace('\0', ""), "it holds a NUL character"));
        }
        let token_header = parts.headers.get(CSRF_HEADER).and_then(|token| token.to_str().ok());
        Ok(Self {
            token_header: token_header.map(str::to_owned),
            pairs,
        })
    }

    /// 403 where the form does not carry the session's token.
    fn check_token(&self, session: Option<&Session>) -> Result<(), Problem> {
        let field = self.pairs.iter().find(|(name, _)| name == CSRF_FIELD);
        let given = field.map(|(_, value)| value).or(self.token_header.as_ref());
        let is_right = matches!((session, given), (Some(session), Some(given)) if session.accepts_csrf(given));
        match is_right {
            true => Ok(()),
            false => Err(Problem::forbidden(
                "this form was not made for your present session: go back, reload the page and send it again",
            )),
        }
    }

    fn parse<T: DeserializeOwned>(mut self) -> Result<T, Problem> {
        self.pairs.retain(|(name, _)| name != CSRF_FIELD);
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(self.pairs)
            .finish();
        serde_html_form::from_str(&form).map_err(|error| {
            let detail = format!("the form is not one of ours: {error}");
            Problem::new(http::StatusCode::UNPROCESSABLE_ENTITY, detail)
        })
    }
}

/// What was wrong with a form, by field.
#[derive(Debug, Clone, Default)]
pub struct FormErrors(Vec<FieldError>);

impl FormErrors {
    pub fn new(errors: Vec<FieldError>) -> Self {
        Self(errors)
    }

    pub fn one(field: &str, message: impl Into<String>) -> Self {
        Self(vec![FieldError::new(field, message)])
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is wrong with one field.
    pub fn of(&self, field: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|error| error.field == field)
            .map(|error| error.message.as_str())
    }

    /// What is wrong with a field that is named in two parts.
    pub fn at(&self, parent: &str, field: &str) -> Option<&str> {
        let error = self
            .0
            .iter()
            .find(|error| error.field.strip_prefix(parent) == Some(field));
        error.map(|error| error.message.as_str())
    }

    /// Whether something is wrong with a field or with one inside it.
    pub fn under(&self, field: &str) -> bool {
        self.0.iter().any(|error| error.field.starts_with(field))
    }

    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|error| (error.field.as_str(), error.message.as_str()))
    }
}
