//! Builds through BuildKit: a session that serves what is asked for, and a request whose answer tells how it goes.

use std::sync::Arc;

use hyper::Method;

use super::{
    BuildSpec, Engine, EngineError,
    bases::Bases,
    build::{parameters, start},
    error::build_fault,
    http::{empty, query, request_with},
    session::Session,
    trace::Trace,
};
use crate::domain::{context::BuildContext, progress::Progress};

/// Returns the id of the image.
pub(super) async fn build(
    engine: &Engine,
    spec: &BuildSpec,
    context: Arc<dyn BuildContext>,
    bases: &mut Bases,
    progress: &dyn Progress,
) -> Result<String, EngineError> {
    let dockerfile = context.dockerfile().to_owned();
    let session = Session::open(&engine.address, spec, context, &engine.stamps).await?;
    let mut pairs = parameters(spec)?;
    // Entitlements would be asked for here, and none ever is: `RUN --network=host` and `RUN --security=insecure` are
    // refused, by an engine of version 20.10 on its own account and by a newer BuildKit for want of the entitlement.
    pairs.extend([
        ("version", "2".to_owned()),
        ("remote", "client-session".to_owned()),
        ("session", session.id().to_owned()),
        ("buildid", session.id().to_owned()),
        ("dockerfile", dockerfile),
    ]);
    let path = query("/build", pairs.iter().map(|(name, value)| (*name, value.as_str())));
    let request = request_with(Method::POST, &path, &[("content-type", "application/x-tar")], empty())?;
    let result = follow(engine, request, bases, progress).await;
    // Where our side of the session failed, the engine tells of it in its own words, without the kind of fault.
    match session.fault() {
        Some(fault) if result.is_err() => Err(fault),
        _ => result,
    }
}

async fn follow(
    engine: &Engine,
    request: hyper::Request<super::http::Body>,
    bases: &mut Bases,
    progress: &dyn Progress,
) -> Result<String, EngineError> {
    let mut records = start(&engine.address, request).await?;
    let mut trace = Trace::default();
    let mut id = None;
    while let Some(record) = records.next().await? {
        if let Some(report) = record.trace() {
            trace.report(&report, progress);
            bases.told(trace.take_images(), progress);
        } else if let Some(message) = record.error() {
            return Err(build_fault(message, trace.failed_step()));
        } else if let Some(built) = record.image_id() {
            id = Some(built);
        }
    }
    // There is no other mark of success: a stream that was cut off ends like any other.
    id.ok_or_else(|| EngineError::Unavailable("the engine ended the build without a result".to_owned()))
}
