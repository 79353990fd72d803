//! What people do with credentials for registries: checked, done and written down here, for the API and the pages alike. A
//! password can be replaced, never read.

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::{
    Web,
    audit::Origin,
    auth::Caller,
    problem::{FieldError, Problem},
};
use crate::{
    domain::{
        access::Role,
        audit::Action,
        ids::RegistryId,
        image::{DOCKER_HUB, is_registry_host, is_valid_registry_host},
        repository::check_name,
    },
    secrets,
    store::{NewRegistry, RegistryRow},
    tokens,
};

/// Names under which Docker Hub is known besides its own.
const DOCKER_HUB_NAMES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];

/// Most token servers that one registry's credentials may be shown to.
const MOST_REALMS: usize = 20;

/// Where the whole server's credentials are stored: a namespace that no name can be.
pub const WHOLE_SERVER: &str = "";

/// What is stored for one registry.
pub struct Credentials {
    pub username: String,
    /// `None`: the stored one stays.
    pub password: Option<SecretString>,
    /// Hosts of token servers, beside the registry's own, that may see the credentials.
    pub trusted_realms: Vec<String>,
}

/// Whose credentials these are, once the caller may touch them.
pub fn namespace_of<'a>(caller: &Caller, namespace: Option<&'a str>) -> Result<&'a str, Problem> {
    match namespace {
        Some(namespace) => {
            caller.user()?;
            check_name(namespace).map_err(|_| Problem::not_found("namespace"))?;
            caller.may(namespace, Role::Admin)?;
            Ok(namespace)
        }
        None => {
            caller.admin()?;
            Ok(WHOLE_SERVER)
        }
    }
}

/// The host as it is stored.
pub fn known_host(host: &str) -> Result<&str, Problem> {
    match host {
        name if DOCKER_HUB_NAMES.contains(&name) => Ok(DOCKER_HUB),
        host if is_valid_registry_host(host) && is_registry_host(host) => Ok(host),
        _ => Err(Problem::field(
            "host",
            "it is a registry's host as images name it, such as registry.example.com:5000",
        )),
    }
}

/// Where a registry reports its pushes.
pub fn hook_url(web: &Web, row: &RegistryRow) -> String {
    format!("{}/webhooks/registry/{}", web.settings.base_url, row.hook_id)
}

/// Stores credentials. Where they are new, the answer has the secret for the registry's notifications, this once.
pub async fn save(
    web: &Web,
    (caller, origin): (&Caller, &Origin),
    namespace: Option<&str>,
    host: &str,
    input: Credentials,
) -> Result<(RegistryRow, Option<SecretString>), Problem> {
    let namespace = namespace_of(caller, namespace)?;
    let host = known_host(host)?;
    check(&input)?;
    let id = RegistryId::new();
    let hook_secret = tokens::new_webhook_secret();
    let new = NewRegistry {
        namespace,
        host,
        username: &input.username,
        trusted_realms: &input.trusted_realms,
        hook_id: tokens::new_hook_id(),
        sealed_hook_secret: &web
            .vault
            .seal(&secrets::registry_hook(id.as_str()), hook_secret.expose_secret()),
        now: web.clock.now(),
        id,
    };
    let seal = |id: &RegistryId| {
        let purpose = secrets::registry_password(id.as_str());
        input
            .password
            .as_ref()
            .map(|password| web.vault.seal(&purpose, password.expose_secret()))
    };
    let Some((row, created)) = web.store.put_registry(&new, seal).await? else {
        return Err(Problem::field("password", "there is no stored one to keep; give it"));
    };
    let detail = json!({ "created": created, "password_replaced": input.password.is_some() });
    let actor = origin.actor(&caller.user()?.name);
    web.note(actor.did(Action::RegistrySaved, host, namespace, detail))
        .await;
    Ok((row, created.then_some(hook_secret)))
}

fn check(input: &Credentials) -> Result<(), Problem> {
    let mut errors = Vec::new();
    // RFC 7617: what follows the first colon would be taken for the password.
    if input.username.is_empty() || input.username.contains(':') {
        errors.push(FieldError::new("username", "it is not empty and has no colon"));
    }
    if input
        .password
        .as_ref()
        .is_some_and(|password| password.expose_secret().is_empty())
    {
        errors.push(FieldError::new(
            "password",
            "it is empty; left out, the stored one stays",
        ));
    }
    if input.trusted_realms.len() > MOST_REALMS {
        errors.push(FieldError::new(
            "trusted_realms",
            format!("there are more than {MOST_REALMS}"),
        ));
    }
    for (index, realm) in input.trusted_realms.iter().enumerate() {
        if !is_valid_registry_host(realm) {
            let message = format!("`{realm}` is not a host, such as auth.example.com");
            errors.push(FieldError::new(format!("trusted_realms[{index}]"), message));
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Problem::invalid(errors))
    }
}

/// Forgets credentials.
pub async fn delete(
    web: &Web,
    (caller, origin): (&Caller, &Origin),
    namespace: Option<&str>,
    host: &str,
) -> Result<(), Problem> {
    let (namespace, host) = (namespace_of(caller, namespace)?, known_host(host)?);
    if !web.store.delete_registry(namespace, host).await? {
        return Err(Problem::not_found("registry"));
    }
    let actor = origin.actor(&caller.user()?.name);
    web.note(actor.did(Action::RegistryDeleted, host, namespace, json!({})))
        .await;
    Ok(())
}
