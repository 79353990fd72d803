//! What was changed since an earlier commit: over git's own HTTP, and from a directory.

use super::server::Mood;
use super::*;
use crate::domain::path_filter::PathFilter;

impl Fixture {
    async fn changes(
        &self,
        url: &str,
        checkout: &Checkout,
        branch: &str,
        since: &Since,
        patterns: &[&str],
    ) -> Result<Changes, SourceError> {
        let url = SourceUrl::parse(url, SourcePolicy { allow_local: true }).unwrap();
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        self.sources
            .changes(
                "repository",
                &url,
                None,
                Comparison {
                    checkout,
                    branch,
                    since,
                    filter: &Arc::new(PathFilter::new(&patterns).unwrap()),
                },
                Arc::clone(&self.said) as Arc<dyn Progress>,
                &self.cancel,
            )
            .await
    }
}

fn since(sha: &str) -> Since {
    Since::Commit(sha.to_owned())
}

fn found(path: &str) -> Result<Changes, SourceError> {
    Ok(Changes::Match(path.to_owned()))
}

/// A repository with two directories, and its first commit.
fn monorepo(tree: &WorkTree) -> String {
    for path in ["api/main.rs", "web/index.html", "docs/a.md", "Dockerfile"] {
        tree.write(path, path);
    }
    tree.commit("first")
}

#[tokio::test]
async fn the_first_changed_file_that_matches_is_named_and_the_others_are_counted() {
    let tree = WorkTree::new();
    let first = monorepo(&tree);
    tree.write("docs/a.md", "changed");
    tree.write("web/new/deep/x.js", "new");
    tree.git(&["rm", "-q", "api/main.rs"]);
    tree.git(&["mv", "Dockerfile", "Containerfile"]);
    let second = tree.commit("second");
    let fixture = Fixture::new();
    let checkout = fixture.fetch(&tree.url(), &commit(&second)).await.unwrap();
    let changes = async |patterns: &[&str]| {
        fixture
            .changes(&tree.url(), &checkout, "main", &since(&first), patterns)
            .await
    };
    assert_eq!(changes(&["web/"]).await, found("web/new/deep/x.js"));
    // One that is gone was changed, and of one that was renamed both names were.
    assert_eq!(changes(&["api/"]).await, found("api/main.rs"));
    assert_eq!(changes(&["/Dockerfile"]).await, found("Dockerfile"));
    assert_eq!(changes(&["/Containerfile"]).await, found("Containerfile"));
    assert_eq!(changes(&["*"]).await, found("Containerfile"));
    assert_eq!(changes(&["!docs/", "!Containerfile"]).await, found("Dockerfile"));
    assert_eq!(changes(&["web/index.html"]).await, Ok(Changes::NoMatch(5)));
    assert_eq!(changes(&["!*"]).await, Ok(Changes::NoMatch(5)));
    let same = fixture
        .changes(&tree.url(), &checkout, "main", &since(&second), &["*"])
        .await;
    assert_eq!(same, Ok(Changes::NoMatch(0)));
}

#[tokio::test]
async fn odd_names_modes_and_kinds_are_changes_like_others() {
    let tree = WorkTree::new();
    tree.write("run.sh", "x");
    tree.write("thing", "a file");
    tree.write(b"data/\xff\xfe", "bytes");
    let submodule = "5e1c309dae7f45e0f39b1bf3ac3cd9db12e7d689";
    tree.record("lib", submodule);
    let first = tree.commit("first");
    let check = async |tree: &WorkTree, patterns: &[&str], expected: &str| {
        let head = tree.git(&["rev-parse", "HEAD"]);
        let fixture = Fixture::new();
        let checkout = fixture.fetch(&tree.url(), &commit(&head)).await.unwrap();
        let changes = fixture
            .changes(&tree.url(), &checkout, "main", &since(&first), patterns)
            .await;
        assert_eq!(changes, found(expected), "{patterns:?}");
    };
    tree.git(&["update-index", "--chmod=+x", "run.sh"]);
    tree.git(&["commit", "-q", "-m", "executable"]);
    check(&tree, &["*.sh"], "run.sh").await;
    tree.write(b"data/\xff\xfe", "others");
    tree.git(&["add", "data"]);
    tree.git(&["commit", "-q", "-m", "bytes"]);
    check(&tree, &["data/"], "data/\u{fffd}\u{fffd}").await;
    tree.git(&["rm", "-q", "thing"]);
    tree.write("thing/inside", "a directory");
    tree.git(&["add", "thing"]);
    tree.git(&["commit", "-q", "-m", "kind"]);
    check(&tree, &["thing/"], "thing/inside").await;
    check(&tree, &["thing"], "thing").await;
    tree.record("lib", &submodule.replace('5', "6"));
    tree.git(&["commit", "-q", "-m", "submodule"]);
    for pattern in ["lib", "lib/", "lib/**"] {
        check(&tree, &[pattern], "lib").await;
    }
}

