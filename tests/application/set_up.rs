//! The first administrator.

use chrono::TimeDelta;
use hullworks::tokens::{new_set_up_code, normal_set_up_code, token_hash};
use secrecy::ExposeSecret;

use crate::{
    app::{App, Setup},
    browser::{Browser, Page},
};

/// The service as on its first day, and the code that it printed.
async fn first_day() -> (App, String) {
    let app = App::start_without_people(Setup::default()).await;
    let code = new_set_up_code().expose_secret().to_owned();
    let hash = token_hash(&normal_set_up_code(&code));
    assert!(app.store.offer_set_up(hash.as_bytes()).await.unwrap());
    (app, code)
}

async fn set_up(browser: &Browser, code: &str, name: &str, password: &str) -> Page {
    let form = [("code", code), ("name", name), ("password", password)];
    browser.post_as_it_is("/set-up", &form).await
}

#[tokio::test]
async fn the_code_makes_an_administrator_who_is_signed_in_and_works_once() {
    let (app, code) = first_day().await;
    let browser = app.stranger();
    let page = browser.get("/sign-in").await;
    assert_eq!((page.status, page.location.as_deref()), (303, Some("/set-up")));
    assert!(browser.get("/set-up").await.text.contains("Set-up code"));
    let typed = code.to_uppercase().replace('-', " ");
    let page = set_up(&browser, &typed, "root", "correct horse").await;
    assert_eq!(
        (page.status, page.location.as_deref()),
        (303, Some("/")),
        "{}",
        page.text
    );
    assert_eq!(browser.get("/settings/profile").await.status, 200);
    assert!(app.store.user_named("root").await.unwrap().unwrap().is_admin);
    // Used up: for everybody, and for good.
    let stranger = app.stranger();
    for _ in 0..2 {
        let page = set_up(&stranger, &code, "eve", "correct horse").await;
        assert_eq!((page.status, page.location.as_deref()), (303, Some("/sign-in")));
    }
    assert_eq!(stranger.get("/set-up").await.location.as_deref(), Some("/sign-in"));
    assert_eq!(app.store.user_named("eve").await.unwrap(), None);
    assert_eq!(stranger.get("/sign-in").await.status, 200);
}

#[tokio::test]
async fn what_is_wrong_is_named_and_what_was_typed_is_kept_but_the_password() {
    let (app, code) = first_day().await;
    let browser = app.stranger();
    for (code, name, password, field) in [
        ("wrong", "root", "correct horse", "code"),
        ("", "root", "correct horse", "code"),
        (code.as_str(), "Root!", "correct horse", "name"),
        (code.as_str(), "root", "sesame1", "password"),
    ] {
        let page = set_up(&browser, code, name, password).await;
        assert_eq!(page.status, 422, "{field}");
        assert!(
            page.text.contains(&format!("id=\"{field}-wrong\"")),
            "{field}: {}",
            page.text
        );
        assert!(
            page.text.contains(&format!("name=\"name\" value=\"{name}\"")),
            "{field}"
        );
        assert!(!page.text.contains(password), "{field}");
    }
    assert_eq!(app.store.users().await.unwrap(), []);
    assert_eq!(
        set_up(&browser, &code, "root", "correct horse").await.status,
        303,
        "the code is still good"
    );
}

#[tokio::test]
async fn guessing_at_the_code_is_slowed_down() {
    let (app, code) = first_day().await;
    for _ in 0..20 {
        assert_eq!(
            set_up(&app.stranger(), "wrong", "root", "correct horse").await.status,
            422
        );
    }
    let page = set_up(&app.stranger(), &code, "root", "correct horse").await;
    assert_eq!(page.status, 429);
    assert!(page.headers.contains_key("retry-after"));
    assert!(page.text.contains("too many attempts"), "{}", page.text);
    app.pass(TimeDelta::seconds(61));
    assert_eq!(
        set_up(&app.stranger(), &code, "root", "correct horse").await.status,
        303
    );
}

#[tokio::test]
async fn nobody_sets_up_a_server_that_has_an_administrator() {
    let app = App::start().await;
    let page = set_up(&app.stranger(), "00000-00000-00000-00000", "eve", "correct horse").await;
    assert_eq!((page.status, page.location.as_deref()), (303, Some("/sign-in")));
    assert_eq!(app.store.user_named("eve").await.unwrap(), None);
}
