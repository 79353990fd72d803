//! What is fetched, and how little of it.

use super::server::Mood;
use super::*;
use crate::domain::context::{BuildContext, ContextPart, Selection};

/// The content of one file of a commit.
fn content(checkout: &Checkout, path: &str) -> Option<Vec<u8>> {
    checkout.context("Dockerfile", "/").ok().and_then(|context| {
        let mut found = None;
        let visit = &mut |entry: crate::domain::context::Entry| {
            if entry.path == path.as_bytes() {
                found = Some(entry.object);
            }
            std::ops::ControlFlow::Continue(())
        };
        context
            .walk(ContextPart::Context, &Selection::default(), visit)
            .unwrap();
        found.map(|object| context.read(&object).unwrap())
    })
}

/// Three commits on `main`; gives back their shas.
fn three_commits(tree: &WorkTree) -> [String; 3] {
    ["one", "two", "three"].map(|text| {
        tree.write("Dockerfile", format!("FROM scratch\n# {text}\n"));
        tree.commit(text)
    })
}

#[tokio::test]
async fn exactly_the_wanted_commit_is_fetched_where_the_server_gives_any() {
    let (tree, server) = served().await;
    tree.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
    let shas = three_commits(&tree);
    let fixture = Fixture::new();
    for (sha, text) in shas.iter().zip(["one", "two", "three"]) {
        let checkout = fixture.fetch(&server.url(), &commit(sha)).await.unwrap();
        assert_eq!(checkout.commit(), sha);
        assert_eq!(checkout.message().trim(), text);
        assert_eq!(checkout.author(), "Ada");
        assert_eq!(checkout.committed_at(), git::COMMITTED_AT);
        assert_eq!(
            content(&checkout, "Dockerfile").unwrap(),
            format!("FROM scratch\n# {text}\n").as_bytes()
        );
    }
}

#[tokio::test]
async fn exactly_the_wanted_commit_is_fetched_where_the_server_gives_tips_alone() {
    let (tree, server) = served().await;
    let shas = three_commits(&tree);
    server.mood(Mood::RefusesHistory);
    for sha in &shas {
        let checkout = Fixture::new().fetch(&server.url(), &commit(sha)).await.unwrap();
        assert_eq!(checkout.commit(), sha);
    }
}

#[tokio::test]
async fn an_old_commit_is_found_by_deepening() {
    let (tree, server) = served().await;
    let first = three_commits(&tree)[0].clone();
    for number in 0..60 {
        tree.commit(&format!("empty {number}"));
    }
    server.mood(Mood::RefusesHistory);
    let fixture = Fixture::new();
    let checkout = fixture.fetch(&server.url(), &commit(&first)).await.unwrap();
    assert_eq!(checkout.commit(), first);
    assert_eq!(content(&checkout, "Dockerfile").unwrap(), b"FROM scratch\n# one\n");
}

#[tokio::test]
async fn a_branch_that_was_deleted_after_its_merge_does_not_hide_its_commit() {
    let (tree, server) = served().await;
    let [first, ..] = three_commits(&tree);
    server.mood(Mood::RefusesHistory);
    let wanted = Wanted::Commit {
        sha: first.clone(),
        source_type: SourceType::Branch,
        name: Some("merged".to_owned()),
    };
    let checkout = Fixture::new().fetch(&server.url(), &wanted).await.unwrap();
    assert_eq!(checkout.commit(), first);
}

#[tokio::test]
async fn only_what_changed_is_transferred() {
    for any_sha in ["true", "false"] {
        let (tree, server) = served().await;
        tree.git(&["config", "uploadpack.allowAnySHA1InWant", any_sha]);
        tree.write("Dockerfile", "FROM scratch\n");
        let mut noise = 1_u32;
        for number in 0..200 {
            let text: String = (0..500)
                .map(|_| {
                    noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    format!("{noise:08x}")
                })
                .collect();
            tree.write(format!("src/{number}"), text);
        }
        let first = tree.commit("many files");
        let fixture = Fixture::new();
        fixture.fetch(&server.url(), &commit(&first)).await.unwrap();
        let whole = server.sent();
        assert!(whole > 200_000, "{whole}");
        tree.write("src/7", "changed");
        let second = tree.commit("one file");
        let checkout = fixture.fetch(&server.url(), &commit(&second)).await.unwrap();
        let change = server.sent();
        assert!(
            change < 20_000,
            "{change} bytes for one file, allowAnySHA1InWant={any_sha}"
        );
        assert_eq!(content(&checkout, "src/7").unwrap(), b"changed");
        assert_eq!(content(&checkout, "src/8").unwrap().len(), 4_000);
    }
}

