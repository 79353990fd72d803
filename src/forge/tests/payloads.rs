use super::*;
use crate::domain::{
    event::{ChangeKind, EventKind, RefChange},
    rule::SourceType::{self, Branch, Tag},
};

/// The commits of our own payloads.
pub(super) const BEFORE: &str = "0da1a1f0b3a0c8a1b5c9b1a7b4d6e9f0a1b2c3d4";
pub(super) const COMMIT: &str = "5e1c309dae7f45e0f39b1bf3ac3cd9db12e7d689";
pub(super) const TAG_OBJECT: &str = "9f3c2b1a0d4e5f60718293a4b5c6d7e8f9012345";
/// The commit of GitHub's examples.
const EXAMPLE: &str = "6113728f27ae82c7b1a177c8d03f9e96e0adf246";

macro_rules! payload {
    ($file:literal) => {
        include_str!(concat!("../../../tests/payloads/", $file))
    };
}

pub(super) fn parse(provider: Provider, event: &str, body: impl Into<Bytes>) -> Result<EventKind, Rejection> {
    let event = Webhook::new(provider, event, body).verified()?.parse()?;
    Ok(event.kind)
}

/// What it was before is not told: see `before`.
pub(super) fn updated(source_type: SourceType, name: &str, commit: &str, message: Option<&str>) -> RefChange {
    let kind = ChangeKind::Updated {
        commit: commit.to_owned(),
        message: message.map(str::to_owned),
        before: None,
    };
    RefChange {
        source_type,
        name: name.to_owned(),
        kind,
    }
}

pub(super) fn deleted(source_type: SourceType, name: &str) -> RefChange {
    RefChange {
        source_type,
        name: name.to_owned(),
        kind: ChangeKind::Deleted,
    }
}

/// A change without what it was before.
fn forgetful(mut change: RefChange) -> RefChange {
    if let ChangeKind::Updated { before, .. } = &mut change.kind {
        *before = None;
    }
    change
}

/// What each ref of a push pointed to before.
pub(super) fn before(provider: Provider, event: &str, body: impl Into<Bytes>) -> Vec<Option<String>> {
    let Ok(EventKind::Push(push)) = parse(provider, event, body) else {
        panic!("it is a push")
    };
    let before = push.changes.into_iter().map(|change| match change.kind {
        ChangeKind::Updated { before, .. } => before,
        ChangeKind::Deleted => Some("deleted".to_owned()),
    });
    before.collect()
}

#[test]
fn what_a_ref_pointed_to_before_is_read_of_every_forge() {
    let check = |provider, event, body: &str, expected: &[Option<&str>]| {
        let found = before(provider, event, body.to_owned());
        let found: Vec<Option<&str>> = found.iter().map(Option::as_deref).collect();
        assert_eq!(found, expected, "{body:.200}");
    };
    let github = |body: &str, expected| check(Provider::Github, "push", body, &[expected]);
    let moved = payload!("github/branch-updated.json");
    github(moved, Some(BEFORE));
    github(payload!("github/branch-forced.json"), Some(BEFORE));
    github(payload!("github/annotated-tag.json"), None);
    github(payload!("github/octokit/push-5.json"), None);
    // It is only compared with: what is no object name makes no push malformed.
    for nothing in ["main", "", "0da1a1f", "--upload-pack=x"] {
        github(&moved.replace(BEFORE, nothing), None);
    }
    let mut without: serde_json::Value = serde_json::from_str(moved).unwrap();
    without["before"] = serde_json::Value::Null;
    github(&without.to_string(), None);
    without.as_object_mut().unwrap().remove("before");
    github(&without.to_string(), None);

    let bitbucket = |body: &str, expected: &[Option<&str>]| check(Provider::Bitbucket, "repo:push", body, expected);
    let moved = payload!("bitbucket/branch-updated.json");
    bitbucket(moved, &[Some(BEFORE)]);
    bitbucket(payload!("bitbucket/branch-forced.json"), &[Some(BEFORE)]);
    bitbucket(payload!("bitbucket/tag-created.json"), &[None]);
    let mut without: serde_json::Value = serde_json::from_str(moved).unwrap();
    without["push"]["changes"][0]["old"]["target"] = serde_json::Value::Null;
    bitbucket(&without.to_string(), &[None]);

    let event = "repo:refs_changed";
    let server = |body: &str, expected: &[Option<&str>]| check(Provider::BitbucketServer, event, body, expected);
    let moved = payload!("bitbucket-server/branch-updated.json");
    server(moved, &[Some(BEFORE)]);
    server(&moved.replace(BEFORE, &"0".repeat(40)), &[None]);
    server(payload!("bitbucket-server/annotated-tag.json"), &[None]);
}

