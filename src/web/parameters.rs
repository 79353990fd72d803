//! What is in a request's address. A parameter that is not known is refused by name, and a token has no place here: addresses
//! end in logs and histories.

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::{FieldError, Problem};
use crate::tokens::TOKEN_PREFIX;

/// The parameters of a query, while they are taken one by one.
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// The value of one parameter, if it is there; twice is refused.
    pub fn take(&mut self, name: &str) -> Result<Option<String>, FieldError> {
        let mut value = None;
        while let Some(index) = self.0.iter().position(|(key, _)| key == name) {
            let (_, found) = self.0.remove(index);
            if value.replace(found).is_some() {
                return Err(FieldError::new(name, "it is given twice"));
            }
        }
        Ok(value)
    }

    /// A parameter that is one of a few words. `what`: what they are, for the person who wrote another.
    pub fn take_word<T, const N: usize>(
        &mut self,
        name: &str,
        what: &str,
        parse: impl FnOnce(&str) -> Option<T>,
        words: [&str; N],
    ) -> Result<Option<T>, FieldError> {
        let Some(text) = self.take(name)? else {
            return Ok(None);
        };
        let refused = || {
            let known = words.join(", ");
            FieldError::new(name, format!("`{text}` is not a {what}; there are: {known}"))
        };
        parse(&text).map(Some).ok_or_else(refused)
    }

    /// A parameter that is an id, be it of something that is gone. To the outside ids are opaque.
    pub fn take_id(&mut self, name: &str, message: &str) -> Result<Option<String>, FieldError> {
        let id = self.take(name)?;
        let is_id = |text: &String| text.len() == 32 && text.bytes().all(|c| c.is_ascii_hexdigit());
        match id.as_ref().is_none_or(is_id) {
            true => Ok(id),
            false => Err(FieldError::new(name, message)),
        }
    }

    /// Takes away what is empty: forms send every field, filled in or not.
    pub fn forget_empty(&mut self) {
        self.0.retain(|(_, value)| !value.is_empty());
    }

    /// A parameter that is `true` or `false`, and false when left out.
    pub fn take_flag(&mut self, name: &str) -> Result<bool, FieldError> {
        match self.take(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(FieldError::new(
                name,
                format!("`{other}` is neither `true` nor `false`"),
            )),
        }
    }
}

/// The parameters that a route knows.
pub trait FromParameters: Sized {
    /// Their names, for the person who wrote another.
    const NAMES: &'static [&'static str];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError>;
}

/// No parameters at all.
impl FromParameters for () {
    const NAMES: &'static [&'static str] = &[];

    fn take_from(_: &mut Parameters) -> Result<Self, FieldError> {
        Ok(())
    }
}

/// Extracts all parameters of a route. Every route has one, be it of `()`.
pub struct Query<T>(pub T);

impl<T: FromParameters, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        if let Some((name, _)) = pairs.iter().find(|(_, value)| value.starts_with(TOKEN_PREFIX)) {
            let message = "a token has no place in an address; send it as `Authorization: Bearer hwt_...`";
            return Err(Problem::field(name, message));
        }
        let mut parameters = Parameters(pairs);
        let taken = T::take_from(&mut parameters).map_err(|error| Problem::invalid(vec![error]))?;
        match parameters.0.first() {
            None => Ok(Self(taken)),
            Some((name, _)) if T::NAMES.is_empty() => {
                Err(Problem::field(name, "this parameter is not known; there are none here"))
            }
            Some((name, _)) => Err(Problem::field(
                name,
                format!("this parameter is not known; there are: {}", T::NAMES.join(", ")),
            )),
        }
    }
}

/// The named parts of a path; one that is not UTF-8 or holds a NUL names nothing.
pub struct Segments<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // The databases differ in what they make of a NUL; no name and no id has one.
        if parts.uri.path().contains("%00") {
            return Err(Problem::not_found("thing"));
        }
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(segments)) => Ok(Self(segments)),
            Err(_) => Err(Problem::not_found("thing")),
        }
    }
}

/// The parts of a repository's address, for the description of the API.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it only describes")]
pub struct RepositoryPath {
    /// A user's or an organisation's name.
    namespace: String,
    /// The repository's name.
    name: String,
}

/// The same for what belongs to a namespace.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it only describes")]
pub struct NamespacePath {
    /// A user's or an organisation's name.
    namespace: String,
}

/// The same for a registry.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it only describes")]
pub struct HostPath {
    /// The registry's host as images name it, percent-encoded: `registry.example.com%3A5000`.
    host: String,
}

/// The same for a base image.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it only describes")]
pub struct ImagePath {
    /// In full or as people write it, percent-encoded: `alpine%3A3.20`, `registry.example.com%2Fapp%3A1`.
    image: String,
}

/// The same for what is found by its id.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it only describes")]
pub struct IdPath {
    /// As lists and answers give it.
    id: String,
}

/// The same for an organisation.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it only describes")]
pub struct OrganisationPath {
    /// The organisation's name.
    organisation: String,
}

/// The same for a member of one.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it only describes")]
pub struct MemberPath {
    /// The user's name.
    user: String,
}

/// The same for an invitation that is to be accepted.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it only describes")]
pub struct CodePath {
    /// The invitation's code, which can be used once.
    code: String,
}
