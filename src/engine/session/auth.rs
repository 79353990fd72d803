//! Hands the engine the credentials that a build was given, host by host, and no others.

use std::collections::HashMap;

use bollard_buildkit_proto::moby::filesync::v1::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse, GetTokenAuthorityRequest,
    GetTokenAuthorityResponse, VerifyTokenAuthorityRequest, VerifyTokenAuthorityResponse, auth_server::Auth,
};
use secrecy::{ExposeSecret, SecretString};
use tonic::{Request, Response, Status};

use super::super::spec::RegistryAuth;
use crate::domain::image::DOCKER_HUB;

/// Names under which BuildKit asks for Docker Hub's credentials.
const DOCKER_HUB_HOSTS: [&str; 3] = ["registry-1.docker.io", "index.docker.io", "https://index.docker.io/v1/"];

/// Credentials by host, as image names have it.
pub(super) struct Credentials(HashMap<String, (String, SecretString)>);

impl Credentials {
    pub(super) fn new(auths: &[RegistryAuth]) -> Self {
        Self(
            auths
                .iter()
                .map(|auth| (auth.host.clone(), (auth.username.clone(), auth.password.clone())))
                .collect(),
        )
    }

    /// An unknown host gets empty credentials: it is then asked anonymously.
    fn for_host(&self, host: &str) -> CredentialsResponse {
        let host = if DOCKER_HUB_HOSTS.contains(&host) {
            DOCKER_HUB
        } else {
            host
        };
        self.0
            .get(host)
            .map_or_else(CredentialsResponse::default, |(username, password)| {
                CredentialsResponse {
                    username: username.clone(),
                    secret: password.expose_secret().to_owned(),
                }
            })
    }
}

#[tonic::async_trait]
impl Auth for Credentials {
    async fn credentials(&self, request: Request<CredentialsRequest>) -> Result<Response<CredentialsResponse>, Status> {
        Ok(Response::new(self.for_host(&request.into_inner().host)))
    }

    async fn fetch_token(&self, _: Request<FetchTokenRequest>) -> Result<Response<FetchTokenResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn get_token_authority(
        &self,
        _: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn verify_token_authority(
        &self,
        _: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_gets_its_own_credentials_and_a_stranger_none() {
        let auth = |host: &str| RegistryAuth {
            host: host.to_owned(),
            username: format!("user of {host}"),
            password: "pw".into(),
        };
        let credentials = Credentials::new(&[auth("docker.io"), auth("r.example.com:5000")]);
        let user = |host: &str| credentials.for_host(host).username;
        assert_eq!(user("registry-1.docker.io"), "user of docker.io");
        assert_eq!(user("r.example.com:5000"), "user of r.example.com:5000");
        for stranger in ["r.example.com", "evil.example.com", "", "docker.io.evil.example.com"] {
            assert_eq!(
                credentials.for_host(stranger),
                CredentialsResponse::default(),
                "{stranger}"
            );
        }
    }
}
