//! The pages of organisations.

use reqwest::Method;
use serde_json::json;

use crate::app::{App, document};

async fn team(app: &App) {
    let ann = app.browser("ann").await;
    let made = ann
        .post(
            "/organisations/new",
            &[
                ("name", "team"),
                ("display_name", "The <b>team</b>"),
                ("description", ""),
                ("default_visibility", "private"),
            ],
        )
        .await;
    assert_eq!(
        (made.status, made.location.as_deref()),
        (303, Some("/o/team/members")),
        "{}",
        made.text
    );
}

/// The address that the page shows once.
fn invitation(page: &str) -> String {
    let (_, after) = page.split_once("/invitations/").unwrap_or_else(|| panic!("{page}"));
    format!("/invitations/{}", &after[..64])
}

#[tokio::test]
async fn an_organisation_is_made_and_found_and_its_markup_is_text() {
    let app = App::start().await;
    team(&app).await;
    let page = app.stranger().get("/o/team").await;
    assert_eq!(page.status, 200);
    assert!(
        page.text.contains("The &#60;b&#62;team&#60;/b&#62;") || page.text.contains("The &lt;b&gt;team"),
        "{}",
        page.text
    );
    assert!(!page.text.contains("<b>team"), "{}", page.text);
    assert_eq!(app.stranger().get("/o/none").await.status, 404);
    let ann = app.browser("ann").await;
    assert!(ann.get("/").await.text.contains("/?namespace=team"));
    assert!(ann.get("/settings/organisations").await.text.contains("/o/team"));
}

#[tokio::test]
async fn what_is_wrong_with_a_new_organisation_stands_beside_what_was_typed() {
    let app = App::start().await;
    let ann = app.browser("ann").await;
    for (name, status, says) in [("Big Team", 422, "is not a name"), ("bob", 409, "is taken")] {
        let fields = [
            ("name", name),
            ("display_name", "Kept"),
            ("description", ""),
            ("default_visibility", "public"),
        ];
        let page = ann.post("/organisations/new", &fields).await;
        assert_eq!(page.status, status);
        assert!(page.text.contains(says) && page.text.contains("Kept"), "{}", page.text);
    }
}

#[tokio::test]
async fn a_member_is_invited_joins_gets_a_role_and_leaves() {
    let app = App::start().await;
    team(&app).await;
    let (ann, bob) = (app.browser("ann").await, app.browser("bob").await);
    assert_eq!(bob.get("/o/team/members").await.status, 403);
    let invited = ann
        .post("/o/team/members/invite", &[("invitee", "bob"), ("role", "read")])
        .await;
    assert_eq!(invited.status, 201);
    let address = invitation(&invited.text);
    let again = ann.get("/o/team/members").await;
    assert!(
        again.text.contains("Withdraw") && !again.text.contains(&address),
        "{}",
        again.text
    );
    assert_eq!(ann.get(&address).await.status, 404);
    let stranger = app.stranger().get(&address).await;
    assert!(
        stranger
            .location
            .unwrap()
            .starts_with("/sign-in?next=%2Finvitations%2F")
    );
    let page = bob.get(&address).await;
    assert!(page.text.contains("Join team"), "{}", page.text);
    assert_eq!(bob.get("/o/team/members").await.status, 403, "looking accepts nothing");
    let joined = bob.post(&address, &[]).await;
    assert_eq!((joined.status, joined.location.as_deref()), (303, Some("/o/team")));
    let members = bob.get("/o/team/members").await;
    assert!(
        members.status == 200 && !members.text.contains("members/remove"),
        "{}",
        members.text
    );
    assert_eq!(
        ann.post("/o/team/members", &[("member", "bob"), ("role", "owner")])
            .await
            .status,
        303
    );
    assert_eq!(bob.get("/o/team/settings").await.status, 200);
    assert_eq!(
        bob.post("/settings/organisations/leave", &[("organisation", "team")])
            .await
            .status,
        303
    );
    assert_eq!(bob.get("/o/team/members").await.status, 403);
    let left = ann
        .post("/settings/organisations/leave", &[("organisation", "team")])
        .await;
    assert_eq!(left.status, 303);
    assert_eq!(ann.get("/o/team/members").await.status, 200, "the last owner stays");
}

#[tokio::test]
async fn an_invitation_that_is_refused_keeps_what_was_typed() {
    let app = App::start().await;
    team(&app).await;
    let ann = app.browser("ann").await;
    for (invitee, status) in [("nobody", 422), ("ann", 409)] {
        let page = ann
            .post("/o/team/members/invite", &[("invitee", invitee), ("role", "admin")])
            .await;
        assert_eq!(page.status, status);
        assert!(page.text.contains(&format!("value=\"{invitee}\"")), "{}", page.text);
    }
}

#[tokio::test]
async fn settings_are_saved_by_owners_and_nothing_is_deleted_by_a_slip() {
    let app = App::start().await;
    team(&app).await;
    let (ann, bob) = (app.browser("ann").await, app.browser("bob").await);
    let fields = [
        ("display_name", "Us"),
        ("description", "Two\nlines"),
        ("default_visibility", "public"),
    ];
    assert_eq!(bob.post("/o/team/settings", &fields).await.status, 403);
    assert_eq!(ann.post("/o/team/settings", &fields).await.status, 303);
    assert!(ann.get("/o/team/settings").await.text.contains("Two\nlines"));
    app.put("/api/v1/repositories/team/app", document()).await;
    let delete = async |confirm: &str| ann.post("/o/team/settings/delete", &[("confirm", confirm)]).await;
    for confirm in ["", "tea", "team"] {
        delete(confirm).await;
        assert_eq!(ann.get("/o/team").await.status, 200, "{confirm:?}");
    }
    app.call(&app.ann, Method::DELETE, "/api/v1/repositories/team/app", None)
        .await;
    assert_eq!(
        delete("team").await.location.as_deref(),
        Some("/settings/organisations")
    );
    assert_eq!(ann.get("/o/team").await.status, 404);
}

#[tokio::test]
async fn owners_read_what_was_done_and_others_do_not() {
    let app = App::start().await;
    team(&app).await;
    app.put("/api/v1/organisations/team/members/bob", json!({ "role": "admin" }))
        .await;
    let log = app.browser("ann").await.get("/o/team/audit").await;
    assert!(
        log.status == 200 && log.text.contains("added the member"),
        "{}",
        log.text
    );
    assert!(!log.text.contains("127.0.0.1"), "{}", log.text);
    assert_eq!(app.browser("bob").await.get("/o/team/audit").await.status, 403);
    let stranger = app.stranger().get("/o/team/audit").await;
    assert!(stranger.location.unwrap().starts_with("/sign-in"));
}

#[tokio::test]
async fn private_repositories_are_on_the_page_for_members_alone() {
    let app = App::start().await;
    team(&app).await;
    app.put("/api/v1/repositories/team/shy", document()).await;
    assert!(
        app.browser("ann")
            .await
            .get("/o/team")
            .await
            .text
            .contains("/r/team/shy")
    );
    assert!(
        !app.browser("bob")
            .await
            .get("/o/team")
            .await
            .text
            .contains("/r/team/shy")
    );
    assert!(!app.stranger().get("/o/team").await.text.contains("/r/team/shy"));
}
