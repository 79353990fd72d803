//! Sign-in by another service that knows people: OpenID Connect Core 1.0, authorization code flow with PKCE.
//!
//! Asks the provider and proves what it said. Who that is here, and whether they may come in, is decided elsewhere. Nothing
//! that a provider says is believed before its signature, issuer, audience, times and nonce were held against what is
//! expected, and none of its answers may be large, slow, or come from another address.

mod discovery;
mod error;
mod http;
mod id_token;
mod identity;
mod keys;
mod remembered;

#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken, ExtraTokenFields,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, StandardRevocableToken,
    StandardTokenResponse, TokenResponse, TokenUrl,
    basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use self::{
    discovery::Metadata,
    http::Http,
    id_token::Expected,
    keys::Keys,
    remembered::{Need, Remembered},
};
pub use self::{error::OidcError, identity::Identity};

/// The provider, and what it knows this service by.
#[derive(Debug, Clone)]
pub struct OidcConfig {
    /// As the provider spells it; `https`, or `http` on loopback.
    pub issuer: String,
    pub client_id: String,
    pub client_secret: SecretString,
    /// Whether the groups of people are asked for.
    pub wants_groups: bool,
}

/// A provider. Remembers its documents for an hour.
pub struct Oidc {
    config: OidcConfig,
    http: Http,
    metadata: Remembered<Metadata>,
    keys: Remembered<Keys>,
}

/// One try to sign in, between the way to the provider and the way back: for the browser that makes it alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attempt {
    state: String,
    nonce: String,
    verifier: String,
}

impl Attempt {
    /// Whether the `state` that came back is this attempt's.
    pub fn has_state(&self, state: &str) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.state.as_bytes(), state.as_bytes()).is_ok()
    }
}

/// What the provider sent the browser back with.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    pub code: &'a str,
    /// Who says so (RFC 9207).
    pub issuer: Option<&'a str>,
}

/// What a token response has beside OAuth's own.
#[derive(Debug, Serialize, Deserialize)]
struct IdTokenField {
    id_token: Option<String>,
}

impl ExtraTokenFields for IdTokenField {}

type OidcClient<HasAuthUrl, HasTokenUrl> = Client<
    BasicErrorResponse,
    StandardTokenResponse<IdTokenField, BasicTokenType>,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    HasAuthUrl,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    HasTokenUrl,
>;

impl Oidc {
    /// Asks nothing yet: the provider may be away while this service starts.
    pub fn new(config: OidcConfig) -> Result<Self, OidcError> {
        http::safe_url("the issuer", &config.issuer)?;
        Ok(Self {
            config,
            http: Http::new()?,
            metadata: Remembered::default(),
            keys: Remembered::default(),
        })
    }

    pub fn issuer(&self) -> &str {
        &self.config.issuer
    }

    /// Where to send a browser, and what to keep until it comes back to `redirect_url`.
    pub async fn begin(&self, redirect_url: &str) -> Result<(String, Attempt), OidcError> {
        let metadata = self.metadata().await?;
        let client = self.client(&metadata, redirect_url)?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let nonce = CsrfToken::new_random().into_secret();
        let mut request = client
            .authorize_url(CsrfToken::new_random)
            .set_pkce_challenge(challenge)
            .add_extra_param("nonce", &nonce);
        for scope in self.scopes(&metadata) {
            request = request.add_scope(Scope::new(scope.to_owned()));
        }
        let (url, state) = request.url();
        let attempt = Attempt {
            state: state.into_secret(),
            nonce,
            verifier: verifier.into_secret(),
        };
        Ok((url.into(), attempt))
    }

