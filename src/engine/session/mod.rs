//! The session beside a BuildKit build: a connection over which the engine asks us for files, credentials and secrets.
//!
//! We open it as an HTTP request that the engine turns round: from then on the engine is the client, in gRPC. It serves
//! one build alone and ends with it; what it hands out is never written to any log.

mod auth;
mod filesync;
mod fsutil;
mod health;
mod secrets;
mod stamps;

use std::sync::Arc;

use bollard_buildkit_proto::{
    health::health_server::HealthServer,
    moby::{buildkit::secrets::v1::secrets_server::SecretsServer, filesync::v1::auth_server::AuthServer},
};
use hyper::{Method, StatusCode, server::conn::http2};
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    service::TowerToHyperService,
};
use tokio::task::JoinHandle;
use tonic::service::Routes;

pub(super) use self::stamps::Stamps;
use self::{auth::Credentials, filesync::FileSync, health::Alive, secrets::BuildSecrets};
use super::{
    error::EngineError,
    fault::Fault,
    http::{ANSWER_TIMEOUT, Address, empty, request_with, within},
    spec::BuildSpec,
};
use crate::domain::context::BuildContext;

/// What the engine may call, as it must be told beforehand.
const METHODS: [&str; 4] = [
    "/grpc.health.v1.Health/Check",
    "/moby.filesync.v1.FileSync/DiffCopy",
    "/moby.filesync.v1.Auth/Credentials",
    "/moby.buildkit.secrets.v1.Secrets/GetSecret",
];

/// How many unread bytes the engine may send in one call, and in all.
///
/// It asks for each file of a context in a frame of a few bytes. The HTTP/2 library takes many small unread frames for an
/// attack and hangs up; what it bears grows with the connection's window, and what the engine can send before we read
/// with the stream's. With these two the bound cannot be reached.
const STREAM_WINDOW: u32 = 32 << 10;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// An open session. Dropping it closes the connection and with it everything that the engine still asks for.
pub(super) struct Session {
    id: String,
    fault: Fault,
    server: JoinHandle<()>,
}

impl Session {
    /// Opens a session for one build.
    pub(super) async fn open(
        address: &Address,
        spec: &BuildSpec,
        context: Arc<dyn BuildContext>,
        stamps: &Stamps,
    ) -> Result<Self, EngineError> {
        // An id that was used before would be served by the session that used it.
        let id = uuid::Uuid::now_v7().simple().to_string();
        let fault = Fault::default();
        let files = FileSync::new(context, stamps.history(&spec.shared_key), fault.clone());
        let mut headers = vec![
            ("connection", "Upgrade"),
            ("upgrade", "h2c"),
            ("x-docker-expose-session-uuid", id.as_str()),
            ("x-docker-expose-session-name", "hullworks"),
            ("x-docker-expose-session-sharedkey", files.shared_key()),
        ];
        headers.extend(METHODS.map(|method| ("x-docker-expose-session-grpc-method", method)));
        let request = request_with(Method::POST, "/session", &headers, empty())?;
        let upgrade = async {
            let exchange = address.send(request).await?;
            if exchange.response.status() != StatusCode::SWITCHING_PROTOCOLS {
                let answer = exchange.read_whole().await?;
                return Err(EngineError::Unavailable(format!(
                    "the engine opens no session for BuildKit: {} {}",
                    answer.status,
                    answer.message()
                )));
            }
            exchange.upgrade().await
        };
        let connection = within(ANSWER_TIMEOUT, upgrade).await?;

        let routes = Routes::new(HealthServer::new(Alive))
            .add_service(files)
            .add_service(AuthServer::new(Credentials::new(&spec.registry_auths)))
            .add_service(SecretsServer::new(BuildSecrets::new(&spec.secrets)));
        let server = tokio::spawn(async move {
            // The connection ends when either side closes it; there is nobody to tell of its errors but the engine.
            let _ = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .serve_connection(connection, TowerToHyperService::new(routes))
                .await;
        });
        Ok(Self { id, fault, server })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// What went wrong on our side of the session, which the engine tells less well.
    pub(super) fn fault(&self) -> Option<EngineError> {
        self.fault.take()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.server.abort();
    }
}
