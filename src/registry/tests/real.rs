//! Against distribution's registry.

use std::collections::BTreeMap;

use super::support::{DockerRegistry, PASSWORD, TokenService, USERNAME, basic, credentials, registries};
use crate::registry::{Found, RegistryError, RegistryKind};

#[tokio::test]
async fn a_tag_has_the_digest_of_what_was_pushed_last() {
    let registry = DockerRegistry::open().await;
    let first = registry.push("team/app", "1", "one", None).await;
    let image = registry.image("team/app:1");
    assert_eq!(registries().digest(&image, None).await, Ok(Some(first.clone())));

    let second = registry.push("team/app", "1", "two", None).await;
    assert_ne!(first, second);
    assert_eq!(registries().digest(&image, None).await, Ok(Some(second)));

    let pinned = registry.image(&format!("team/app:1@{first}"));
    assert_eq!(
        registries().digest(&pinned, None).await,
        Ok(Some(first)),
        "the digest wins"
    );
}

#[tokio::test]
async fn what_does_not_exist_has_no_digest() {
    let registry = DockerRegistry::open().await;
    registry.push("team/app", "1", "one", None).await;
    for absent in [
        "team/app:2",
        "team/other:1",
        &format!("team/app@sha256:{}", "0".repeat(64)),
    ] {
        assert_eq!(
            registries().digest(&registry.image(absent), None).await,
            Ok(None),
            "{absent}"
        );
    }
}

#[tokio::test]
async fn the_digest_is_of_the_manifest_itself_not_of_its_conversion_to_schema_1() {
    let registry = DockerRegistry::open().await;
    let digest = registry.push("app", "1", "one", None).await;
    let address = format!("http://{}/v2/app/manifests/1", registry.host);
    let without_accept = reqwest::Client::new().head(address).send().await.unwrap();
    assert_ne!(
        without_accept.headers()["docker-content-digest"],
        *digest,
        "the trap is there"
    );
    assert_eq!(
        registries().digest(&registry.image("app:1"), None).await,
        Ok(Some(digest))
    );
}

#[tokio::test]
async fn a_look_tells_whether_a_tag_has_moved_and_whether_it_is_gone() {
    let registry = DockerRegistry::open().await;
    let asked = registries();
    let look =
        async |name: &str, known: Option<&str>| asked.look(&registry.image(name), known, None).await.unwrap().found;
    let first = registry.push("app", "1", "one", None).await;
    assert_eq!(look("app:1", None).await, Found::Digest(first.clone()));

    let address = format!("http://{}/v2/app/manifests/1", registry.host);
    let conditional = reqwest::Client::new()
        .head(address)
        .header("accept", "application/vnd.docker.distribution.manifest.v2+json")
        .header("if-none-match", format!("\"{first}\""));
    assert_eq!(
        conditional.send().await.unwrap().status(),
        304,
        "the short answer is there to be had"
    );
    assert_eq!(look("app:1", Some(&first)).await, Found::Unchanged);

    let second = registry.push("app", "1", "two", None).await;
    assert_eq!(look("app:1", Some(&first)).await, Found::Digest(second));
    assert_eq!(look("app:2", Some(&first)).await, Found::Gone);
    assert_eq!(look("other:1", None).await, Found::Gone);
}

#[tokio::test]
async fn an_index_has_a_digest_for_each_platform_and_one_image_has_none() {
    let registry = DockerRegistry::open().await;
    let (amd64, arm) = (
        registry.push("app", "amd64", "one", None).await,
        registry.push("app", "arm", "two", None).await,
    );
    let images = [("linux", "amd64", "", amd64.as_str()), ("linux", "arm64", "v8", &arm)];
    let index = registry.push_index("app", "1", &images).await;
    let image = registry.image("app:1");
    let found = registries().look(&image, None, None).await.unwrap().found;
    assert_eq!(found, Found::Digest(index.clone()));
    let expected = BTreeMap::from([
        ("linux/amd64".to_owned(), amd64.clone()),
        ("linux/arm64".to_owned(), arm),
    ]);
    assert_eq!(registries().platforms(&image, &index, None).await, Ok(expected));
    assert_eq!(registries().platforms(&image, &amd64, None).await, Ok(BTreeMap::new()));
}

#[tokio::test]
async fn a_registry_without_passwords_is_open() {
    let registry = DockerRegistry::open().await;
    let credentials = credentials(PASSWORD);
    assert_eq!(
        registries().check_realm(&registry.host, &credentials).await,
        Ok(RegistryKind::Open)
    );
    assert_eq!(
        registries().verify(&registry.host, &credentials).await,
        Ok(RegistryKind::Open)
    );
}

#[tokio::test]
async fn a_registry_with_a_password_file_lets_the_right_password_in() {
    let registry = DockerRegistry::with_password().await;
    let (right, wrong) = (credentials(PASSWORD), credentials("guess"));
    let digest = registry.push("app", "1", "one", Some(&basic(USERNAME, PASSWORD))).await;
    let image = registry.image("app:1");

    assert_eq!(
        registries().check_realm(&registry.host, &wrong).await,
        Ok(RegistryKind::Basic)
    );
    assert_eq!(
        registries().verify(&registry.host, &right).await,
        Ok(RegistryKind::Basic)
    );
    assert_eq!(
        registries().digest(&image, Some(&right)).await,
        Ok(Some(digest.clone()))
    );
    let look = registries().look(&image, Some(&digest), Some(&right)).await;
    assert_eq!(look.unwrap().found, Found::Unchanged);
    for refused in [
        registries().verify(&registry.host, &wrong).await.map(|_| None),
        registries().digest(&image, Some(&wrong)).await,
        registries().digest(&image, None).await,
    ] {
        assert!(matches!(refused, Err(RegistryError::Refused(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn a_registry_with_a_token_service_lets_the_right_password_in() {
    let service = TokenService::start().await;
    let registry = DockerRegistry::with_tokens(&service).await;
    let (right, wrong) = (credentials(PASSWORD), credentials("guess"));
    let pusher = service.authorization("repository:team/app:pull,push");
    let digest = registry.push("team/app", "1", "one", Some(&pusher)).await;
    let image = registry.image("team/app:1");
    let kind = RegistryKind::Token { realm: service.realm() };

    assert_eq!(registries().check_realm(&registry.host, &right).await, Ok(kind.clone()));
    assert_eq!(service.server.seen(), [], "looking shows nobody the password");
    assert_eq!(registries().verify(&registry.host, &right).await, Ok(kind));
    assert_eq!(
        registries().digest(&image, Some(&right)).await,
        Ok(Some(digest.clone()))
    );
    let look = registries().look(&image, Some(&digest), Some(&right)).await;
    assert_eq!(look.unwrap().found, Found::Unchanged);
    for refused in [
        registries().verify(&registry.host, &wrong).await.map(|_| None),
        registries().digest(&image, Some(&wrong)).await,
        registries().digest(&image, None).await,
    ] {
        assert!(matches!(refused, Err(RegistryError::Refused(_))), "{refused:?}");
    }
}