#[tokio::test]
async fn a_merge_is_compared_with_what_the_branch_was_before_it() {
    let (tree, server) = served().await;
    let first = monorepo(&tree);
    tree.git(&["checkout", "-q", "-b", "feature"]);
    tree.write("web/index.html", "changed there");
    tree.commit("feature");
    tree.git(&["checkout", "-q", "main"]);
    tree.write("docs/a.md", "changed here");
    let before = tree.commit("docs");
    tree.git(&["merge", "-q", "--no-ff", "-m", "merge", "feature"]);
    let merge = tree.git(&["rev-parse", "HEAD"]);
    for any_sha in ["true", "false"] {
        tree.git(&["config", "uploadpack.allowAnySHA1InWant", any_sha]);
        let fixture = Fixture::new();
        let checkout = fixture.fetch(&server.url(), &commit(&merge)).await.unwrap();
        let changes = async |old: &str, patterns: &[&str]| {
            fixture
                .changes(&server.url(), &checkout, "main", &since(old), patterns)
                .await
        };
        // The old commit is not there yet: it is fetched, once.
        assert_eq!(changes(&before, &["*"]).await, found("web/index.html"));
        let said = fixture.said.0.lock().unwrap().len();
        assert_eq!(changes(&before, &["docs/"]).await, Ok(Changes::NoMatch(1)));
        assert_eq!(fixture.said.0.lock().unwrap().len(), said, "nothing was fetched");
        assert_eq!(changes(&first, &["docs/"]).await, found("docs/a.md"));
    }
}

#[tokio::test]
async fn a_commit_that_was_pushed_away_is_compared_with_while_it_can_be_had() {
    let (tree, server) = served().await;
    let first = monorepo(&tree);
    tree.write("api/main.rs", "mistake");
    let mistake = tree.commit("mistake");
    let built = Fixture::new();
    built.fetch(&server.url(), &commit(&mistake)).await.unwrap();
    tree.git(&["reset", "-q", "--hard", &first]);
    tree.write("web/index.html", "better");
    let better = tree.commit("better");
    tree.git(&["reflog", "expire", "--expire=now", "--all"]);
    tree.git(&["gc", "-q", "--prune=now"]);
    // Whoever has built it has it still.
    let checkout = built.fetch(&server.url(), &commit(&better)).await.unwrap();
    let changes = built
        .changes(&server.url(), &checkout, "main", &since(&mistake), &["api/"])
        .await;
    assert_eq!(changes, found("api/main.rs"));
    for mood in [Mood::default(), Mood::RefusesHistory] {
        server.mood(mood);
        let fresh = Fixture::new();
        let checkout = fresh.fetch(&server.url(), &commit(&better)).await.unwrap();
        let changes = fresh
            .changes(&server.url(), &checkout, "main", &since(&mistake), &["api/"])
            .await;
        let gone = SourceError::CommitGone {
            commit: mistake.clone(),
        };
        assert_eq!(changes, Err(gone));
    }
}