#[tokio::test]
async fn a_commit_that_is_there_costs_no_network() {
    let (tree, server) = served().await;
    let [first, _, last] = three_commits(&tree);
    let fixture = Fixture::new();
    fixture.fetch(&server.url(), &commit(&last)).await.unwrap();
    let requests = server.seen().len();
    fixture.fetch(&server.url(), &commit(&last)).await.unwrap();
    assert_eq!(server.seen().len(), requests);
    assert!(fixture.said.0.lock().unwrap().contains("is in the mirror already"));
    // Another process that shares the directory finds it too.
    let other = Fixture::with(|config| config.mirrors_dir = fixture.config.mirrors_dir.clone());
    other.fetch(&server.url(), &commit(&last)).await.unwrap();
    assert_eq!(server.seen().len(), requests);
    assert!(fixture.fetch(&server.url(), &commit(&first)).await.is_ok());
}

#[tokio::test]
async fn a_wanted_branch_is_what_the_server_says_now() {
    let (tree, server) = served().await;
    let fixture = Fixture::new();
    for text in ["one", "two"] {
        tree.write("Dockerfile", text);
        let sha = tree.commit(text);
        let checkout = fixture.fetch(&server.url(), &branch("main")).await.unwrap();
        assert_eq!(checkout.commit(), sha);
    }
    server.sent();
    fixture.fetch(&server.url(), &branch("main")).await.unwrap();
    let posts = server.seen().iter().filter(|seen| seen.method == "POST").count();
    fixture.fetch(&server.url(), &branch("main")).await.unwrap();
    let again = server.seen().iter().filter(|seen| seen.method == "POST").count();
    assert_eq!(again, posts, "an unchanged branch needs no pack");
}

#[tokio::test]
async fn annotated_tags_lead_to_their_commit() {
    for any_sha in ["true", "false"] {
        let (tree, server) = served().await;
        tree.git(&["config", "uploadpack.allowAnySHA1InWant", any_sha]);
        let [sha, ..] = three_commits(&tree);
        tree.git(&["tag", "-a", "v1", "-m", "first", &sha]);
        tree.git(&["tag", "-a", "v1-again", "-m", "a tag of a tag", "v1"]);
        tree.git(&["tag", "plain", &sha]);
        let object = tree.git(&["rev-parse", "v1"]);
        assert_ne!(object, sha);
        for url in [server.url(), tree.url()] {
            for wanted in [
                tag("v1"),
                tag("v1-again"),
                tag("plain"),
                Wanted::Commit {
                    sha: object.clone(),
                    source_type: SourceType::Tag,
                    name: Some("v1".to_owned()),
                },
                Wanted::Commit {
                    sha: sha.clone(),
                    source_type: SourceType::Tag,
                    name: Some("v1".to_owned()),
                },
                Wanted::Commit {
                    sha: sha.to_uppercase(),
                    source_type: SourceType::Tag,
                    name: None,
                },
            ] {
                let checkout = Fixture::new().fetch(&url, &wanted).await.unwrap();
                assert_eq!(checkout.commit(), sha, "{wanted:?} from {url}");
            }
        }
    }
}

#[tokio::test]
async fn a_tag_of_something_else_is_said_to_be_so() {
    let (tree, server) = served().await;
    three_commits(&tree);
    tree.git(&["tag", "-a", "files", "-m", "a tree", "HEAD^{tree}"]);
    tree.git(&["tag", "-a", "file", "-m", "a blob", "HEAD:Dockerfile"]);
    for (name, kind) in [("files", "tree"), ("file", "blob")] {
        for url in [server.url(), tree.url()] {
            let error = Fixture::new().fetch(&url, &tag(name)).await.err().unwrap();
            assert!(
                matches!(&error, SourceError::Invalid(text) if text.contains(kind)),
                "{error:?}"
            );
            assert!(!error.retryable());
        }
    }
}

