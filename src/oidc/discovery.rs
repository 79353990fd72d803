//! What the provider says of itself: OpenID Connect Discovery 1.0.

use serde::Deserialize;
use url::Url;

use super::{
    OidcError,
    http::{Http, safe_url},
};

/// Where a provider is asked what.
#[derive(Debug)]
pub(super) struct Metadata {
    issuer: String,
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    pub(super) jwks_uri: Url,
    pub(super) userinfo_endpoint: Option<Url>,
    auth_methods: Vec<String>,
    scopes: Vec<String>,
    /// Whether it names itself when it sends a browser back (RFC 9207).
    names_itself: bool,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
    #[serde(default)]
    scopes_supported: Vec<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl Metadata {
    pub(super) async fn fetch(http: &Http, issuer: &str) -> Result<Self, OidcError> {
        let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let document = http.get_json(&safe_url("the issuer", &address)?, None).await?;
        Self::new(document, issuer)
    }

    fn new(document: Document, issuer: &str) -> Result<Self, OidcError> {
        if document.issuer != issuer {
            let told = super::identity::one_line(&document.issuer, super::error::LONGEST_MESSAGE);
            return Err(OidcError::Provider(format!(
                "it calls itself `{told}`, the configuration's issuer is `{issuer}`"
            )));
        }
        let userinfo = document.userinfo_endpoint.as_deref();
        Ok(Self {
            authorization_endpoint: safe_url("authorization_endpoint", &document.authorization_endpoint)?,
            token_endpoint: safe_url("token_endpoint", &document.token_endpoint)?,
            jwks_uri: safe_url("jwks_uri", &document.jwks_uri)?,
            userinfo_endpoint: userinfo.map(|url| safe_url("userinfo_endpoint", url)).transpose()?,
            issuer: document.issuer,
            auth_methods: document.token_endpoint_auth_methods_supported,
            scopes: document.scopes_supported,
            names_itself: document.authorization_response_iss_parameter_supported,
        })
    }

    /// Refuses an answer that another provider sent a browser back with.
    pub(super) fn check_answerer(&self, told: Option<&str>) -> Result<(), OidcError> {
        match told {
            Some(told) if told == self.issuer => Ok(()),
            None if !self.names_itself => Ok(()),
            Some(_) => Err(OidcError::Untrusted("another provider sent it".to_owned())),
            None => Err(OidcError::Untrusted(
                "it does not say which provider sent it".to_owned(),
            )),
        }
    }

    pub(super) fn knows_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|known| known == scope)
    }

    /// Whether the client's secret goes into the `Authorization` header: what holds where nothing is said.
    pub(super) fn takes_secret_in_header(&self) -> bool {
        let takes = |method| self.auth_methods.iter().any(|known| known == method);
        takes("client_secret_basic") || !takes("client_secret_post")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ISSUER: &str = "https://id.example.com";

    fn document(change: impl FnOnce(&mut Value)) -> Result<Metadata, OidcError> {
        let mut document = json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://id.example.com/auth",
            "token_endpoint": "https://id.example.com/token",
            "jwks_uri": "https://id.example.com/jwks",
            "surprise": [1],
        });
        change(&mut document);
        Metadata::new(serde_json::from_value(document).unwrap(), ISSUER)
    }

    #[test]
    fn a_provider_must_be_who_it_was_asked_as() {
        document(|_| {}).unwrap();
        for other in ["https://id.example.com/", "https://evil.example.com", ""] {
            let error = document(|document| document["issuer"] = json!(other)).unwrap_err();
            assert!(matches!(error, OidcError::Provider(_)), "{other}: {error}");
        }
    }

    #[test]
    fn an_endpoint_in_the_clear_is_refused() {
        for name in [
            "authorization_endpoint",
            "token_endpoint",
            "jwks_uri",
            "userinfo_endpoint",
        ] {
            let error = document(|document| document[name] = json!("http://id.example.com/x")).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn the_secret_goes_into_the_header_unless_only_the_body_is_taken() {
        let check = |methods: &[&str], expected| {
            let metadata =
                document(|document| document["token_endpoint_auth_methods_supported"] = json!(methods)).unwrap();
            assert_eq!(metadata.takes_secret_in_header(), expected, "{methods:?}");
        };
        check(&[], true);
        check(&["client_secret_basic", "client_secret_post"], true);
        check(&["private_key_jwt"], true);
        check(&["client_secret_post"], false);
    }

    #[test]
    fn an_answer_of_another_provider_is_refused() {
        let plain = document(|_| {}).unwrap();
        assert!(plain.check_answerer(None).is_ok() && plain.check_answerer(Some(ISSUER)).is_ok());
        assert!(plain.check_answerer(Some("https://evil.example.com")).is_err());
        let naming =
            document(|document| document["authorization_response_iss_parameter_supported"] = json!(true)).unwrap();
        assert!(naming.check_answerer(Some(ISSUER)).is_ok() && naming.check_answerer(None).is_err());
    }
}
