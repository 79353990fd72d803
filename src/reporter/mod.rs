//! Tells people of builds that ended. What there is to tell was written down with the end of the build; here it becomes a
//! letter, and is removed when the mail server has taken it. A crash in between repeats a letter, under the same id, and
//! loses none.

mod letter;

use std::{pin::pin, sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use crate::{
    build_log::BuildLogs,
    clock::Clock,
    mail::{Mailer, SendError},
    signals::Signals,
    store::{Store, StoreError, WaitingMail},
};

/// How often to look without being told: for builds that ended in another process, and letters that wait for their time.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How long nobody else takes a letter that is being sent: longer than sending may take.
const HELD_FOR: TimeDelta = TimeDelta::minutes(5);

/// First pause of a letter that was not taken; it doubles with each attempt.
const FIRST_PAUSE: TimeDelta = TimeDelta::minutes(1);

const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(4);

/// After so many, which takes more than a day, a letter is given up: nobody wants to read it any more.
const MOST_ATTEMPTS: i64 = 14;

/// How long a shutdown waits for the letter that is being sent.
const LAST_LETTER: Duration = Duration::from_secs(5);

/// What the reporter works with.
#[derive(Clone)]
pub struct ReporterParts {
    pub store: Store,
    pub logs: Arc<BuildLogs>,
    pub clock: Clock,
    pub signals: Signals,
    /// Where the links in letters lead, without a trailing slash.
    pub base_url: String,
}

/// Works until `shutdown`. Without a mailer, what there is to tell is forgotten.
pub async fn run(parts: ReporterParts, mailer: Option<Mailer>, shutdown: CancellationToken) {
    loop {
        let ended = parts.signals.on_build_end(LOOK_EVERY);
        let mut pass = pin!(report(&parts, mailer.as_ref(), &shutdown));
        tokio::select! {
            () = shutdown.cancelled() => {
                // The letter that is on its way: broken off, it would come twice.
                let _ = tokio::time::timeout(LAST_LETTER, pass).await;
                return;
            }
            () = &mut pass => {}
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = ended => {}
        }
    }
}

async fn report(parts: &ReporterParts, mailer: Option<&Mailer>, shutdown: &CancellationToken) {
    let done = match mailer {
        Some(mailer) => send_waiting(parts, mailer, shutdown).await,
        None => parts.store.forget_mail().await.map(drop),
    };
    if let Err(error) = done {
        tracing::error!(%error, "failed to look for notifications to send");
    }
}

/// Sends what may be sent now, one after the other. Ends early when the mail server is away.
async fn send_waiting(parts: &ReporterParts, mailer: &Mailer, shutdown: &CancellationToken) -> Result<(), StoreError> {
    while !shutdown.is_cancelled() {
        let now = parts.clock.now();
        let Some(mail) = parts.store.claim_mail(now, now + HELD_FOR).await? else {
            return Ok(());
        };
        let Some(letter) = letter::write(parts, &mail, now).await? else {
            parts.store.remove_mail(&mail).await?;
            continue;
        };
        match mailer.send(&letter).await {
            Ok(()) => parts.store.remove_mail(&mail).await?,
            Err(error @ SendError::Refused(_)) => {
                tracing::warn!(%error, build = %mail.build, user = %mail.user, "a notification was given up");
                parts.store.remove_mail(&mail).await?;
            }
            Err(error) => {
                try_again_later(parts, &mail, &error).await?;
                if matches!(error, SendError::Unavailable(_)) {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

async fn try_again_later(parts: &ReporterParts, mail: &WaitingMail, error: &SendError) -> Result<(), StoreError> {
    if mail.attempts >= MOST_ATTEMPTS {
        tracing::error!(%error, build = %mail.build, user = %mail.user, "a notification was given up after many attempts");
        return parts.store.remove_mail(mail).await;
    }
    tracing::warn!(%error, build = %mail.build, user = %mail.user, attempt = mail.attempts, "a notification has to wait");
    let doublings = u32::try_from(mail.attempts.clamp(1, 20) - 1).unwrap_or_default();
    let pause = (FIRST_PAUSE * 2i32.pow(doublings)).min(LONGEST_PAUSE);
    parts.store.put_mail_off(mail, parts.clock.now() + pause).await
}
