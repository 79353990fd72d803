//! Signing in through a real OpenID Connect provider: who is let in, who becomes whom, and what nobody can do to another.

use std::sync::Arc;

use hullworks::{
    oidc::{Oidc, OidcConfig},
    web::SignInProvider,
};

use crate::{
    app::{App, Setup},
    identity_provider::{IdentityProvider, Traveller, hidden},
};

struct World {
    app: App,
    _provider: Arc<IdentityProvider>,
}

impl World {
    async fn start(allow_sign_up: bool) -> Self {
        let mut provider = IdentityProvider::start().await;
        let oidc = Oidc::new(OidcConfig {
            issuer: provider.issuer.clone(),
            client_id: "hullworks".to_owned(),
            client_secret: "secret of the client".into(),
            wants_groups: true,
        });
        let app = App::start_with(Setup {
            provider: Some(SignInProvider {
                oidc: oidc.unwrap(),
                name: "Example ID".to_owned(),
                allow_sign_up,
                admin_group: Some("admins".to_owned()),
            }),
            ..Setup::default()
        })
        .await;
        provider.serve(&app.url).await;
        Self {
            app,
            _provider: Arc::new(provider),
        }
    }

    fn address(&self, path: &str) -> String {
        format!("{}{path}", self.app.url)
    }

    /// Somebody who is signed in here by other means.
    async fn signed_in(&self, user: &str) -> Traveller {
        let mut traveller = Traveller::new();
        traveller.keep(&self.app.url, &self.app.browser(user).await.cookie().unwrap());
        traveller
    }

    /// Links somebody at the provider to whoever is signed in, by the pages.
    async fn link(&self, traveller: &mut Traveller, login: &str) -> String {
        let asked = traveller.go(&self.address("/sign-in/oidc?link=true"), login).await;
        assert_eq!(asked.status, 200, "{}", asked.text);
        let (csrf, identity) = (hidden(&asked.text, "csrf"), hidden(&asked.text, "identity"));
        let fields = [("csrf", csrf.as_str()), ("identity", identity.as_str())];
        let done = traveller
            .submit(&self.address("/settings/applications/link"), &fields)
            .await;
        assert_eq!(done.status, 200, "{}", done.text);
        done.text
    }
}

#[tokio::test]
async fn the_sign_in_page_leads_to_the_provider_and_back_to_where_one_wanted_to_go() {
    let world = World::start(true).await;
    let page = world.app.stranger().get("/sign-in?next=/settings/profile").await;
    assert!(page.text.contains("Sign in with Example ID"), "{}", page.text);
    let href = page
        .text
        .split('"')
        .find(|part| part.starts_with("/sign-in/oidc?"))
        .unwrap();
    let mut traveller = Traveller::new();
    let arrival = traveller.go(&world.address(href), "carol").await;
    assert_eq!(
        (arrival.status, arrival.url.path()),
        (200, "/settings/profile"),
        "{}",
        arrival.text
    );
    // Made with what the provider suggests.
    let carol = world.app.store.user_named("carol").await.unwrap().unwrap();
    assert!(!carol.is_admin && !world.app.store.has_password(&carol.id).await.unwrap());
    let profile = world.app.store.profile(&carol.id).await.unwrap().unwrap();
    assert_eq!(
        (profile.email.as_str(), profile.full_name.as_str()),
        ("carol@example.com", "carol of the provider")
    );
    // The second time it is the same one.
    let again = Traveller::new().go(&world.address("/sign-in/oidc"), "carol").await;
    assert_eq!((again.status, again.url.path()), (200, "/"));
    assert!(again.text.contains("carol"));
}