    /// Who came back. `redirect_url` is the one that [`Self::begin`] was given; the caller has compared the state.
    pub async fn complete(
        &self,
        attempt: Attempt,
        redirect_url: &str,
        answer: Answer<'_>,
        now: DateTime<Utc>,
    ) -> Result<Identity, OidcError> {
        let metadata = self.metadata().await?;
        metadata.check_answerer(answer.issuer)?;
        let response = self
            .client(&metadata, redirect_url)?
            .exchange_code(AuthorizationCode::new(answer.code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(attempt.verifier))
            .request_async(&self.http)
            .await
            .map_err(exchange_failed)?;
        let token = response
            .extra_fields()
            .id_token
            .as_deref()
            .ok_or_else(|| OidcError::Untrusted("its answer has no ID token".to_owned()))?;
        let claims = self.verified_claims(token, &metadata, &attempt.nonce, now).await?;
        let mut identity = Identity::new(&self.config.issuer, &claims)?;
        if let Some(url) = metadata.userinfo_endpoint.as_ref()
            && identity.lacks_something(self.config.wants_groups)
        {
            let told = self.http.get_json(url, Some(response.access_token().secret())).await?;
            identity.complete_with(&told)?;
        }
        Ok(identity)
    }

    async fn metadata(&self) -> Result<std::sync::Arc<Metadata>, OidcError> {
        self.metadata
            .get(Need::Any, || Metadata::fetch(&self.http, &self.config.issuer))
            .await
    }

    /// The claims of an ID token that is the provider's, for us and for this attempt.
    async fn verified_claims(
        &self,
        token: &str,
        metadata: &Metadata,
        nonce: &str,
        now: DateTime<Utc>,
    ) -> Result<id_token::Claims, OidcError> {
        let header = id_token::Header::of(token)?;
        let fetch = || Keys::fetch(&self.http, &metadata.jwks_uri);
        let mut keys = self.keys.get(Need::Any, fetch).await?;
        if !keys.has_one_for(&header) {
            // The provider may have changed its keys since.
            keys = self.keys.get(Need::Newer, fetch).await?;
        }
        let claims = keys.open(token, &header)?;
        let expected = Expected {
            issuer: &self.config.issuer,
            client_id: &self.config.client_id,
            nonce,
        };
        id_token::check(&claims, &expected, now)?;
        Ok(claims)
    }

    fn scopes(&self, metadata: &Metadata) -> impl Iterator<Item = &'static str> {
        // Not every provider knows it, and one that does not may refuse the whole request.
        let groups = self.config.wants_groups && metadata.knows_scope("groups");
        ["openid", "profile", "email"]
            .into_iter()
            .chain(groups.then_some("groups"))
    }

    fn client(
        &self,
        metadata: &Metadata,
        redirect_url: &str,
    ) -> Result<OidcClient<oauth2::EndpointSet, oauth2::EndpointSet>, OidcError> {
        let redirect_url = RedirectUrl::new(redirect_url.to_owned())
            .map_err(|error| OidcError::Provider(format!("public_url is no address to come back to: {error}")))?;
        let secret = ClientSecret::new(self.config.client_secret.expose_secret().to_owned());
        let auth_type = match metadata.takes_secret_in_header() {
            true => AuthType::BasicAuth,
            false => AuthType::RequestBody,
        };
        Ok(OidcClient::new(ClientId::new(self.config.client_id.clone()))
            .set_client_secret(secret)
            .set_auth_type(auth_type)
            .set_auth_uri(AuthUrl::from_url(metadata.authorization_endpoint.clone()))
            .set_token_uri(TokenUrl::from_url(metadata.token_endpoint.clone()))
            .set_redirect_uri(redirect_url))
    }
}

fn exchange_failed(error: RequestTokenError<OidcError, BasicErrorResponse>) -> OidcError {
    match error {
        RequestTokenError::Request(error) => error,
        RequestTokenError::ServerResponse(refusal) => {
            OidcError::Refused(identity::one_line(&refusal.to_string(), error::LONGEST_MESSAGE))
        }
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
            OidcError::Provider("its token answer is none that OpenID Connect has".to_owned())
        }
    }
}
