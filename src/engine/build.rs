//! Builds: what both builders have in common.

use std::sync::Arc;

use hyper::{Request, StatusCode};
use tokio_util::sync::CancellationToken;

use super::{
    BuildSpec, Builder, BuiltImage, Engine, EngineError,
    bases::{self, Prepared},
    buildkit, classic,
    clean::temporary_name,
    dockerfile::{self, Dockerfile},
    error::build_fault,
    frontend,
    http::{Address, Body},
    info::gone,
    messages::Records,
    pinned,
};
use crate::domain::{context::BuildContext, progress::Progress};

impl Engine {
    /// Builds an image.
    ///
    /// Takes as long as the steps take; a limit of time is the caller's, by `cancel`. When the future is dropped or
    /// canceled the engine stops the step that runs. The image also bears a temporary name, which keeps it from being
    /// pruned, until [`Engine::forget`].
    pub async fn build(
        &self,
        spec: &BuildSpec,
        context: Arc<dyn BuildContext>,
        progress: Arc<dyn Progress>,
        cancel: &CancellationToken,
    ) -> Result<BuiltImage, EngineError> {
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(EngineError::Canceled),
            error = gone(&self.address) => Err(error),
            result = self.build_to_end(spec, context, progress.as_ref()) => result,
        }
    }

    async fn build_to_end(
        &self,
        spec: &BuildSpec,
        context: Arc<dyn BuildContext>,
        progress: &dyn Progress,
    ) -> Result<BuiltImage, EngineError> {
        let dockerfile = read_dockerfile(Arc::clone(&context)).await?;
        frontend::check(&dockerfile.content, &spec.build_args, &spec.allowed_frontends)?;
        let buildkit = match spec.builder {
            _ if spec.has_limits() => false,
            Builder::BuildKit => true,
            Builder::Classic => false,
            Builder::Auto => self.ping().await?.buildkit,
        };
        // Nothing but a variable can ask where it is built.
        let platform = match dockerfile.content.contains(&b'$') {
            true => self.ping().await?.platform,
            false => String::new(),
        };
        let asked = spec.clone();
        let (dockerfile, used) = blocking(move || {
            let used = bases::read(&dockerfile.content, &asked, &platform, buildkit);
            Ok((dockerfile, used))
        })
        .await?;
        let digests = match buildkit && spec.pull {
            true => self.exact_digests(&used, spec).await,
            false => spec.base_digests.clone(),
        };
        let Prepared { dockerfile, mut bases } = bases::prepare(dockerfile, used, &digests);
        bases.announce(&spec.base_digests, progress);
        let spec = &bases.labelled(spec);
        let built = if buildkit {
            let context = pinned::context(context, &dockerfile);
            buildkit::build(self, spec, context, &mut bases, progress).await
        } else {
            classic::build(&self.address, spec, context, dockerfile, &mut bases, progress).await
        };
        if buildkit && built.is_ok() {
            bases.note_differences();
        }
        // BuildKit keeps what it pulls apart from the engine's images, which may be older ones.
        if !(buildkit && spec.pull) {
            self.look_up(&mut bases, built.is_ok()).await;
        }
        bases.tell(progress);
        Ok(BuiltImage::new(built?, spec.build_id.clone()))
    }
}

async fn read_dockerfile(context: Arc<dyn BuildContext>) -> Result<Dockerfile, EngineError> {
    blocking(move || dockerfile::read(context.as_ref())).await
}

/// Runs what reads the context off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(EngineError::Source(format!(
            "reading the build context failed: {error}"
        ))),
    }
}

/// The parameters that both builders know by the same names.
pub(super) fn parameters(spec: &BuildSpec) -> Result<Vec<(&'static str, String)>, EngineError> {
    let json = |map| {
        serde_json::to_string(map)
            .map_err(|error| EngineError::Dockerfile(format!("a build argument cannot be written: {error}")))
    };
    let flag = |on: bool| if on { "1" } else { "0" }.to_owned();
    let mut pairs = vec![
        ("buildargs", json(&spec.build_args)?),
        ("labels", json(&spec.labels)?),
        ("nocache", flag(spec.no_cache)),
        ("pull", flag(spec.pull)),
        ("rm", flag(true)),
        ("forcerm", flag(true)),
        ("t", temporary_name(&spec.build_id)),
    ];
    pairs.extend(spec.tags.iter().map(|tag| ("t", tag.clone())));
    pairs.extend(spec.target.iter().map(|target| ("target", target.clone())));
    pairs.extend(spec.platform.iter().map(|platform| ("platform", platform.clone())));
    Ok(pairs)
}

/// Sends a build request and returns the records that answer it.
pub(super) async fn start(address: &Address, request: Request<Body>) -> Result<Records, EngineError> {
    let exchange = address.send(request).await?;
    let status = exchange.response.status();
    if status == StatusCode::OK {
        return Ok(Records::new(exchange));
    }
    let answer = exchange.read_whole().await?;
    Err(match status {
        // The classic builder answers a Dockerfile that it cannot parse with 400, and one that it cannot find with 500.
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::CONFLICT => {
            EngineError::Dockerfile(answer.message())
        }
        _ => match build_fault(&answer.message(), None) {
            EngineError::Dockerfile(message) if !is_about_dockerfile(&message) => {
                EngineError::Unavailable(format!("the engine answered {status}: {message}"))
            }
            fault => fault,
        },
    })
}

fn is_about_dockerfile(message: &str) -> bool {
    message.to_ascii_lowercase().contains("dockerfile")
}
