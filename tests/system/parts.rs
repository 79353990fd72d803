//! The parts that the other tests stand on do what they say.

use std::time::Duration;

use sqlx::{Connection, PgConnection};

use crate::support::{
    engine::Engine,
    faults::{Fault, FaultyProxy},
    git_server::{Behaviour, GitServer},
    postgres::Database,
    registry::Registry,
    wait,
};

#[tokio::test]
async fn an_image_that_was_pushed_has_a_digest_and_runs_after_a_pull() {
    let (engine, registry) = (Engine::connect().await, Registry::start().await);
    let _images = engine.clean_up(registry.host());
    let image = format!("{}/base/busybox:1", registry.host());
    assert_eq!(registry.digest("base/busybox", "1").await, None);
    engine.import_busybox(&image, "one").await;
    engine.push(&image).await;
    let first = registry.digest("base/busybox", "1").await.expect("a digest");
    assert!(first.starts_with("sha256:"), "{first}");

    engine.remove(&image).await;
    assert_eq!(engine.images(&image).await, Vec::<String>::new());
    engine.pull(&image).await;
    assert_eq!(engine.run(&image, &["cat", "/content"]).await, "one");

    engine.import_busybox(&image, "two").await;
    engine.push(&image).await;
    assert_ne!(registry.digest("base/busybox", "1").await, Some(first));
}

#[tokio::test]
async fn a_registry_with_a_password_lets_nobody_push_without_it() {
    let (engine, registry) = (
        Engine::connect().await,
        Registry::start_with_password("user", "pass").await,
    );
    let _images = engine.clean_up(registry.host());
    let image = format!("{}/base/busybox:1", registry.host());
    engine.import_busybox(&image, "one").await;
    assert!(!engine.try_push(&image).await);
    assert_eq!(registry.digest("base/busybox", "1").await, None);
}

#[tokio::test]
async fn a_proxy_fails_as_it_is_told_and_passes_everything_on_otherwise() {
    let registry = Registry::start().await;
    let proxy = FaultyProxy::before(registry.host()).await;
    let get = async || {
        let response = reqwest::get(format!("http://{}/v2/", proxy.host())).await;
        response.ok().map(|response| response.status().as_u16())
    };
    assert_eq!(get().await, Some(200));
    for status in [429, 500] {
        proxy.set(Fault::Status(status));
        assert_eq!(get().await, Some(status));
    }
    proxy.set(Fault::CutAfter(10));
    assert_eq!(get().await, None);
    proxy.set(Fault::None);
    assert_eq!(get().await, Some(200));
}

#[tokio::test]
async fn a_git_server_serves_what_was_pushed_to_it() {
    let server = GitServer::start().await;
    let repository = server.create("team/app").await;
    let commit = repository.push(&[("a/b.txt", "content")], "First").await;
    let remote = repository.git(&["ls-remote", "origin", "refs/heads/main"]).await;
    assert!(remote.starts_with(&commit), "{remote}");
    assert!(repository.can_clone(&repository.url).await);
}

#[tokio::test]
async fn a_git_server_with_a_password_is_cloned_with_it_alone() {
    let server = GitServer::start_with_password("user", "pass").await;
    let repository = server.create("team/app").await;
    repository.push(&[("a", "")], "First").await;
    let with = |credentials: &str| repository.url.replace("://", &format!("://{credentials}@"));
    assert!(repository.can_clone(&with("user:pass")).await);
    assert!(!repository.can_clone(&with("user:wrong")).await);
    assert!(!repository.can_clone(&repository.url).await);
}

#[tokio::test]
async fn a_git_server_fails_and_stalls_until_it_serves_again() {
    let server = GitServer::start().await;
    let repository = server.create("team/app").await;
    repository.push(&[("a", "")], "First").await;
    server.set(Behaviour::Fail);
    assert!(!repository.can_clone(&repository.url).await);

    server.set(Behaviour::Stall);
    let mut clone = Box::pin(repository.can_clone(&repository.url));
    let stalled = tokio::time::timeout(Duration::from_millis(300), &mut clone).await;
    assert!(stalled.is_err(), "a stalled server does not answer");
    server.set(Behaviour::Serve);
    assert!(clone.await);
}

#[tokio::test]
async fn each_database_is_empty_and_gone_after_its_test() {
    let (one, other) = (Database::create().await, Database::create().await);
    let url = one.url();
    assert_ne!(url, other.url());
    let mut connection = PgConnection::connect(&url).await.expect("a connection");
    let tables: i64 = sqlx::query_scalar("select count(*) from pg_tables where schemaname = 'public'")
        .fetch_one(&mut connection)
        .await
        .expect("a count");
    assert_eq!(tables, 0);
    connection.close().await.expect("a closed connection");
    drop(one);
    assert!(PgConnection::connect(&url).await.is_err());
}

#[tokio::test]
#[should_panic(expected = "in vain for something that never comes")]
async fn waiting_ends_at_the_deadline() {
    wait::until("something that never comes", Duration::from_millis(50), async || {
        None::<()>
    })
    .await;
}
