//! Organisations, members, invitations and the audit log, as programs use them.

use hullworks::domain::access::Scope;
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{App, document};

const TEAM: &str = "/api/v1/organisations/team";

async fn team(app: &App) {
    let (status, made) = app.post("/api/v1/organisations", json!({ "name": "team" })).await;
    assert_eq!(status, 201, "{made:#}");
    assert_eq!((&made["name"], &made["role"]), (&json!("team"), &json!("owner")));
}

async fn put_member(app: &App, user: &str, role: &str) -> (u16, Value) {
    app.put(&format!("{TEAM}/members/{user}"), json!({ "role": role }))
        .await
}

async fn invite(app: &App, invitee: &str, role: &str) -> Value {
    let body = json!({ "invitee": invitee, "role": role });
    let (status, made) = app.post(&format!("{TEAM}/invitations"), body).await;
    assert_eq!(status, 201, "{made:#}");
    made
}

async fn accept(app: &App, token: &str, invitation: &Value) -> (u16, Value) {
    let path = format!("/api/v1/invitations/{}/accept", invitation["code"].as_str().unwrap());
    app.call(token, Method::POST, &path, None).await
}

#[tokio::test]
async fn an_organisation_is_read_edited_and_written_back() {
    let app = App::start().await;
    team(&app).await;
    let (status, mut read) = app.get(TEAM).await;
    assert_eq!(status, 200);
    assert_eq!(read["default_visibility"], "public");
    read["display_name"] = json!("The team");
    read["default_visibility"] = json!("private");
    let (status, saved) = app.put(TEAM, read.clone()).await;
    assert_eq!((status, &saved), (200, &read));
    let (_, list) = app.get("/api/v1/organisations").await;
    assert_eq!(list["items"], json!([read]));
    let (_, list) = app.call(&app.bob, Method::GET, "/api/v1/organisations", None).await;
    assert_eq!(list["items"], json!([]));
    let (status, _) = app.call(&app.ann, Method::DELETE, TEAM, None).await;
    assert_eq!(status, 204);
    assert_eq!(app.get(TEAM).await.0, 404);
}

#[tokio::test]
async fn what_is_wrong_with_an_organisation_is_named() {
    let app = App::start().await;
    for (body, status, field) in [
        (json!({}), 422, "name"),
        (json!({ "name": "Team" }), 422, "name"),
        (json!({ "name": "a/b" }), 422, "name"),
        (json!({ "name": "bob" }), 409, "name"),
        (json!({ "name": "x", "owner": "bob" }), 422, "owner"),
        (
            json!({ "name": "x", "default_visibility": "secret" }),
            422,
            "default_visibility",
        ),
        (json!({ "name": "x", "display_name": "a\nb" }), 422, "display_name"),
        (
            json!({ "name": "x", "description": "a".repeat(1001) }),
            422,
            "description",
        ),
    ] {
        let (found, problem) = app.post("/api/v1/organisations", body.clone()).await;
        assert_eq!(found, status, "{body}: {problem:#}");
        assert_eq!(problem["errors"][0]["field"], field, "{body}: {problem:#}");
    }
}

#[tokio::test]
async fn nobody_gets_what_administrators_keep_in_a_namespace_by_taking_its_name() {
    let app = App::start().await;
    let (status, _) = app
        .call(
            &app.root,
            Method::PUT,
            "/api/v1/repositories/team/app",
            Some(document()),
        )
        .await;
    assert_eq!(status, 201);
    let body = json!({ "name": "team" });
    let (status, problem) = app.post("/api/v1/organisations", body.clone()).await;
    assert_eq!(status, 409, "{problem:#}");
    let (status, _) = app
        .call(&app.root, Method::POST, "/api/v1/organisations", Some(body))
        .await;
    assert_eq!(status, 201);
}

#[tokio::test]
async fn a_new_repository_that_does_not_say_is_as_its_namespace_wishes_and_stays_as_it_is() {
    let app = App::start().await;
    team(&app).await;
    let path = "/api/v1/repositories/team/app";
    app.put(TEAM, json!({ "default_visibility": "private" })).await;
    let (_, saved) = app.put(path, document()).await;
    assert_eq!(saved["visibility"], "private");
    app.put(TEAM, json!({ "default_visibility": "public" })).await;
    let (_, saved) = app.put(path, document()).await;
    assert_eq!(
        saved["visibility"], "private",
        "what was private is not made public by not speaking of it"
    );
    let mut public = document();
    public["visibility"] = json!("public");
    let (_, saved) = app.put(path, public).await;
    assert_eq!(saved["visibility"], "public");
}

