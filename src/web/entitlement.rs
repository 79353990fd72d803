//! Streams end with the right to see them: with the session, the token, the role or the visibility by which they began.
//!
//! In this process a bell tells of it at once; what happened in another is found out by looking every few seconds.

use std::{convert::Infallible, time::Duration};

use axum::extract::FromRequestParts;
use futures_util::{Stream, StreamExt};
use http::{Method, Request, header, request::Parts};

use super::{Web, auth::Caller, problem::Problem};
use crate::domain::ids::UserId;

/// How often to look without being told.
const LOOK_EVERY: Duration = Duration::from_secs(4);

/// By what a request says who sent it, to be held up again later.
pub struct Credentials(Parts);

impl FromRequestParts<Web> for Credentials {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Web) -> Result<Self, Infallible> {
        let mut kept = Request::new(()).into_parts().0;
        kept.method = Method::GET;
        for name in [header::AUTHORIZATION, header::COOKIE] {
            for value in parts.headers.get_all(&name) {
                kept.headers.append(name.clone(), value.clone());
            }
        }
        Ok(Self(kept))
    }
}

/// Passes a stream on until whoever it is for is no longer who they were when it began, or `may_still` refuses them.
///
/// It also ends where that cannot be found out: viewers come back and resume.
pub fn while_entitled<S, F>(
    stream: S,
    web: &Web,
    caller: &Caller,
    credentials: Credentials,
    may_still: impl Fn(Caller) -> F + Send + 'static,
) -> impl Stream<Item = S::Item> + Send + 'static
where
    S: Stream + Send + 'static,
    F: Future<Output = Result<(), Problem>> + Send + 'static,
{
    let (web, began_as) = (web.clone(), user_of(caller).cloned());
    let mut parts = credentials.0;
    stream.take_until(async move {
        loop {
            // First the bell, then the look: what changes in between is heard.
            let rung = web.signals.on_access_change(LOOK_EVERY);
            let Ok(caller) = Caller::from_request_parts(&mut parts, &web).await else {
                return;
            };
            if user_of(&caller) != began_as.as_ref() || may_still(caller).await.is_err() {
                return;
            }
            rung.await;
        }
    })
}

fn user_of(caller: &Caller) -> Option<&UserId> {
    match caller {
        Caller::User(user) => Some(&user.id),
        Caller::Anonymous => None,
    }
}