#[tokio::test]
async fn local_sources_are_copied_without_their_history_and_only_what_changed() {
    let tree = WorkTree::new();
    let [first, _, last] = three_commits(&tree);
    let fixture = Fixture::new();
    let checkout = fixture.fetch(&tree.url(), &branch("main")).await.unwrap();
    assert_eq!(checkout.commit(), last);
    assert_eq!(content(&checkout, "Dockerfile").unwrap(), b"FROM scratch\n# three\n");
    let packs = || {
        fixture
            .files(|path| path.extension().is_some_and(|e| e == "pack"))
            .len()
    };
    assert_eq!(packs(), 1);
    let checkout = fixture.fetch(&tree.url(), &commit(&first)).await.unwrap();
    assert_eq!(content(&checkout, "Dockerfile").unwrap(), b"FROM scratch\n# one\n");
    assert_eq!(packs(), 2);
    let gone = fixture
        .fetch(&tree.url(), &commit(&"1".repeat(40)))
        .await
        .err()
        .unwrap();
    assert!(matches!(gone, SourceError::CommitGone { .. }));
    let gone = fixture.fetch(&tree.url(), &branch("gone")).await.err().unwrap();
    assert!(matches!(gone, SourceError::RefGone { .. }));
    let missing = fixture
        .fetch("file:///nonexistent/x.git", &branch("main"))
        .await
        .err()
        .unwrap();
    assert!(matches!(missing, SourceError::NotFound(_)));
}

#[tokio::test]
async fn many_fetches_of_one_mirror_at_once_all_succeed() {
    let (tree, server) = served().await;
    tree.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
    let shas = three_commits(&tree);
    let fixture = Fixture::new();
    // Half of them know of each other through the lock file alone.
    let other = Fixture::with(|config| config.mirrors_dir = fixture.config.mirrors_dir.clone());
    let url = server.url();
    let wanted: Vec<Wanted> = (0..12).map(|number| commit(&shas[number % 3])).collect();
    let fetches = wanted.iter().enumerate().map(|(number, wanted)| match number < 6 {
        true => fixture.fetch(&url, wanted),
        false => other.fetch(&url, wanted),
    });
    for (number, checkout) in futures_util::future::join_all(fetches).await.into_iter().enumerate() {
        assert_eq!(checkout.unwrap().commit(), shas[number % 3]);
    }
}

#[tokio::test]
async fn another_source_under_the_same_key_starts_afresh() {
    let (one, other) = (WorkTree::new(), WorkTree::new());
    let [old, ..] = three_commits(&one);
    other.write("Dockerfile", "FROM scratch\n");
    let new = other.commit("other");
    let fixture = Fixture::new();
    fixture.fetch(&one.url(), &commit(&old)).await.unwrap();
    assert_eq!(
        fixture.fetch(&other.url(), &branch("main")).await.unwrap().commit(),
        new
    );
    let error = fixture.fetch(&other.url(), &commit(&old)).await.err().unwrap();
    assert!(matches!(error, SourceError::CommitGone { .. }), "{error:?}");
}

#[tokio::test]
async fn a_mirror_is_removed_once_nobody_reads_it() {
    let tree = WorkTree::new();
    three_commits(&tree);
    let fixture = Fixture::new();
    let checkout = fixture.fetch(&tree.url(), &branch("main")).await.unwrap();
    let context = checkout.context("Dockerfile", "/").unwrap();
    drop(checkout);
    let others = async || fixture.sources.remove_mirrors_but(&[]).await.unwrap();
    assert_eq!(others().await, 0, "a build reads it");
    drop(context);
    assert_eq!(
        fixture.sources.remove_mirrors_but(&["repository"]).await.unwrap(),
        0,
        "it is known"
    );
    assert_eq!(others().await, 1);
    assert_eq!(fixture.disk_usage(), 0);
    assert_eq!(others().await, 0);
    fixture.fetch(&tree.url(), &branch("main")).await.unwrap();
}

#[tokio::test]
async fn a_mirror_with_too_many_packs_is_begun_afresh_beside_those_who_read_it() {
    let tree = WorkTree::new();
    let [first, _, last] = three_commits(&tree);
    let fixture = Fixture::new();
    let read = fixture.fetch(&tree.url(), &commit(&first)).await.unwrap();
    let is_pack = |path: &Path| path.extension().is_some_and(|extension| extension == "pack");
    let pack = fixture.files(is_pack).remove(0);
    for number in 0..200 {
        for extension in ["pack", "idx"] {
            let copy = pack.with_file_name(format!("pack-{number:040x}.{extension}"));
            std::fs::copy(pack.with_extension(extension), copy).unwrap();
        }
    }
    fixture.fetch(&tree.url(), &commit(&last)).await.unwrap();
    assert_eq!(content(&read, "Dockerfile").unwrap(), b"FROM scratch\n# one\n");
    drop(read);
    fixture.fetch(&tree.url(), &commit(&last)).await.unwrap();
    assert_eq!(fixture.files(is_pack).len(), 1);
}
