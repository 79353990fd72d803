//! Every route as every role. A route that is described and has no row here fails.

use std::collections::BTreeSet;

use hullworks::domain::{access::Scope, ids::WaveId};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    app::{App, commit, document, payload},
    base_images,
    openapi::{description, operations},
};

/// Who asks, in the order of the columns.
const CALLERS: [&str; 9] = [
    "nobody",
    "a stranger",
    "somebody who was an admin member",
    "a member with the role read",
    "an owner by a token of the scope read",
    "a member with the role write",
    "a member with the role admin",
    "an owner",
    "an administrator of the server",
];

/// A route, and what it answers to each of [`CALLERS`].
struct Row {
    route: &'static str,
    body: fn(&World) -> Value,
    expected: [u16; 9],
}

const fn row(route: &'static str, expected: [u16; 9]) -> Row {
    with(route, |_| Value::Null, expected)
}

const fn with(route: &'static str, body: fn(&World) -> Value, expected: [u16; 9]) -> Row {
    Row { route, body, expected }
}

fn empty(_: &World) -> Value {
    json!({})
}

fn credentials(_: &World) -> Value {
    json!({ "username": "u", "password": "p" })
}

const EVERYBODY: [u16; 9] = [200; 9];
const SIGNED_IN: [u16; 9] = [401, 200, 200, 200, 200, 200, 200, 200, 200];
/// What is private is to everybody else as if it were not there.
const MAY_READ: [u16; 9] = [404, 404, 404, 200, 200, 200, 200, 200, 200];