#[track_caller]
pub(super) fn check_push(
    provider: Provider,
    event: &str,
    body: &'static str,
    full_name: &str,
    urls: &[&str],
    changes: &[RefChange],
) {
    match parse(provider, event, body) {
        Ok(EventKind::Push(push)) => {
            assert_eq!(push.repository.full_name, full_name);
            assert_eq!(push.repository.urls, urls);
            assert_eq!(push.changes.into_iter().map(forgetful).collect::<Vec<_>>(), changes);
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub(super) fn check_ignored(provider: Provider, event: &str, body: &'static str, reason: &str) {
    assert_eq!(parse(provider, event, body), Ok(EventKind::Ignored(reason.to_owned())));
}

#[track_caller]
pub(super) fn check_malformed(provider: Provider, event: &str, body: impl Into<Bytes>, message: &str) {
    match parse(provider, event, body) {
        Err(Rejection::Malformed(text)) => {
            assert!(text.contains(message), "{text}");
            assert!(text.chars().count() <= 401, "{} characters", text.chars().count());
        }
        other => panic!("{other:?}"),
    }
}

mod github {
    use super::*;

    const PAYLOAD: &str = payload!("github/branch-updated.json");

    #[track_caller]
    fn check(body: &'static str, change: RefChange) {
        let urls = [
            "https://github.com/acme/app.git",
            "git://github.com/acme/app.git",
            "git@github.com:acme/app.git",
            "https://github.com/acme/app",
        ];
        check_push(Provider::Github, "push", body, "acme/app", &urls, &[change]);
    }

    #[track_caller]
    fn check_example(body: &'static str, change: RefChange) {
        let urls = [
            "https://github.com/Codertocat/Hello-World.git",
            "git://github.com/Codertocat/Hello-World.git",
            "git@github.com:Codertocat/Hello-World.git",
            "https://github.com/Codertocat/Hello-World",
        ];
        check_push(
            Provider::Github,
            "push",
            body,
            "Codertocat/Hello-World",
            &urls,
            &[change],
        );
    }

    #[test]
    fn its_own_examples_of_pushes_are_read() {
        let tag = updated(Tag, "simple-tag", EXAMPLE, Some("Adding a .gitignore file"));
        let branch = updated(Branch, "master", EXAMPLE, Some("Initial commit"));
        check_example(payload!("github/octokit/push-1.json"), tag);
        check_example(payload!("github/octokit/push-2.json"), deleted(Tag, "simple-tag"));
        check_example(payload!("github/octokit/push-3.json"), deleted(Tag, "simple-tag"));
        check_example(payload!("github/octokit/push-4.json"), deleted(Tag, "simple-tag"));
        check_example(payload!("github/octokit/push-5.json"), branch.clone());
        check_example(payload!("github/octokit/push-6.json"), branch);
        check_example(payload!("github/octokit/push-7.json"), deleted(Tag, "simple-tag"));
    }

    #[test]
    fn its_own_examples_of_pings_are_ignored() {
        for body in [
            payload!("github/octokit/ping-1.json"),
            payload!("github/octokit/ping-2.json"),
            payload!("github/octokit/ping-3.json"),
            payload!("github/octokit/ping-4.json"),
        ] {
            check_ignored(Provider::Github, "ping", body, "a ping");
        }
    }

    #[test]
    fn a_branch_moves_to_its_head_commit() {
        let message = "Smaller image\n\nThe build stage stays out of it. 🎉";
        check(PAYLOAD, updated(Branch, "main", COMMIT, Some(message)));
        let forced = payload!("github/branch-forced.json");
        check(forced, updated(Branch, "feature/login", COMMIT, Some("Rewritten")));
    }

    #[test]
    fn an_annotated_tag_stands_for_the_commit_it_points_to() {
        let body = payload!("github/annotated-tag.json");
        check(body, updated(Tag, "v1.2.0", COMMIT, Some("Release 1.2.0")));
    }

    #[test]
    fn a_tag_without_a_head_commit_stands_for_what_it_was_moved_to() {
        let body = payload!("github/annotated-tag.json");
        let mut value: serde_json::Value = serde_json::from_str(body).unwrap();
        value["head_commit"] = serde_json::Value::Null;
        match parse(Provider::Github, "push", value.to_string()) {
            Ok(EventKind::Push(push)) => assert_eq!(push.changes, [updated(Tag, "v1.2.0", TAG_OBJECT, None)]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_deletion_is_not_an_update() {
        check(payload!("github/branch-deleted.json"), deleted(Branch, "feature/login"));
    }

    #[test]
    fn an_all_zero_commit_is_a_deletion_whatever_else_is_said() {
        let body = PAYLOAD.replace(COMMIT, &"0".repeat(40));
        match parse(Provider::Github, "push", body) {
            Ok(EventKind::Push(push)) => assert_eq!(push.changes, [deleted(Branch, "main")]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn refs_that_are_neither_branch_nor_tag_are_ignored() {
        let reason = r#""refs/notes/commits" is neither a branch nor a tag"#;
        check_ignored(Provider::Github, "push", payload!("github/notes.json"), reason);
    }

    #[test]
    fn other_events_are_ignored_by_name() {
        check_ignored(Provider::Github, "create", PAYLOAD, "the event `create` is not a push");
        check_ignored(Provider::Github, "Push", "{}", "the event `Push` is not a push");
    }

    #[test]
    fn a_ref_name_that_git_refuses_is_malformed() {
        for name in ["a..b", "a b", "-upload-pack=x", "x.lock", "a\\\\b", "\\u001b[2J", ""] {
            let body = PAYLOAD.replace("refs/heads/main", &format!("refs/heads/{name}"));
            check_malformed(Provider::Github, "push", body, "is not a ref name that git accepts");
        }
        let long = PAYLOAD.replace("refs/heads/main", &format!("refs/heads/{}", "é".repeat(5000)));
        check_malformed(Provider::Github, "push", long, "…");
    }

    #[test]
    fn a_commit_that_is_not_a_full_object_name_is_malformed() {
        for commit in [
            "main",
            "5e1c309",
            "--upload-pack=x",
            "",
            &COMMIT.to_uppercase(),
            &format!("{COMMIT}0"),
        ] {
            let body = PAYLOAD.replace(COMMIT, commit);
            check_malformed(Provider::Github, "push", body, "is not the full name of a commit");
        }
        let sha256 = "ab".repeat(32);
        assert!(parse(Provider::Github, "push", PAYLOAD.replace(COMMIT, &sha256)).is_ok());
    }

    #[test]
    fn nulls_wrong_types_and_missing_fields_are_named() {
        let check = |pointer: &str, value: serde_json::Value, message: &str| {
            let mut payload: serde_json::Value = serde_json::from_str(PAYLOAD).unwrap();
            *payload.pointer_mut(pointer).unwrap() = value;
            check_malformed(Provider::Github, "push", payload.to_string(), message);
        };
        use serde_json::json;
        check("/ref", json!(null), "ref: invalid type: null");
        check("/after", json!(null), "after: invalid type: null");
        check("/deleted", json!(null), "deleted: invalid type: null");
        check("/deleted", json!("false"), "deleted: invalid type: string");
        check("/head_commit/id", json!(null), "head_commit.id: invalid type: null");
        check(
            "/head_commit/message",
            json!(7),
            "head_commit.message: invalid type: integer",
        );
        check("/head_commit", json!([]), "head_commit: ");
        check("/repository", json!(null), "repository: invalid type: null");
        check(
            "/repository/full_name",
            json!(null),
            "repository.full_name: invalid type: null",
        );
        check("/repository", json!({}), "repository: missing field `full_name`");
        check("/ref", json!(["x".repeat(5000)]), "ref: invalid type: sequence");
        check_malformed(Provider::Github, "push", "{}", "missing field `ref`");
        check_malformed(Provider::Github, "push", "[]", "invalid length 0");
        check_malformed(Provider::Github, "push", "null", "invalid type: null");
    }

    #[test]
    fn a_form_is_decoded_once_it_is_verified() {
        let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let form = |body: String| {
            Webhook::new(Provider::Github, "push", body).with("content-type", "application/x-www-form-urlencoded")
        };
        let delivery = form(format!("payload={}", encode(PAYLOAD))).verified().unwrap();
        assert_eq!(delivery.content_type(), "application/x-www-form-urlencoded");
        assert_eq!(
            delivery.parse().unwrap().kind,
            parse(Provider::Github, "push", PAYLOAD).unwrap()
        );
        for body in [
            String::new(),
            "payload".to_owned(),
            "payload=".to_owned(),
            format!("Payload={}", encode(PAYLOAD)),
            format!("payload={0}&payload={0}", encode(PAYLOAD)),
            format!("payload={}&ref=x", encode(PAYLOAD)),
            format!("payload={}%2", encode(PAYLOAD)),
            format!("payload={}", encode(PAYLOAD).replace("main", "m%FFin")),
            PAYLOAD.to_owned(),
        ] {
            let parsed = form(body.clone()).verified().unwrap().parse();
            assert!(
                matches!(parsed, Err(Rejection::Malformed(_))),
                "{body:.100}: {parsed:?}"
            );
        }
    }

    /// A bound that only something like a quadratic walk would miss, even in an unoptimised build on a busy machine.
    #[test]
    fn parsing_stays_linear_in_the_body() {
        let wide: Vec<String> = (0..10_000).map(|n| format!(r#""k{n}":{{"k{n}":[0]}}"#)).collect();
        let body = PAYLOAD.replacen(
            '{',
            &format!("{{\"wide\":[{}],", vec![format!("{{{}}}", wide.join(",")); 4].join(",")),
            1,
        );
        let started = std::time::Instant::now();
        assert!(parse(Provider::Github, "push", body).is_ok());
        assert!(
            started.elapsed() < std::time::Duration::from_secs(5),
            "{:?}",
            started.elapsed()
        );
    }
}

mod bitbucket {
    use super::*;

    #[track_caller]
    fn check(body: &'static str, changes: &[RefChange]) {
        let urls = ["https://bitbucket.org/acme/app"];
        check_push(Provider::Bitbucket, "repo:push", body, "acme/app", &urls, changes);
    }

    #[test]
    fn every_ref_of_a_push_is_read() {
        let message = Some("Smaller image\n");
        check(
            payload!("bitbucket/branch-updated.json"),
            &[updated(Branch, "main", COMMIT, message)],
        );
        let forced = payload!("bitbucket/branch-forced.json");
        check(forced, &[updated(Branch, "feature/login", COMMIT, Some("Rewritten\n"))]);
        check(
            payload!("bitbucket/branch-deleted.json"),
            &[deleted(Branch, "feature/login")],
        );
        check(
            payload!("bitbucket/tag-created.json"),
            &[updated(Tag, "v1.2.0", COMMIT, message)],
        );
        check(
            payload!("bitbucket/annotated-tag.json"),
            &[updated(Tag, "v1.2.0", COMMIT, message)],
        );
        let mercurial = [
            updated(Branch, "default", COMMIT, message),
            updated(Branch, "login", BEFORE, Some("Before\n")),
        ];
        check(payload!("bitbucket/mercurial.json"), &mercurial);
        let many = [
            updated(Branch, "main", COMMIT, message),
            updated(Tag, "v1.2.0", COMMIT, message),
            deleted(Branch, "old"),
            deleted(Tag, "v0"),
        ];
        check(payload!("bitbucket/many-refs.json"), &many);
    }

    #[test]
    fn other_events_are_ignored_by_name() {
        let reason = "the event `repo:fork` is not a push";
        check_ignored(
            Provider::Bitbucket,
            "repo:fork",
            payload!("bitbucket/fork.json"),
            reason,
        );
    }

    #[test]
    fn a_push_without_a_branch_or_tag_is_ignored() {
        let body = |changes: &str| {
            let repository = r#"{"full_name":"acme/app","links":{"html":{"href":"https://bitbucket.org/acme/app"}}}"#;
            format!(r#"{{"push":{{"changes":{changes}}},"repository":{repository}}}"#)
        };
        let push = |changes: &str| parse(Provider::Bitbucket, "repo:push", body(changes));
        let nothing = EventKind::Ignored("the push changed no ref".to_owned());
        assert_eq!(push("[]"), Ok(nothing));
        let unknown = push(r#"[{"new":null,"old":{"type":"note","name":"x"}}]"#);
        assert_eq!(
            unknown,
            Ok(EventKind::Ignored(r#""x" is neither a branch nor a tag"#.to_owned()))
        );
        let neither = r#"[{"old":null,"new":null}]"#;
        check_malformed(
            Provider::Bitbucket,
            "repo:push",
            body(neither),
            "push.changes[0] has neither",
        );
        check_malformed(
            Provider::Bitbucket,
            "repo:push",
            body("null"),
            "push.changes: invalid type: null",
        );
        let no_name = r#"[{"new":{"type":"branch","name":null,"target":{"hash":""}}}]"#;
        check_malformed(
            Provider::Bitbucket,
            "repo:push",
            body(no_name),
            "push.changes[0].new.name: invalid type: null",
        );
        let short = r#"[{"new":{"type":"branch","name":"x","target":{"hash":"5e1c309"}}}]"#;
        check_malformed(
            Provider::Bitbucket,
            "repo:push",
            body(short),
            "not the full name of a commit",
        );
        let bad_name = r#"[{"new":null,"old":{"type":"tag","name":"../x"}}]"#;
        check_malformed(
            Provider::Bitbucket,
            "repo:push",
            body(bad_name),
            "not a ref name that git accepts",
        );
    }
}

mod bitbucket_server {
    use super::*;

    const PUSH: &str = "repo:refs_changed";

    #[track_caller]
    fn check(body: &'static str, changes: &[RefChange]) {
        let urls = [
            "ssh://git@bitbucket.example.com:7999/acme/app.git",
            "https://bitbucket.example.com/scm/acme/app.git",
            "https://bitbucket.example.com/projects/ACME/repos/app/browse",
        ];
        check_push(Provider::BitbucketServer, PUSH, body, "ACME/app", &urls, changes);
    }

    #[test]
    fn every_ref_of_a_push_is_read() {
        let main = updated(Branch, "main", COMMIT, Some("Smaller image"));
        let tag = updated(Tag, "v1.2.0", TAG_OBJECT, None);
        check(
            payload!("bitbucket-server/branch-updated.json"),
            std::slice::from_ref(&main),
        );
        let older = payload!("bitbucket-server/branch-updated-older-release.json");
        check(older, &[updated(Branch, "main", COMMIT, None)]);
        check(
            payload!("bitbucket-server/branch-deleted.json"),
            &[deleted(Branch, "feature/login")],
        );
        check(
            payload!("bitbucket-server/annotated-tag.json"),
            std::slice::from_ref(&tag),
        );
        check(
            payload!("bitbucket-server/many-refs.json"),
            &[main, tag, deleted(Branch, "old")],
        );
    }

    #[test]
    fn pings_and_other_events_are_ignored() {
        let ping = payload!("bitbucket-server/ping.json");
        check_ignored(Provider::BitbucketServer, "diagnostics:ping", ping, "a ping");
        let mirror = payload!("bitbucket-server/mirror-synchronized.json");
        let reason = "the event `mirror:repo_synchronized` is not a push";
        check_ignored(Provider::BitbucketServer, "mirror:repo_synchronized", mirror, reason);
    }

    #[test]
    fn fields_at_fault_are_named() {
        let payload = payload!("bitbucket-server/branch-updated.json");
        let check = |from: &str, to: &str, message: &str| {
            assert!(payload.contains(from));
            check_malformed(Provider::BitbucketServer, PUSH, payload.replace(from, to), message);
        };
        check(
            r#""UPDATE""#,
            r#""RENAME""#,
            "changes[0].type: unknown variant `RENAME`",
        );
        check(r#""UPDATE""#, "null", "changes[0].type: ");
        check(
            &format!(r#""toHash": "{COMMIT}""#),
            r#""toHash": null"#,
            "changes[0].toHash: invalid type: null",
        );
        check(
            r#""id": "refs/heads/main""#,
            r#""id": null"#,
            "changes[0].ref.id: invalid type: null",
        );
        check(
            r#""key": "ACME""#,
            r#""key": null"#,
            "repository.project.key: invalid type: null",
        );
        check(
            r#""id": "refs/heads/main""#,
            r#""id": "refs/heads/a..b""#,
            "not a ref name that git accepts",
        );
    }
}

mod hostile_json {
    use super::*;

    #[track_caller]
    fn check(body: impl Into<Bytes>, message: &str) {
        check_malformed(Provider::Github, "issues", body, message);
    }

    #[test]
    fn doubled_keys_are_refused_at_any_depth_and_in_any_spelling() {
        check(r#"{"a": 1, "a": 1}"#, "the key `a` is there twice");
        check(
            r#"{"b": {}, "c": [[{"d": {"a": 1, "b": 2, "a": null}}]]}"#,
            "the key `a` is there twice",
        );
        check(r#"{"ref": 1, "r\u0065f": 2}"#, "the key `ref` is there twice");
        check(r#"{"": 1, "": 2}"#, "the key `` is there twice");
        let payload = payload!("github/branch-updated.json").replacen('{', r#"{"ref":"refs/heads/x","#, 1);
        check_malformed(Provider::Github, "push", payload, "the key `ref` is there twice");
        for fine in [
            r#"{"a": {"a": [{"a": 1}, {"a": 1}]}, "A": 1}"#,
            "7",
            "[]",
            r#""x""#,
            " null ",
            "[1e300, -1, true]",
        ] {
            assert!(parse(Provider::Github, "issues", fine).is_ok(), "{fine}");
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        check("[".repeat(10_000), "recursion limit");
        check(r#"{"a":"#.repeat(10_000), "recursion limit");
        check(format!("{}{}", "[".repeat(128), "]".repeat(128)), "recursion limit");
        let fine = format!("{}{}", "[".repeat(127), "]".repeat(127));
        assert!(parse(Provider::Github, "issues", fine).is_ok());
    }

    #[test]
    fn an_object_has_a_bounded_number_of_keys() {
        let object = |keys: usize| {
            let members: Vec<String> = (0..keys).map(|n| format!(r#""k{n}":0"#)).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(parse(Provider::Github, "issues", object(10_000)).is_ok());
        check(object(10_001), "more than 10000 keys");
    }

    #[test]
    fn what_is_not_one_json_value_in_utf_8_is_refused() {
        check("", "EOF");
        check("{", "EOF");
        check("{} x", "trailing characters");
        check("{}{}", "trailing characters");
        check("{'a': 1}", "key must be a string");
        check("NaN", "expected value");
        check("1e999", "number out of range");
        check("{\"a\": \"\n\"}", "control character");
        check(r#"{"a": "\ud800"}"#, "hex escape");
        check("\u{feff}{}", "expected value");
        check(&b"{\"a\": \"\xff\"}"[..], "not UTF-8");
        check(&b"{}\0"[..], "trailing characters");
    }
}
