//! Who is told of what by mail, through a real mail server: nothing is lost, nothing comes twice.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use chrono::{TimeDelta, Utc};
use hullworks::{
    clock::Clock,
    domain::{
        build::{Ending, ErrorKind, Failure},
        notice::Wish,
    },
    mail::Mailer,
    reporter::{self, ReporterParts},
    signals::Signals,
    store::Profile,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    app::{App, Setup},
    mail_server::MailServer,
};

/// The reporter of an application, which tests wake and whose clock they set.
struct Reporter {
    signals: Signals,
    ahead: Arc<AtomicI64>,
    shutdown: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Reporter {
    fn start(app: &App, mail_server: Option<&str>) -> Self {
        let (signals, ahead, shutdown) = (
            Signals::default(),
            Arc::new(AtomicI64::new(0)),
            CancellationToken::new(),
        );
        let minutes = ahead.clone();
        let parts = ReporterParts {
            store: app.store.clone(),
            logs: app.logs.clone(),
            clock: Clock::from_fn(move || app_time() + TimeDelta::minutes(minutes.load(Ordering::Relaxed))),
            signals: signals.clone(),
            base_url: app.url.clone(),
        };
        let mailer = mail_server.map(|url| Mailer::new(&url.into(), "Hullworks <builds@example.com>").unwrap());
        let task = tokio::spawn(reporter::run(parts, mailer, shutdown.clone()));
        Self {
            signals,
            ahead,
            shutdown,
            task: AbortOnDropHandle::new(task),
        }
    }

    fn wake_after(&self, minutes: i64) {
        self.ahead.fetch_add(minutes, Ordering::Relaxed);
        self.signals.build_ended();
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

fn app_time() -> chrono::DateTime<Utc> {
    Clock::system().now()
}

async fn has_address(app: &App, name: &str, email: &str) {
    let user = app.store.user_named(name).await.unwrap().unwrap();
    let profile = Profile {
        email: email.to_owned(),
        ..Profile::default()
    };
    app.store.set_profile(&user.id, &profile).await.unwrap();
}

/// A build of `ann/app` that fails, with a log.
async fn failing_build(app: &App) -> String {
    let id = app.trigger().await;
    let leased = app.claim().await;
    let log = b"\x1b[31mStep 3/4\x1b[0m : RUN make\nmake: no rule to make target\nfailed (build): make\n";
    app.store.append_log(&leased.lease, 0, log).await.unwrap();
    let failure = Failure::new(ErrorKind::Build, "the step `RUN make` failed with status 2");
    app.finish(&leased.lease, Ending::Failed(failure)).await;
    id.to_string()
}

#[tokio::test]
async fn a_failure_is_told_once_with_what_failed_the_end_of_the_log_and_the_link() {
    let app = App::start().await;
    app.app().await;
    has_address(&app, "ann", "ann@example.com").await;
    let id = failing_build(&app).await;
    let mut server = MailServer::start().await;
    let reporter = Reporter::start(&app, Some(&server.url));
    let mail = server.next().await;
    assert_eq!(mail["to"], serde_json::json!(["ann@example.com"]));
    assert_eq!(mail["headers"]["subject"], "ann/app #1 failed (main)");
    assert_eq!(mail["headers"]["from"], "Hullworks <builds@example.com>");
    let text = mail["text"].as_str().unwrap();
    for part in [
        "the step `RUN make` failed with status 2 (build)",
        "    Step 3/4 : RUN make",
        "    make: no rule to make target",
        &format!("{}/builds/{id}", app.url),
        "/settings/notifications",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains('\u{1b}'), "{text}");
    for _ in 0..3 {
        reporter.wake_after(60);
    }
    assert!(server.is_silent().await, "it came twice");
    reporter.stop().await;
}

#[tokio::test]
async fn a_letter_that_is_put_off_comes_later_and_a_refused_one_holds_up_nobody() {
    let app = App::start().await;
    app.app().await;
    has_address(&app, "ann", "later@example.com").await;
    let mut server = MailServer::start().await;
    let reporter = Reporter::start(&app, Some(&server.url));
    failing_build(&app).await;
    reporter.wake_after(0);
    assert_eq!(server.next().await["put_off"], "later@example.com");
    assert!(server.is_silent().await, "not at once");
    has_address(&app, "ann", "refused@example.com").await;
    failing_build(&app).await;
    reporter.wake_after(0);
    has_address(&app, "ann", "later@example.com").await;
    reporter.wake_after(2);
    assert_eq!(server.next().await["to"], serde_json::json!(["later@example.com"]));
    reporter.stop().await;
}

#[tokio::test]
async fn nothing_is_lost_while_the_mail_server_is_away_or_this_one_stops() {
    let app = App::start().await;
    app.app().await;
    has_address(&app, "ann", "ann@example.com").await;
    failing_build(&app).await;
    failing_build(&app).await;
    // Nothing listens on the port for discarding.
    let away = Reporter::start(&app, Some("smtp://127.0.0.1:9"));
    away.wake_after(0);
    away.stop().await;
    let mut server = MailServer::start().await;
    let reporter = Reporter::start(&app, Some(&server.url));
    reporter.wake_after(10);
    let mut subjects = [server.next().await, server.next().await].map(|mail| mail["headers"]["subject"].to_string());
    subjects.sort();
    assert_eq!(
        subjects,
        ["\"ann/app #1 failed (main)\"", "\"ann/app #2 failed (main)\""]
    );
    reporter.stop().await;
}

#[tokio::test]
async fn without_a_mail_server_nothing_piles_up() {
    let app = App::start().await;
    app.app().await;
    has_address(&app, "ann", "ann@example.com").await;
    failing_build(&app).await;
    let reporter = Reporter::start(&app, None);
    let far = app_time() + TimeDelta::days(1);
    let gone = async {
        // Held for no time at all: looking changes nothing.
        while app.store.claim_mail(far, far).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), gone)
        .await
        .unwrap();
    reporter.stop().await;
}

#[tokio::test]
async fn everybody_chooses_for_themselves_what_they_are_told_of() {
    let app = App::start_with(Setup {
        sends_mail: true,
        ..Setup::default()
    })
    .await;
    let ann = app.browser("ann").await;
    let page = ann.get("/settings/notifications").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("value=\"mine\" checked"), "{}", page.text);
    assert!(
        page.text.contains("No e-mail address of yours is known"),
        "{}",
        page.text
    );
    assert!(!page.text.contains("sends no mail"), "{}", page.text);
    let saved = ann.post("/settings/notifications", &[("notify", "all")]).await;
    assert_eq!(
        (saved.status, saved.location.as_deref()),
        (303, Some("/settings/notifications"))
    );
    let id = app.store.user_named("ann").await.unwrap().unwrap().id;
    assert_eq!(app.store.notify_wish(&id).await.unwrap(), Some(Wish::All));
    has_address(&app, "ann", "ann@example.com").await;
    let page = ann.get("/settings/notifications").await;
    assert!(page.text.contains("value=\"all\" checked") && page.text.contains("ann@example.com"));
    assert_eq!(
        ann.post("/settings/notifications", &[("notify", "everything")])
            .await
            .status,
        422
    );
    assert_eq!(
        ann.post_as_it_is("/settings/notifications", &[("notify", "none")])
            .await
            .status,
        403
    );
    let bob = app.store.user_named("bob").await.unwrap().unwrap().id;
    assert_eq!(app.store.notify_wish(&bob).await.unwrap(), Some(Wish::Mine));
}

#[tokio::test]
async fn the_page_says_where_no_mail_is_sent() {
    let app = App::start().await;
    let page = app.browser("ann").await.get("/settings/notifications").await;
    assert!(page.text.contains("This server sends no mail."), "{}", page.text);
}