/// All routes, about the private repository `team/app`, the organisation `team` and what belongs to them.
fn rows() -> Vec<Row> {
    vec![
        row("GET /healthz", EVERYBODY),
        row("GET /readyz", EVERYBODY),
        row("GET /metrics", EVERYBODY),
        row("GET /api/v1/repositories", EVERYBODY),
        row("GET /api/v1/repositories/{namespace}/{name}", MAY_READ),
        with(
            "PUT /api/v1/repositories/{namespace}/{name}",
            |_| private(),
            [401, 403, 403, 403, 403, 403, 200, 200, 200],
        ),
        row(
            "DELETE /api/v1/repositories/{namespace}/{name}",
            [401, 404, 404, 403, 403, 403, 403, 204, 204],
        ),
        row(
            "PUT /api/v1/repositories/{namespace}/{name}/star",
            [401, 404, 404, 204, 403, 204, 204, 204, 204],
        ),
        row(
            "DELETE /api/v1/repositories/{namespace}/{name}/star",
            [401, 404, 404, 204, 403, 204, 204, 204, 204],
        ),
        with(
            "POST /api/v1/repositories/{namespace}/{name}/trigger",
            empty,
            [401, 404, 404, 403, 403, 202, 202, 202, 202],
        ),
        with(
            "POST /api/v1/repositories/{namespace}/{name}/preview",
            |_| json!({ "source_type": "branch", "source_name": "main" }),
            [401, 404, 404, 403, 403, 200, 200, 200, 200],
        ),
        row("GET /api/v1/repositories/{namespace}/{name}/poll", MAY_READ),
        row(
            "POST /api/v1/repositories/{namespace}/{name}/poll",
            [401, 404, 404, 403, 403, 202, 202, 202, 202],
        ),
        row("GET /api/v1/repositories/{namespace}/{name}/builds", MAY_READ),
        row(
            "GET /api/v1/repositories/{namespace}/{name}/deliveries",
            [401, 404, 404, 403, 403, 200, 200, 200, 200],
        ),
        row(
            "POST /api/v1/repositories/{namespace}/{name}/deliveries/{id}/replay",
            [401, 404, 404, 403, 403, 202, 202, 202, 202],
        ),
        row("GET /api/v1/builds", EVERYBODY),
        row("GET /api/v1/builds/{id}", MAY_READ),
        row("GET /api/v1/builds/{id}/log", MAY_READ),
        row(
            "POST /api/v1/builds/{id}/cancel",
            [401, 404, 404, 403, 403, 202, 202, 202, 202],
        ),
        row(
            "POST /api/v1/builds/{id}/retry",
            [401, 404, 404, 403, 403, 202, 202, 202, 202],
        ),
        row(
            "GET /api/v1/namespaces/{namespace}/registries",
            [401, 403, 403, 403, 403, 403, 200, 200, 200],
        ),
        row(
            "GET /api/v1/namespaces/{namespace}/registries/{host}",
            [401, 403, 403, 403, 403, 403, 200, 200, 200],
        ),
        with(
            "PUT /api/v1/namespaces/{namespace}/registries/{host}",
            credentials,
            [401, 403, 403, 403, 403, 403, 200, 200, 200],
        ),
        row(
            "DELETE /api/v1/namespaces/{namespace}/registries/{host}",
            [401, 403, 403, 403, 403, 403, 204, 204, 204],
        ),
        row("GET /api/v1/registries", [401, 403, 403, 403, 403, 403, 403, 403, 200]),
        row(
            "GET /api/v1/registries/{host}",
            [401, 403, 403, 403, 403, 403, 403, 403, 200],
        ),
        with(
            "PUT /api/v1/registries/{host}",
            credentials,
            [401, 403, 403, 403, 403, 403, 403, 403, 200],
        ),
        row(
            "DELETE /api/v1/registries/{host}",
            [401, 403, 403, 403, 403, 403, 403, 403, 204],
        ),
        row("GET /api/v1/organisations", SIGNED_IN),
        with(
            "POST /api/v1/organisations",
            |world| json!({ "name": format!("new-{}", world.turn) }),
            [401, 201, 201, 201, 403, 201, 201, 201, 201],
        ),
        row("GET /api/v1/organisations/{organisation}", EVERYBODY),
        with(
            "PUT /api/v1/organisations/{organisation}",
            empty,
            [401, 403, 403, 403, 403, 403, 403, 200, 200],
        ),
        // It has a repository.
        row(
            "DELETE /api/v1/organisations/{organisation}",
            [401, 403, 403, 403, 403, 403, 403, 409, 409],
        ),
        row(
            "GET /api/v1/organisations/{organisation}/members",
            [401, 403, 403, 200, 200, 200, 200, 200, 200],
        ),
        with(
            "PUT /api/v1/organisations/{organisation}/members/{user}",
            |_| json!({ "role": "write" }),
            [401, 403, 403, 403, 403, 403, 403, 200, 200],
        ),
        row(
            "DELETE /api/v1/organisations/{organisation}/members/{user}",
            [401, 403, 403, 403, 403, 403, 403, 204, 204],
        ),
        row(
            "GET /api/v1/organisations/{organisation}/invitations",
            [401, 403, 403, 403, 403, 403, 403, 200, 200],
        ),
        with(
            "POST /api/v1/organisations/{organisation}/invitations",
            |_| json!({ "invitee": "other@example.com", "role": "read" }),
            [401, 403, 403, 403, 403, 403, 403, 201, 201],
        ),
        row(
            "DELETE /api/v1/organisations/{organisation}/invitations/{id}",
            [401, 403, 403, 403, 403, 403, 403, 204, 204],
        ),
        row(
            "POST /api/v1/invitations/{code}/accept",
            [401, 200, 200, 200, 403, 200, 200, 200, 200],
        ),
        row("GET /api/v1/audit", [401, 403, 403, 403, 403, 403, 403, 403, 200]),
        row("GET /api/v1/repositories/{namespace}/{name}/base-images", MAY_READ),
        row("GET /api/v1/base-images", EVERYBODY),
        row("GET /api/v1/base-images/graph", EVERYBODY),
        row("GET /api/v1/base-images/{image}", MAY_READ),
        row(
            "POST /api/v1/base-images/{image}/check",
            [401, 404, 404, 403, 403, 202, 202, 202, 202],
        ),
        // To those who see nothing of it, nothing would follow.
        row("GET /api/v1/base-images/{image}/consequences", EVERYBODY),
        row("GET /api/v1/outdated", EVERYBODY),
        row("GET /api/v1/waves", EVERYBODY),
        row("GET /api/v1/waves/{id}", MAY_READ),
        with(
            "PUT /api/v1/waves/{id}",
            |_| json!({ "at_once": 2 }),
            [401, 403, 403, 403, 403, 403, 403, 403, 200],
        ),
        row(
            "POST /api/v1/waves/{id}/pause",
            [401, 403, 403, 403, 403, 403, 403, 403, 200],
        ),
        row(
            "POST /api/v1/waves/{id}/resume",
            [401, 403, 403, 403, 403, 403, 403, 403, 200],
        ),
        row(
            "POST /api/v1/waves/{id}/cancel",
            [401, 403, 403, 403, 403, 403, 403, 403, 202],
        ),
        // Nobody is known there: a signature says whether it is right, and there is no such hook.
        row("POST /webhooks/{provider}/{hook_id}", [404; 9]),
        row("POST /webhooks/registry/{hook_id}", [404; 9]),
    ]
}

