//! Signing in and out, and what guessers get.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use hullworks::passwords;
use reqwest::Method;

use crate::{
    app::App,
    browser::{Browser, Page},
};

pub const PASSWORD: &str = "correct horse battery";

impl App {
    /// Gives a user the password [`PASSWORD`].
    pub async fn give_password(&self, name: &str) {
        let hash = passwords::hash(&PASSWORD.into()).unwrap();
        assert!(self.store.set_password(name, &hash, None).await.unwrap());
    }
}

pub async fn sign_in(browser: &Browser, name: &str, password: &str) -> Page {
    browser
        .post_as_it_is("/sign-in", &[("name", name), ("password", password)])
        .await
}

#[tokio::test]
async fn signing_in_leads_to_where_one_wanted_and_signing_out_ends_it() {
    let app = App::start().await;
    app.give_password("ann").await;
    let browser = app.stranger();
    let page = browser.get("/settings/profile").await;
    assert_eq!(page.status, 303);
    let to_sign_in = page.location.unwrap();
    assert_eq!(to_sign_in, "/sign-in?next=%2Fsettings%2Fprofile");
    let page = browser.get(&to_sign_in).await;
    assert_eq!(page.status, 200);
    assert!(
        page.text.contains(r#"name="next" value="/settings/profile""#),
        "{}",
        page.text
    );
    let form = [("name", "ann"), ("password", PASSWORD), ("next", "/settings/profile")];
    let page = browser.post_as_it_is("/sign-in", &form).await;
    assert_eq!(
        (page.status, page.location.as_deref()),
        (303, Some("/settings/profile"))
    );
    let cookie = page.headers["set-cookie"].to_str().unwrap();
    assert!(
        cookie.ends_with("; Path=/; Max-Age=7776000; HttpOnly; SameSite=Lax"),
        "{cookie}"
    );
    assert_eq!(browser.get("/settings/profile").await.status, 200);
    // Who is signed in already has nothing to do there.
    let page = browser.get(&to_sign_in).await;
    assert_eq!(
        (page.status, page.location.as_deref()),
        (303, Some("/settings/profile"))
    );
    let kept = browser.copy();
    let page = browser.post("/sign-out", &[]).await;
    assert_eq!((page.status, page.location.as_deref()), (303, Some("/sign-in")));
    assert_eq!(browser.cookie(), None);
    for browser in [browser, kept] {
        assert_eq!(
            browser.get("/settings/profile").await.status,
            303,
            "the session itself ended"
        );
    }
}

#[tokio::test]
async fn nobody_is_led_to_another_host_by_signing_in() {
    let app = App::start().await;
    app.give_password("ann").await;
    for next in [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
    ] {
        let browser = app.stranger();
        let form = [("name", "ann"), ("password", PASSWORD), ("next", next)];
        let page = browser.post_as_it_is("/sign-in", &form).await;
        assert_eq!((page.status, page.location.as_deref()), (303, Some("/")), "{next}");
        let page = app.stranger().get(&format!("/sign-in?next={next}")).await;
        let form = "action=\"/sign-in\">\n<input type=\"hidden\" name=\"next\" value=\"/\">";
        assert!(page.text.contains(form), "{next}: {}", page.text);
    }
}

#[tokio::test]
async fn an_unknown_name_and_a_wrong_password_are_answered_alike() {
    let app = App::start().await;
    app.give_password("ann").await;
    let mut fastest = [Duration::MAX; 3];
    let mut answers = vec![];
    for _ in 0..3 {
        // `bob` has no password at all.
        for (n, name) in ["ann", "bob", "eve"].into_iter().enumerate() {
            let began = Instant::now();
            let page = sign_in(&app.stranger(), name, "wrong password").await;
            fastest[n] = fastest[n].min(began.elapsed());
            let text = page.text.replace(&format!("value=\"{name}\""), "value=\"NAME\"");
            answers.push((page.status, page.headers.get("set-cookie").cloned(), text));
        }
    }
    assert_eq!((answers[0].0, &answers[0].1), (422, &None));
    assert!(answers[0].2.contains("do not belong together"), "{}", answers[0].2);
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    // A hash takes tens of milliseconds, everything else a few.
    assert!(
        fastest[1] * 3 > fastest[0] && fastest[2] * 3 > fastest[0],
        "{fastest:?}"
    );
}

#[tokio::test]
async fn guessing_at_a_name_is_slowed_down_even_with_the_right_password_until_the_pause_is_over() {
    let app = App::start().await;
    app.give_password("ann").await;
    for _ in 0..5 {
        assert_eq!(sign_in(&app.stranger(), "ann", "wrong password").await.status, 422);
    }
    for password in ["wrong password", PASSWORD] {
        let page = sign_in(&app.stranger(), "ann", password).await;
        assert_eq!(page.status, 429);
        let seconds: i64 = page.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
        assert!(
            page.text.contains("There were too many attempts. Try again in"),
            "{}",
            page.text
        );
        assert!(page.text.contains(r#"value="ann""#), "what was typed is kept");
    }
    app.give_password("bob").await;
    assert_eq!(
        sign_in(&app.stranger(), "bob", PASSWORD).await.status,
        303,
        "another's name"
    );
    app.pass(TimeDelta::seconds(2));
    assert_eq!(sign_in(&app.stranger(), "ann", PASSWORD).await.status, 303);
    assert_eq!(
        sign_in(&app.stranger(), "ann", "wrong password").await.status,
        422,
        "it begins anew"
    );
}

#[tokio::test]
async fn a_hundred_guesses_at_once_do_not_slip_through_together() {
    let app = App::start().await;
    app.give_password("ann").await;
    let stranger = app.stranger();
    let guesses = (0..100).map(|_| {
        let browser = stranger.copy();
        async move { sign_in(&browser, "ann", "wrong password").await.status }
    });
    let statuses = futures_util::future::join_all(guesses).await;
    let checked = statuses.iter().filter(|status| **status == 422).count();
    // One more for each pause that ends in the meantime.
    assert!((5..=10).contains(&checked), "{checked} were checked");
    assert!(
        statuses.iter().all(|status| matches!(status, 422 | 429)),
        "{statuses:?}"
    );
}

#[tokio::test]
async fn the_session_changes_when_somebody_signs_in() {
    let app = App::start().await;
    app.give_password("ann").await;
    // The cookie that an attacker planted does not become the victim's session.
    let planted = app.browser("bob").await;
    let attackers = planted.copy();
    assert_eq!(sign_in(&planted, "ann", PASSWORD).await.status, 303);
    assert_ne!(planted.cookie(), attackers.cookie());
    assert!(planted.get("/settings/profile").await.text.contains("/u/ann"));
    assert_eq!(
        attackers.get("/settings/profile").await.status,
        303,
        "the old one is over"
    );
    // Nor does one that nobody gave out.
    let made_up = format!("hullworks_session={}", "a".repeat(64));
    let form = [("name", "ann"), ("password", PASSWORD)];
    let request = app
        .stranger()
        .request(Method::POST, "/sign-in")
        .header("cookie", &made_up)
        .form(&form);
    let page = request.send().await.unwrap();
    assert!(!page.headers()["set-cookie"].to_str().unwrap().contains(&made_up));
}

#[tokio::test]
async fn what_is_typed_into_the_sign_in_page_is_never_markup_and_a_password_is_never_shown() {
    let app = App::start().await;
    let page = sign_in(&app.stranger(), "\"><script>alert(1)</script>", "canary-of-a-password").await;
    assert_eq!(page.status, 422);
    assert!(!page.text.contains("<script>alert"), "{}", page.text);
    assert!(!page.text.contains("canary-of-a-password"));
    let long = "x".repeat(2_000_000);
    assert_eq!(sign_in(&app.stranger(), "ann", &long).await.status, 413);
    let long = "x".repeat(500_000);
    assert_eq!(sign_in(&app.stranger(), &long, &long).await.status, 422);
}

#[tokio::test]
async fn signing_in_takes_no_field_and_no_parameter_that_it_does_not_know() {
    let app = App::start().await;
    app.give_password("ann").await;
    let browser = app.stranger();
    let form = [("name", "ann"), ("password", PASSWORD), ("is_admin", "true")];
    assert_eq!(browser.post_as_it_is("/sign-in", &form).await.status, 422);
    let form = [("name", "ann"), ("name", "bob"), ("password", PASSWORD)];
    assert_eq!(browser.post_as_it_is("/sign-in", &form).await.status, 422);
    for path in ["/sign-in", "/set-up", "/settings/profile", "/settings/tokens", "/u/ann"] {
        for parameter in ["token", "access_token", "nonsense"] {
            let page = app
                .browser("ann")
                .await
                .get(&format!("{path}?{parameter}={}", app.ann))
                .await;
            assert_eq!(page.status, 422, "{path}?{parameter}");
            assert!(!page.text.contains(&app.ann), "{path}");
        }
    }
    assert_eq!(browser.cookie(), None);
}

#[tokio::test]
async fn what_people_do_with_their_accounts_is_written_down_without_secrets() {
    let app = App::start().await;
    app.give_password("ann").await;
    let browser = app.stranger();
    sign_in(&browser, "ann", "canary-of-a-password").await;
    sign_in(&browser, "ann", PASSWORD).await;
    let token = [("label", "robot"), ("scope", "read"), ("expires", "7d")];
    let page = browser.post("/settings/tokens", &token).await;
    let (_, after) = page.text.split_once("name=\"id\" value=\"").unwrap();
    let id = after.split('"').next().unwrap();
    browser.post("/settings/tokens/revoke", &[("id", id)]).await;
    let password = [("current", PASSWORD), ("new", "canary-of-a-password")];
    browser.post("/settings/password", &password).await;
    browser.post("/settings/sessions/end-others", &[]).await;
    browser.post("/sign-out", &[]).await;
    let (status, log) = app.call(&app.root, Method::GET, "/api/v1/audit", None).await;
    assert_eq!(status, 200, "{log:#}");
    let items = log["items"].as_array().unwrap();
    let actions: Vec<&str> = items
        .iter()
        .rev()
        .map(|item| item["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        actions,
        [
            "sign_in.failed",
            "sign_in.succeeded",
            "token.created",
            "token.revoked",
            "password.changed",
            "session.ended",
            "session.ended",
        ]
    );
    assert!(
        items
            .iter()
            .all(|item| item["actor"] == "ann" && item["address"] == "127.0.0.1"),
        "{log:#}"
    );
    assert!(
        !log.to_string().contains("canary") && !log.to_string().contains("hwt_"),
        "{log:#}"
    );
}

#[tokio::test]
async fn signing_out_is_done_by_a_form_of_ones_own_alone() {
    let app = App::start().await;
    let browser = app.browser("ann").await;
    assert_eq!(browser.get("/sign-out").await.status, 405);
    assert_eq!(browser.post_as_it_is("/sign-out", &[]).await.status, 403);
    let others = app.browser("bob").await.csrf().await.unwrap();
    assert_eq!(
        browser.post_as_it_is("/sign-out", &[("csrf", &others)]).await.status,
        403
    );
    let request = browser
        .request(Method::POST, "/sign-out")
        .body("csrf=1")
        .header("content-type", "text/plain");
    assert_eq!(request.send().await.unwrap().status().as_u16(), 415);
    assert_eq!(browser.get("/settings/profile").await.status, 200);
}
