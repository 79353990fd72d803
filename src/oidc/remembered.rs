//! Documents of the provider, remembered: asked for again when they are old or lack something, but never in a flood,
//! whatever people send.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Mutex, time::Instant};

use super::OidcError;

/// For how long a document is taken for true.
const GOOD_FOR: Duration = Duration::from_secs(60 * 60);

/// Between two questions for the same document, whether the first succeeded or not.
const AT_MOST_EVERY: Duration = Duration::from_secs(10);

/// Which document will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// One that is not old.
    Any,
    /// One newer than was handed out before, as far as the provider may be asked again.
    Newer,
}

pub(super) struct Remembered<T>(Mutex<State<T>>);

struct State<T> {
    /// The last one that could be had, and when.
    last: Option<(Arc<T>, Instant)>,
    /// When it was last asked for, and what went wrong.
    asked: Option<(Instant, Option<OidcError>)>,
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self(Mutex::new(State {
            last: None,
            asked: None,
        }))
    }
}

impl<T> Remembered<T> {
    /// The document. While the provider is away an old one stands in for it.
    pub(super) async fn get<F>(&self, need: Need, fetch: impl FnOnce() -> F) -> Result<Arc<T>, OidcError>
    where
        F: Future<Output = Result<T, OidcError>>,
    {
        // Held while asking: whoever comes meanwhile gets the same answer.
        let mut state = self.0.lock().await;
        if need == Need::Any
            && let Some((document, at)) = &state.last
            && at.elapsed() < GOOD_FOR
        {
            return Ok(document.clone());
        }
        let asked_lately = state.asked.as_ref().is_some_and(|(at, _)| at.elapsed() < AT_MOST_EVERY);
        if !asked_lately {
            let (asked_at, fetched) = (Instant::now(), fetch().await);
            let failure = match fetched {
                Ok(document) => {
                    state.last = Some((Arc::new(document), asked_at));
                    None
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to read a document of the OpenID Connect provider");
                    Some(error)
                }
            };
            state.asked = Some((Instant::now(), failure));
        }
        match (&state.last, &state.asked) {
            (Some((document, _)), _) => Ok(document.clone()),
            (None, Some((_, Some(error)))) => Err(error.clone()),
            (None, _) => Err(OidcError::Unavailable("nothing is known of it yet".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Hands out 1, 2, 3, ...; fails while `is_down`.
    #[derive(Default)]
    struct Provider {
        asked: Cell<u32>,
        is_down: Cell<bool>,
        remembered: Remembered<u32>,
    }

    impl Provider {
        async fn get(&self, need: Need) -> Result<u32, OidcError> {
            let fetch = || async {
                self.asked.set(self.asked.get() + 1);
                match self.is_down.get() {
                    true => Err(OidcError::Unavailable("down".to_owned())),
                    false => Ok(self.asked.get()),
                }
            };
            self.remembered.get(need, fetch).await.map(|document| *document)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_document_is_good_for_an_hour_and_an_old_one_stands_in_while_the_provider_is_away() {
        let provider = Provider::default();
        assert_eq!(provider.get(Need::Any).await, Ok(1));
        tokio::time::advance(GOOD_FOR - Duration::from_secs(1)).await;
        assert_eq!(provider.get(Need::Any).await, Ok(1));
        tokio::time::advance(Duration::from_secs(2)).await;
        provider.is_down.set(true);
        assert_eq!(provider.get(Need::Any).await, Ok(1));
        tokio::time::advance(AT_MOST_EVERY).await;
        provider.is_down.set(false);
        assert_eq!(provider.get(Need::Any).await, Ok(3));
    }

    #[tokio::test(start_paused = true)]
    async fn however_often_something_is_missing_the_provider_is_asked_seldom() {
        let provider = Provider::default();
        for _ in 0..1000 {
            assert_eq!(provider.get(Need::Newer).await, Ok(1));
        }
        tokio::time::advance(AT_MOST_EVERY).await;
        assert_eq!(provider.get(Need::Newer).await, Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_is_away_is_not_asked_by_everybody() {
        let provider = Provider::default();
        provider.is_down.set(true);
        for _ in 0..1000 {
            assert!(provider.get(Need::Any).await.is_err());
        }
        assert_eq!(provider.asked.get(), 1);
        provider.is_down.set(false);
        tokio::time::advance(AT_MOST_EVERY).await;
        assert_eq!(provider.get(Need::Any).await, Ok(2));
    }
}