#[tokio::test]
async fn a_new_branch_is_compared_with_where_it_left_the_default_branch() {
    let (tree, server) = served().await;
    for number in 0..10 {
        tree.commit(&format!("before {number}"));
    }
    monorepo(&tree);
    tree.git(&["checkout", "-q", "-b", "feature/login"]);
    tree.write("web/index.html", "changed");
    tree.commit("web");
    tree.write("docs/a.md", "changed");
    let tip = tree.commit("docs");
    tree.git(&["checkout", "-q", "main"]);
    tree.write("api/main.rs", "goes on");
    let main = tree.commit("api");
    for (url, any_sha) in [(server.url(), "true"), (server.url(), "false"), (tree.url(), "false")] {
        tree.git(&["config", "uploadpack.allowAnySHA1InWant", any_sha]);
        let fixture = Fixture::new();
        let checkout = fixture.fetch(&url, &commit(&tip)).await.unwrap();
        let changes = async |patterns: &[&str]| {
            fixture
                .changes(&url, &checkout, "feature/login", &Since::DefaultBranch, patterns)
                .await
        };
        assert_eq!(changes(&["web/"]).await, found("web/index.html"), "{url} {any_sha}");
        // What happened on the default branch since is no change of this one.
        assert_eq!(changes(&["api/"]).await, Ok(Changes::NoMatch(2)), "{url} {any_sha}");
        // The default branch itself left nothing.
        let checkout = fixture.fetch(&url, &commit(&main)).await.unwrap();
        let changes = fixture
            .changes(&url, &checkout, "main", &Since::DefaultBranch, &["*"])
            .await;
        assert_eq!(
            changes,
            Err(SourceError::Invalid("it is the default branch".to_owned()))
        );
    }
}

#[tokio::test]
async fn a_branch_point_is_looked_for_as_far_back_as_is_worth_it() {
    let (tree, server) = served().await;
    monorepo(&tree);
    tree.git(&["checkout", "-q", "-b", "long"]);
    tree.write("web/index.html", "changed");
    for number in 0..120 {
        tree.commit(&format!("{number}"));
    }
    let long = tree.git(&["rev-parse", "HEAD"]);
    tree.git(&["checkout", "-q", "--orphan", "alone"]);
    let alone = tree.commit("alone");
    let fixture = Fixture::new();
    let check = async |branch: &str, sha: &str| {
        let checkout = fixture.fetch(&server.url(), &commit(sha)).await.unwrap();
        tree.git(&["symbolic-ref", "HEAD", "refs/heads/main"]);
        let since = Since::DefaultBranch;
        fixture
            .changes(&server.url(), &checkout, branch, &since, &["web/"])
            .await
    };
    assert_eq!(check("long", &long).await, found("web/index.html"));
    let nothing = "no commit was found that the default branch has too".to_owned();
    assert_eq!(check("alone", &alone).await, Err(SourceError::Invalid(nothing)));
}

#[tokio::test]
async fn more_changes_than_anybody_looks_at_are_no_answer() {
    let (tree, _server) = served().await;
    let first = monorepo(&tree);
    // Four levels of twenty-two directories, all alike, with one file each at the bottom.
    let mut below = format!("100644 blob {}\tx\n", tree.blob(b"x"));
    for _ in 0..4 {
        let directory = tree.pipe(&["mktree"], below.as_bytes());
        below = (0..22).map(|n| format!("040000 tree {directory}\t{n:02}\n")).collect();
    }
    let bomb = tree.commit_tree(&below);
    let fixture = Fixture::new();
    let checkout = fixture.fetch(&tree.url(), &commit(&bomb)).await.unwrap();
    let changes = fixture
        .changes(&tree.url(), &checkout, "main", &since(&first), &["api/y"])
        .await;
    assert!(matches!(changes, Err(SourceError::TooLarge(_))), "{changes:?}");
}

#[tokio::test]
async fn a_comparison_ends_when_it_is_told_to() {
    let (tree, server) = served().await;
    let first = monorepo(&tree);
    let second = tree.commit("second");
    let fixture = Fixture::new();
    let checkout = fixture.fetch(&server.url(), &commit(&second)).await.unwrap();
    fixture.cancel.cancel();
    let changes = fixture
        .changes(&server.url(), &checkout, "main", &since(&first), &["*"])
        .await;
    assert_eq!(changes, Err(SourceError::Canceled));
}