#[tokio::test]
async fn members_come_by_their_names_and_go_and_the_last_owner_stays() {
    let app = App::start().await;
    team(&app).await;
    assert_eq!(put_member(&app, "bob", "write").await.0, 201);
    assert_eq!(put_member(&app, "bob", "admin").await.0, 200);
    assert_eq!(put_member(&app, "nobody", "read").await.0, 404);
    assert_eq!(put_member(&app, "bob", "root").await.0, 422);
    assert_eq!(put_member(&app, "ann", "read").await.0, 409);
    let (_, members) = app.get(&format!("{TEAM}/members")).await;
    let names: Vec<_> = members["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| (&member["user"], &member["role"]))
        .collect();
    assert_eq!(
        names,
        [(&json!("bob"), &json!("admin")), (&json!("ann"), &json!("owner"))]
    );
    let leave = format!("{TEAM}/members/ann");
    let (status, problem) = app.call(&app.ann, Method::DELETE, &leave, None).await;
    assert_eq!(status, 409, "{problem:#}");
    // Everybody may leave.
    let leave = format!("{TEAM}/members/bob");
    assert_eq!(app.call(&app.bob, Method::DELETE, &leave, None).await.0, 204);
    assert_eq!(
        app.call(&app.bob, Method::GET, &format!("{TEAM}/members"), None)
            .await
            .0,
        403
    );
}

#[tokio::test]
async fn an_invitation_is_accepted_once_by_whom_it_is_for() {
    let app = App::start().await;
    team(&app).await;
    let carol = app.user("carol").await;
    let invitation = invite(&app, "bob", "write").await;
    assert!(
        invitation["url"]
            .as_str()
            .unwrap()
            .ends_with(invitation["code"].as_str().unwrap())
    );
    let (_, list) = app.get(&format!("{TEAM}/invitations")).await;
    assert!(
        list["items"][0].get("code").is_none() && list["items"][0].get("url").is_none(),
        "{list:#}"
    );
    assert_eq!(accept(&app, &carol, &invitation).await.0, 404);
    let (status, joined) = accept(&app, &app.bob, &invitation).await;
    assert_eq!(
        (status, joined),
        (200, json!({ "organisation": "team", "user": "bob", "role": "write" }))
    );
    assert_eq!(accept(&app, &app.bob, &invitation).await.0, 404);
    let by_mail = invite(&app, "someone@example.com", "read").await;
    assert_eq!(accept(&app, &carol, &by_mail).await.0, 200);
    let withdrawn = invite(&app, "x@example.com", "owner").await;
    let path = format!("{TEAM}/invitations/{}", withdrawn["id"].as_str().unwrap());
    assert_eq!(app.call(&app.ann, Method::DELETE, &path, None).await.0, 204);
    assert_eq!(accept(&app, &carol, &withdrawn).await.0, 404);
    for (invitee, status) in [("nobody", 422), ("bob", 409), ("a b", 422), ("@", 422)] {
        let body = json!({ "invitee": invitee, "role": "read" });
        assert_eq!(
            app.post(&format!("{TEAM}/invitations"), body).await.0,
            status,
            "{invitee}"
        );
    }
}

#[tokio::test]
async fn a_role_ends_at_once() {
    let app = App::start().await;
    team(&app).await;
    let mut private = document();
    private["visibility"] = json!("private");
    app.put("/api/v1/repositories/team/app", private).await;
    let bob_reads = async || {
        app.call(&app.bob, Method::GET, "/api/v1/repositories/team/app", None)
            .await
            .0
    };
    assert_eq!(bob_reads().await, 404);
    put_member(&app, "bob", "read").await;
    assert_eq!(bob_reads().await, 200);
    app.call(&app.ann, Method::DELETE, &format!("{TEAM}/members/bob"), None)
        .await;
    assert_eq!(bob_reads().await, 404);
}

#[tokio::test]
async fn a_scope_says_so_where_it_is_not_enough() {
    let app = App::start().await;
    app.app().await;
    let read = app.scoped_token("ann", Scope::Read).await;
    let path = "/api/v1/repositories/ann/app/trigger";
    let (status, problem) = app.call(&read, Method::POST, path, Some(json!({}))).await;
    assert_eq!(status, 403);
    assert!(
        problem["detail"].as_str().unwrap().contains("scope read"),
        "{problem:#}"
    );
    let root = app.scoped_token("root", Scope::Write).await;
    assert_eq!(app.call(&root, Method::GET, "/api/v1/audit", None).await.0, 403);
}

#[tokio::test]
async fn the_log_says_who_did_what_without_secrets() {
    let app = App::start().await;
    team(&app).await;
    put_member(&app, "bob", "write").await;
    invite(&app, "x@example.com", "read").await;
    let credentials = json!({ "username": "u", "password": "canary-of-a-registry" });
    app.put("/api/v1/namespaces/team/registries/r.example.com", credentials)
        .await;
    app.app().await;
    app.trigger().await;
    let read = async |query: &str| {
        let (status, log) = app
            .call(&app.root, Method::GET, &format!("/api/v1/audit{query}"), None)
            .await;
        assert_eq!(status, 200, "{log:#}");
        log
    };
    let log = read("").await;
    assert!(!log.to_string().contains("canary"), "{log:#}");
    let actions: Vec<&str> = log["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    let expected = [
        "build.triggered",
        "registry.saved",
        "invitation.created",
        "member.added",
        "organisation.created",
    ];
    let told: Vec<&str> = actions
        .iter()
        .copied()
        .filter(|action| expected.contains(action))
        .collect();
    assert_eq!(told, expected, "{log:#}");
    let entry = &read("?action=member.added").await["items"][0];
    assert_eq!(
        (&entry["actor"], &entry["by"], &entry["subject"]),
        (&json!("ann"), &json!("token"), &json!("bob"))
    );
    assert_eq!(
        (&entry["namespace"], &entry["detail"]),
        (&json!("team"), &json!({ "role": "write" }))
    );
    assert_eq!(entry["address"], "127.0.0.1");
    let of_team = read("?namespace=team&limit=2").await;
    assert_eq!(of_team["items"].as_array().unwrap().len(), 2);
    let cursor = of_team["next_cursor"].as_str().unwrap();
    assert_eq!(
        read(&format!("?namespace=team&cursor={cursor}")).await["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(read("?actor=bob").await["items"], json!([]));
    let (status, problem) = app
        .call(&app.root, Method::GET, "/api/v1/audit?action=nonsense", None)
        .await;
    assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("action")));
}
