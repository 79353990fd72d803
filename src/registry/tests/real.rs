//! Against distribution's registry.

use super::support::{DockerRegistry, PASSWORD, TokenService, USERNAME, basic, credentials, registries};
use crate::registry::{RegistryError, RegistryKind};

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
    assert_eq!(registries().digest(&image, Some(&right)).await, Ok(Some(digest)));
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
    assert_eq!(registries().digest(&image, Some(&right)).await, Ok(Some(digest)));
    for refused in [
        registries().verify(&registry.host, &wrong).await.map(|_| None),
        registries().digest(&image, Some(&wrong)).await,
        registries().digest(&image, None).await,
    ] {
        assert!(matches!(refused, Err(RegistryError::Refused(_))), "{refused:?}");
    }
}
