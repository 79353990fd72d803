//! Looks at how a registry wants to be signed in to, before and after credentials are given to it.

use reqwest::{Method, StatusCode};

use super::http::{self, Question};
use super::token::{Demand, demand};
use super::token_cache::TokenCache;
use super::{Registries, RegistriesConfig, RegistryCredentials, RegistryError, Shared};

/// How a registry wants to be signed in to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryKind {
    /// Not at all: whoever asks is let in, so credentials cannot be verified.
    Open,
    /// With the password itself.
    Basic,
    /// With a token from the service at this address.
    Token { realm: String },
}

impl Registries {
    /// Fails only where this machine has no usable TLS roots.
    pub fn new(config: RegistriesConfig) -> Result<Self, RegistryError> {
        let shared = Shared {
            http: http::client(&config)?,
            config,
            tokens: TokenCache::default(),
        };
        Ok(Self { shared: shared.into() })
    }

    /// Tells how a registry wants to be signed in to, without showing it the credentials; an error
    /// ([`RegistryError::UntrustedRealm`]) if it would have them sent to a host that may not see them.
    ///
    /// Done before credentials are handed to the engine, which sends them wherever the registry says.
    pub async fn check_realm(
        &self,
        registry: &str,
        credentials: &RegistryCredentials,
    ) -> Result<RegistryKind, RegistryError> {
        let limit = self.shared.config.total_timeout;
        let demand = http::within(limit, registry, self.first_demand(registry, credentials)).await?;
        Ok(kind(demand.as_ref()))
    }

    /// Signs in, to see that the credentials work; [`RegistryError::Refused`] if they do not.
    pub async fn verify(
        &self,
        registry: &str,
        credentials: &RegistryCredentials,
    ) -> Result<RegistryKind, RegistryError> {
        let limit = self.shared.config.total_timeout;
        http::within(limit, registry, self.sign_in(registry, credentials)).await
    }

    async fn sign_in(&self, registry: &str, credentials: &RegistryCredentials) -> Result<RegistryKind, RegistryError> {
        let demand = self.first_demand(registry, credentials).await?;
        let kind = kind(demand.as_ref());
        let Some(demand) = demand else {
            return Ok(kind);
        };
        let authorization = self.authorise(registry, demand, None, Some(credentials)).await?;
        let (client, insecure) = (&self.shared.http, &self.shared.config.insecure);
        let answer = http::ask(client, insecure, Method::GET, &root(registry), Some(&authorization)).await?;
        match answer.status() {
            StatusCode::OK => Ok(kind),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(RegistryError::Refused(format!(
                "{registry} refuses the user name or password"
            ))),
            _ => Err(http::failure(registry, "its API", &answer)),
        }
    }

    /// What the registry demands of somebody who asks without credentials. `None`: nothing.
    async fn first_demand(
        &self,
        registry: &str,
        credentials: &RegistryCredentials,
    ) -> Result<Option<Demand>, RegistryError> {
        let (client, insecure) = (&self.shared.http, &self.shared.config.insecure);
        let answer = http::ask(client, insecure, Method::GET, &root(registry), None).await?;
        match answer.status() {
            StatusCode::OK => Ok(None),
            StatusCode::UNAUTHORIZED => demand(registry, &answer, Some(credentials), insecure).map(Some),
            _ => Err(http::failure(registry, "its API", &answer)),
        }
    }
}

/// The root of a registry's API, which answers whoever is let in.
fn root(registry: &str) -> Question<'_> {
    Question {
        registry,
        path: String::new(),
        accept: None,
        known: None,
    }
}

fn kind(demand: Option<&Demand>) -> RegistryKind {
    match demand {
        None => RegistryKind::Open,
        Some(Demand::Basic) => RegistryKind::Basic,
        Some(Demand::Token { realm, .. }) => RegistryKind::Token {
            realm: realm.to_string(),
        },
    }
}