#[tokio::test]
async fn nobody_becomes_a_user_of_the_same_name_or_address() {
    let world = World::start(true).await;
    let arrival = Traveller::new()
        .go(&world.address("/sign-in/oidc?next=/settings/profile"), "ann")
        .await;
    assert!(arrival.text.contains("ann-2"), "{}", arrival.text);
    let ann = world.app.store.user_named("ann").await.unwrap().unwrap();
    assert!(world.app.store.identities_of(&ann.id).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_stranger_is_refused_readably_where_nobody_may_sign_up() {
    let world = World::start(false).await;
    let arrival = Traveller::new().go(&world.address("/sign-in/oidc"), "carol").await;
    assert_eq!(arrival.status, 403);
    assert!(
        arrival.text.contains("no user of this server is linked to you"),
        "{}",
        arrival.text
    );
    assert_eq!(world.app.store.user_named("carol").await.unwrap(), None);
}

#[tokio::test]
async fn a_signed_in_user_links_an_identity_signs_in_by_it_and_unlinks_it() {
    let world = World::start(false).await;
    let mut bob = world.signed_in("bob").await;
    let listed = world.link(&mut bob, "robert").await;
    assert!(
        listed.contains("Example ID") && listed.contains("robert@example.com"),
        "{listed}"
    );

    let mut elsewhere = Traveller::new();
    let arrival = elsewhere
        .go(&world.address("/sign-in/oidc?next=/settings/applications"), "robert")
        .await;
    assert_eq!(arrival.status, 200);
    assert!(arrival.text.contains("robert@example.com"), "{}", arrival.text);
    // It is one user's alone.
    let mut ann = world.signed_in("ann").await;
    let taken = world.link(&mut ann, "robert").await;
    assert!(taken.contains("another user of this server"), "{taken}");

    let (csrf, id) = (hidden(&arrival.text, "csrf"), identity_id(&arrival.text));
    let fields = [("csrf", csrf.as_str()), ("id", id.as_str())];
    let done = elsewhere
        .submit(&world.address("/settings/applications/unlink"), &fields)
        .await;
    assert!(done.text.contains("It was unlinked"), "{}", done.text);
    let refused = Traveller::new().go(&world.address("/sign-in/oidc"), "robert").await;
    assert_eq!(refused.status, 403);
}

#[tokio::test]
async fn nobody_locks_themselves_out() {
    let world = World::start(true).await;
    let mut carol = Traveller::new();
    let page = carol
        .go(&world.address("/sign-in/oidc?next=/settings/applications"), "carol")
        .await;
    assert!(page.text.contains("You have no password here"), "{}", page.text);
    assert!(!page.text.contains("/settings/applications/unlink"), "nothing to press");
    let user = world.app.store.user_named("carol").await.unwrap().unwrap();
    let identity = world.app.store.identities_of(&user.id).await.unwrap().remove(0);
    let csrf = hidden(&page.text, "csrf");
    let fields = [("csrf", csrf.as_str()), ("id", identity.id.as_str())];
    let refused = carol
        .submit(&world.address("/settings/applications/unlink"), &fields)
        .await;
    assert_eq!(refused.status, 409);
    assert_eq!(world.app.store.identities_of(&user.id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_group_at_the_provider_makes_administrators_and_leaving_it_ends_that() {
    let world = World::start(true).await;
    let is_admin = async |name: &str| world.app.store.user_named(name).await.unwrap().unwrap().is_admin;
    Traveller::new()
        .go(&world.address("/sign-in/oidc"), "carol+admins")
        .await;
    assert!(is_admin("carol").await);
    Traveller::new()
        .go(&world.address("/sign-in/oidc"), "dave+others")
        .await;
    assert!(!is_admin("dave").await);
    // An administrator here who is none there.
    let mut root = world.signed_in("root").await;
    world.link(&mut root, "rooty").await;
    assert!(is_admin("root").await, "linking changes nothing");
    Traveller::new().go(&world.address("/sign-in/oidc"), "rooty").await;
    assert!(!is_admin("root").await);
}

#[tokio::test]
async fn an_attempt_belongs_to_the_browser_that_began_it() {
    let world = World::start(true).await;
    for path in [
        "/sign-in/oidc/callback",
        "/sign-in/oidc/callback?code=x&state=y",
        "/sign-in/oidc/callback?error=access_denied&state=y",
    ] {
        let page = world.app.stranger().get(path).await;
        assert_eq!(page.status, 403, "{path}");
        assert!(page.text.contains("in another browser"), "{}", page.text);
    }
    // With an attempt of one's own, but another's state.
    let begun = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let answer = begun.get(world.address("/sign-in/oidc")).send().await.unwrap();
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Lax", "Path=/sign-in/oidc"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let pair = cookie.split(';').next().unwrap();
    let forged = begun
        .get(world.address("/sign-in/oidc/callback?code=x&state=y"))
        .header("cookie", pair);
    assert_eq!(forged.send().await.unwrap().status(), 403);
    // What the provider says is shown as text, whatever it is.
    let state = answer.headers()["location"].to_str().unwrap().to_owned();
    let state = url::Url::parse(&state).unwrap();
    let (_, state) = state.query_pairs().find(|(name, _)| name == "state").unwrap();
    let path = format!("/sign-in/oidc/callback?error=%3Cb%3E&error_description=%3Cscript%3E&state={state}");
    let said = begun
        .get(world.address(&path))
        .header("cookie", pair)
        .send()
        .await
        .unwrap();
    assert_eq!(said.status(), 403);
    let text = said.text().await.unwrap();
    assert!(
        text.contains("The provider said") && !text.contains("<script>") && !text.contains("<b>"),
        "{text}"
    );
}

#[tokio::test]
async fn an_identity_is_linked_by_its_own_user_on_our_own_page_alone() {
    let world = World::start(false).await;
    let mut bob = world.signed_in("bob").await;
    let asked = bob.go(&world.address("/sign-in/oidc?link=true"), "robert").await;
    let identity = hidden(&asked.text, "identity");
    let ann = world.app.browser("ann").await;
    let stolen = ann
        .post("/settings/applications/link", &[("identity", &identity)])
        .await;
    assert_eq!(stolen.location.as_deref(), Some("/settings/applications"));
    for name in ["ann", "bob"] {
        let user = world.app.store.user_named(name).await.unwrap().unwrap();
        assert!(
            world.app.store.identities_of(&user.id).await.unwrap().is_empty(),
            "{name}"
        );
    }
    let forged = world.app.browser("bob").await;
    let page = forged
        .post_as_it_is("/settings/applications/link", &[("identity", &identity)])
        .await;
    assert_eq!(page.status, 403);
    let nobody = world.app.stranger().get("/sign-in/oidc?link=true").await;
    assert_eq!(nobody.location.unwrap().split('?').next(), Some("/sign-in"));
}

#[tokio::test]
async fn without_a_provider_there_is_no_such_page_and_the_settings_say_so() {
    let app = App::start().await;
    assert_eq!(app.stranger().get("/sign-in/oidc").await.status, 404);
    assert_eq!(app.stranger().get("/sign-in/oidc/callback?code=x").await.status, 404);
    assert!(!app.stranger().get("/sign-in").await.text.contains("/sign-in/oidc"));
    let page = app.browser("ann").await.get("/settings/applications").await;
    assert!(page.text.contains("has not set up any service"), "{}", page.text);
}

#[tokio::test]
async fn a_provider_that_is_away_is_said_to_be() {
    let oidc = Oidc::new(OidcConfig {
        // Nothing listens on the port for discarding.
        issuer: "http://127.0.0.1:9".to_owned(),
        client_id: "hullworks".to_owned(),
        client_secret: "secret".into(),
        wants_groups: false,
    });
    let app = App::start_with(Setup {
        provider: Some(SignInProvider {
            oidc: oidc.unwrap(),
            name: "Example ID".to_owned(),
            allow_sign_up: true,
            admin_group: None,
        }),
        ..Setup::default()
    })
    .await;
    let page = app.stranger().get("/sign-in/oidc").await;
    assert_eq!(page.status, 503);
    assert!(page.text.contains("Try again in a moment."), "{}", page.text);
}

fn identity_id(text: &str) -> String {
    let (_, after) = text.split_once("name=\"id\" value=\"").unwrap();
    after.split('"').next().unwrap().to_owned()
}
