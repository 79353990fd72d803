//! What holds of every page.

use crate::{
    browser::Browser,
    parts::server::{Options, Server},
};

#[tokio::test]
async fn the_start_page_is_sound() {
    let server = Server::start(Options::with_settings("concurrency = 0")).await;
    let browser = Browser::open(&server.url()).await;
    browser.go("/").await;
    assert_eq!(browser.status().await, 200);
    browser.sees("Hullworks").await;
    browser.assert_sound().await;
}