fn private() -> Value {
    let mut private = document();
    private["visibility"] = json!("private");
    private
}

/// The organisation `team` with a member of each role, its private repository and what belongs to them.
struct World {
    app: App,
    tokens: [String; 9],
    /// One that has not ended.
    build: String,
    ended: String,
    delivery: String,
    invitation: String,
    code: String,
    /// One that runs.
    wave: String,
    paused_wave: String,
    /// Counts what was restored, for names that must be new.
    turn: usize,
}

impl World {
    async fn new() -> Self {
        let app = App::start().await;
        let mut tokens = Vec::new();
        for name in ["revoked", "reader", "writer", "editor", "owner"] {
            tokens.push(app.user(name).await);
        }
        app.user("extra").await;
        let [revoked, reader, writer, editor, owner] = <[String; 5]>::try_from(tokens).unwrap();
        let scoped = app.scoped_token("owner", Scope::Read).await;
        let body = json!({ "name": "team" });
        let (status, made) = app
            .call(&owner, Method::POST, "/api/v1/organisations", Some(body))
            .await;
        assert_eq!(status, 201, "{made:#}");
        let mut world = Self {
            tokens: [
                String::new(),
                app.bob.clone(),
                revoked,
                reader,
                scoped,
                writer,
                editor,
                owner,
                app.root.clone(),
            ],
            app,
            build: String::new(),
            ended: String::new(),
            delivery: String::new(),
            invitation: String::new(),
            code: String::new(),
            wave: String::new(),
            paused_wave: String::new(),
            turn: 0,
        };
        world.put_member("revoked", "admin").await;
        world.restore().await;
        world
    }

    async fn as_root(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, answer) = self.app.call(&self.app.root, method.clone(), path, Some(body)).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer:#}");
        answer
    }

    async fn put_member(&self, user: &str, role: &str) {
        let path = format!("/api/v1/organisations/team/members/{user}");
        self.as_root(Method::PUT, &path, json!({ "role": role })).await;
    }

    /// Makes everything as it was, whatever was done.
    async fn restore(&mut self) {
        self.turn += 1;
        for (user, role) in [
            ("reader", "read"),
            ("writer", "write"),
            ("editor", "admin"),
            ("owner", "owner"),
            ("extra", "read"),
        ] {
            self.put_member(user, role).await;
        }
        for user in ["bob", "revoked", "root"] {
            let path = format!("/api/v1/organisations/team/members/{user}");
            self.app.call(&self.app.root, Method::DELETE, &path, None).await;
        }
        let repository = self
            .as_root(Method::PUT, "/api/v1/repositories/team/app", private())
            .await;
        self.build_on_alpine().await;
        for path in [
            "/api/v1/registries/r.example.com",
            "/api/v1/namespaces/team/registries/r.example.com",
        ] {
            self.as_root(Method::PUT, path, credentials(self)).await;
        }
        let delivery = format!("delivery-{}", self.turn);
        let pushed = payload("refs/heads/main", &commit('a'), &delivery);
        let (status, answer) = self.app.push(&repository, &delivery, &pushed).await;
        assert_eq!(status, 202, "{answer:#}");
        self.delivery = text(&answer["delivery"]);
        // After the push, which would take the place of what waits for the same branch.
        self.ended = self.started().await;
        self.as_root(
            Method::POST,
            &format!("/api/v1/builds/{}/cancel", self.ended),
            json!({}),
        )
        .await;
        self.build = self.started().await;
        let invitation = json!({ "invitee": "guest@example.com", "role": "read" });
        let made = self
            .as_root(Method::POST, "/api/v1/organisations/team/invitations", invitation)
            .await;
        self.invitation = text(&made["id"]);
        self.code = text(&made["code"]);
        // What was made for an earlier turn would be gone through in each later one.
        for wave in self.app.store.open_waves().await.unwrap() {
            let now = self.app.clock.now();
            self.app.store.cancel_wave(&wave.id, "root", now).await.unwrap();
            assert!(self.app.store.end_wave_if_done(&wave.id, now).await.unwrap());
        }
        self.paused_wave = self.wave_of(&format!("a{}", self.turn)).await;
        let id = WaveId::from(self.paused_wave.as_str());
        assert!(self.app.store.pause_wave(&id, true, "root").await.unwrap());
        self.wave = self.wave_of(&format!("b{}", self.turn)).await;
    }

    /// `team/app` holds a tag that was built on alpine, also after it was deleted.
    async fn build_on_alpine(&self) {
        if !self.app.store.base_graph().await.unwrap().targets().is_empty() {
            return;
        }
        self.started().await;
        let used = base_images::used(base_images::ALPINE, 'a');
        base_images::pushed(&self.app, "r.example.com/team/app", &[used], 'd').await;
    }

    /// A wave that has begun, for a version of alpine that there was not before.
    async fn wave_of(&self, name: &str) -> String {
        let to = format!("sha256:{name:0>64}");
        base_images::seen(&self.app, base_images::ALPINE, &to).await;
        base_images::begun_wave(&self.app, base_images::ALPINE, &to)
            .await
            .to_string()
    }

    /// A build that was just started by hand.
    async fn started(&self) -> String {
        let path = "/api/v1/repositories/team/app/trigger";
        let started = self.as_root(Method::POST, path, json!({})).await;
        text(&started["builds"][0]["id"])
    }

    fn address(&self, path: &str) -> String {
        let id = match path {
            path if path.ends_with("/retry") => &self.ended,
            path if path.contains("/waves/") && path.ends_with("/resume") => &self.paused_wave,
            path if path.contains("/waves/") => &self.wave,
            path if path.contains("/deliveries/") => &self.delivery,
            path if path.contains("/invitations/") => &self.invitation,
            _ => &self.build,
        };
        path.replace("{namespace}", "team")
            .replace("{name}", "app")
            .replace("{organisation}", "team")
            .replace("{user}", "extra")
            .replace("{host}", "r.example.com")
            .replace("{provider}", "github")
            .replace("{hook_id}", "none")
            .replace("{image}", "alpine%3A3.20")
            .replace("{code}", &self.code)
            .replace("{id}", id)
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}

