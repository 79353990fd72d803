//! Hands the engine the secrets that a build was given, for `RUN --mount=type=secret`.

use std::collections::BTreeMap;

use bollard_buildkit_proto::moby::buildkit::secrets::v1::{
    GetSecretRequest, GetSecretResponse, secrets_server::Secrets,
};
use secrecy::{ExposeSecret, SecretString};
use tonic::{Request, Response, Status};

/// Secrets by id.
pub(super) struct BuildSecrets(BTreeMap<String, SecretString>);

impl BuildSecrets {
    pub(super) fn new(secrets: &BTreeMap<String, SecretString>) -> Self {
        Self(secrets.clone())
    }
}

#[tonic::async_trait]
impl Secrets for BuildSecrets {
    async fn get_secret(&self, request: Request<GetSecretRequest>) -> Result<Response<GetSecretResponse>, Status> {
        let id = request.into_inner().id;
        match self.0.get(&id) {
            Some(secret) => Ok(Response::new(GetSecretResponse {
                data: secret.expose_secret().as_bytes().to_vec(),
            })),
            // The engine goes on without it unless the Dockerfile says `required`.
            None => Err(Status::not_found(format!("no secret `{id}` was given to this build"))),
        }
    }
}
