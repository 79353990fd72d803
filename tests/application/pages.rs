//! What holds for every page, whatever is on it.

use reqwest::{Method, StatusCode, header, redirect};

use crate::{app::App, browser::BROWSER};

#[tokio::test]
async fn browsers_read_errors_as_pages_and_programs_as_problems() {
    let app = App::start().await;
    for (path, accept, media_type) in [
        ("/no/such/page", BROWSER, "text/html; charset=utf-8"),
        ("/no/such/page", "application/json", "application/problem+json"),
        ("/?surprise=1", BROWSER, "text/html; charset=utf-8"),
        ("/api/v1/builds/none", BROWSER, "application/problem+json"),
    ] {
        let request = app.request("", Method::GET, path).header(header::ACCEPT, accept);
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_client_error(), "{path}");
        assert_eq!(answer.headers()["content-type"], media_type, "{path} {accept}");
        let text = answer.text().await.unwrap();
        let says = if path.contains('?') {
            "urprise: this parameter is not known"
        } else {
            "here is no such"
        };
        assert!(text.contains(says), "{text}");
    }
}

#[tokio::test]
async fn an_error_is_said_to_be_compressed_only_where_it_is() {
    let app = App::start().await;
    // The first is answered inside the pages, which are compressed; the second by nobody.
    for path in ["/builds/none", "/no/such/page"] {
        let request = app.request("", Method::GET, path).header(header::ACCEPT, BROWSER);
        let answer = request.header(header::ACCEPT_ENCODING, "gzip").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        assert!(!answer.headers().contains_key(header::CONTENT_ENCODING), "{path}");
        assert!(answer.text().await.unwrap().starts_with("<!doctype html>"), "{path}");
    }
}

#[tokio::test]
async fn an_error_escapes_what_the_address_holds() {
    let app = App::start().await;
    let request = app.request("", Method::GET, "/?%3Cscript%3Ealert(1)%3C/script%3E=1");
    let text = request
        .header(header::ACCEPT, BROWSER)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(!text.contains("<script>"), "{text}");
}

#[tokio::test]
async fn what_pages_are_made_with_is_kept_by_browsers_and_an_older_version_is_gone() {
    let app = App::start().await;
    let page = app
        .request("", Method::GET, "/")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let sheet = page.split('"').find(|part| part.ends_with("/app.css")).unwrap();
    let request = app
        .request("", Method::GET, sheet)
        .header(header::ACCEPT_ENCODING, "gzip");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "text/css; charset=utf-8");
    assert_eq!(answer.headers()["cache-control"], "public, max-age=31536000, immutable");
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    let older = app.request("", Method::GET, "/assets/000000000000/app.css");
    assert_eq!(older.send().await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_chosen_theme_is_in_the_page_from_the_first_byte_on() {
    let app = App::start().await;
    let client = reqwest::Client::builder()
        .redirect(redirect::Policy::none())
        .build()
        .unwrap();
    let address = format!("{}/theme", app.url);
    let choose = |form: &'static [(&'static str, &'static str)]| client.post(&address).form(form).send();
    let chosen = choose(&[("theme", "dark"), ("next", "/explore")]).await.unwrap();
    assert_eq!(chosen.status(), StatusCode::SEE_OTHER);
    assert_eq!(chosen.headers()["location"], "/explore");
    let cookie = chosen.headers()["set-cookie"].to_str().unwrap();
    assert!(
        cookie.starts_with("hullworks_theme=dark;") && cookie.contains("HttpOnly"),
        "{cookie}"
    );
    let page = app
        .request("", Method::GET, "/")
        .header(header::COOKIE, "hullworks_theme=dark");
    assert!(
        page.send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
            .contains(r#"data-theme="dark""#)
    );
    // No choice, or none that there is, is the system's.
    for value in ["system", "<b>"] {
        let page = app
            .request("", Method::GET, "/")
            .header(header::COOKIE, format!("hullworks_theme={value}"));
        assert!(
            !page.send().await.unwrap().text().await.unwrap().contains("data-theme"),
            "{value}"
        );
    }
    let elsewhere = choose(&[("theme", "light"), ("next", "//evil.example")]).await.unwrap();
    assert_eq!(elsewhere.headers()["location"], "/");
}

#[tokio::test]
async fn whoever_is_signed_in_is_named_on_every_page_and_errors_too() {
    let app = App::start().await;
    let ann = app.browser("ann").await;
    for path in ["/", "/no/such/page"] {
        let page = ann.get(path).await;
        assert!(
            page.text.contains("Signed in as <strong>ann</strong>"),
            "{path}: {}",
            page.text
        );
    }
    assert!(!app.stranger().get("/").await.text.contains("Signed in as"));
}