#[tokio::test]
async fn every_route_answers_every_role_as_it_is_entitled() {
    let mut world = World::new().await;
    let mut wrong = Vec::new();
    for row in rows() {
        let (method, path) = row.route.split_once(' ').unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        for (index, (caller, expected)) in CALLERS.into_iter().zip(row.expected).enumerate() {
            let (address, body) = (world.address(path), (row.body)(&world));
            let body = Some(body).filter(|body| !body.is_null());
            let token = world.tokens[index].clone();
            let (status, answer) = world.app.call(&token, method.clone(), &address, body).await;
            if status != expected {
                wrong.push(format!("{} by {caller}: {status}, not {expected}: {answer}", row.route));
            }
            if (200..300).contains(&status) && method != Method::GET {
                world.restore().await;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_route_that_is_described_has_a_row() {
    let app = App::start().await;
    let described: BTreeSet<String> = operations(&description(&app).await)
        .into_iter()
        .map(|(path, method, _)| format!("{method} {path}"))
        .collect();
    let tested: BTreeSet<String> = rows().iter().map(|row| row.route.to_owned()).collect();
    assert_eq!(described, tested);
}

#[tokio::test]
async fn lists_hold_what_is_private_for_those_alone_who_may_see_it() {
    let world = World::new().await;
    for (index, sees) in [false, false, false, true, true, true, true, true, true]
        .into_iter()
        .enumerate()
    {
        for path in [
            "/api/v1/repositories",
            "/api/v1/builds",
            "/api/v1/outdated",
            "/api/v1/base-images/graph",
            "/api/v1/base-images/alpine%3A3.20/consequences",
        ] {
            let (_, list) = world.app.call(&world.tokens[index], Method::GET, path, None).await;
            assert_eq!(list.to_string().contains("team"), sees, "{path} by {}", CALLERS[index]);
        }
    }
}

#[tokio::test]
async fn what_only_editors_may_know_is_not_shown_to_other_members() {
    let world = World::new().await;
    for (index, sees) in [(3, false), (4, false), (5, false), (6, true), (7, true), (8, true)] {
        let path = "/api/v1/repositories/team/app";
        let (_, read) = world.app.call(&world.tokens[index], Method::GET, path, None).await;
        for field in ["webhook", "build_secrets_set"] {
            assert_eq!(read.get(field).is_some(), sees, "{field} by {}", CALLERS[index]);
        }
    }
}
