//! Submodules: where they are fetched from, how they show in a context, and what is refused.

use std::ops::ControlFlow;

use super::server::{Mood, Seen};
use super::*;
use crate::domain::context::{BuildContext, ContextPart, EntryKind, Selection};

/// Repositories beside each other on one server.
struct Host {
    directory: TempDir,
    server: GitServer,
}

impl Host {
    async fn new() -> Self {
        let directory = TempDir::new().unwrap();
        Self {
            server: GitServer::of(directory.path()).await,
            directory,
        }
    }

    /// A repository with a Dockerfile and a file named after it, to which more is to be committed.
    fn tree(&self, name: &str) -> WorkTree {
        let tree = WorkTree::within(self.directory.path(), name);
        tree.write("Dockerfile", format!("FROM scratch\n# {name}\n"));
        tree.write(format!("{name}.txt"), name);
        tree
    }

    /// A repository whose only commit is given back.
    fn repository(&self, name: &str) -> (WorkTree, String) {
        let tree = self.tree(name);
        let sha = tree.commit(name);
        (tree, sha)
    }

    fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.server.origin())
    }

    fn file_url(&self, name: &str) -> String {
        format!("file://{}/{name}", self.directory.path().display())
    }

    /// What was asked of one repository.
    fn seen(&self, name: &str) -> Vec<Seen> {
        let below = format!("/{name}/");
        let seen = self.server.seen().into_iter();
        seen.filter(|seen| seen.path.starts_with(&below)).collect()
    }
}

impl Fixture {
    async fn whole(&self, url: &str, sha: &str) -> Result<Checkout, SourceError> {
        self.whole_as(url, None, sha).await
    }

    /// Fetches a commit with its submodules.
    async fn whole_as(
        &self,
        url: &str,
        credentials: Option<GitCredentials>,
        sha: &str,
    ) -> Result<Checkout, SourceError> {
        let checkout = self.fetch_as(url, credentials.clone(), &commit(sha)).await?;
        let url = SourceUrl::parse(url, SourcePolicy { allow_local: true }).unwrap();
        let progress = Arc::clone(&self.said) as Arc<dyn Progress>;
        self.sources
            .fetch_submodules("repository", &url, credentials, checkout, progress, &self.cancel)
            .await
    }

    fn lines(&self, with: &str) -> Vec<String> {
        let said = self.said.0.lock().unwrap();
        said.lines()
            .filter(|line| line.contains(with))
            .map(str::to_owned)
            .collect()
    }
}

fn ada() -> Option<GitCredentials> {
    Some(GitCredentials {
        username: "ada".to_owned(),
        password: "secret".to_owned().into(),
    })
}

/// Paths with what is in the files; directories end with a slash.
fn listed(context: &GitContext, part: ContextPart, selection: &Selection) -> Vec<String> {
    let mut found = Vec::new();
    context
        .walk(part, selection, &mut |entry| {
            let path = String::from_utf8(entry.path).unwrap();
            found.push(match entry.kind {
                EntryKind::Directory => format!("{path}/"),
                EntryKind::File { size, .. } => {
                    let content = context.read(&entry.object).unwrap();
                    assert_eq!(content.len() as u64, size);
                    format!("{path}={}", String::from_utf8(content).unwrap().replace('\n', ""))
                }
                EntryKind::Symlink { target } => format!("{path}->{}", String::from_utf8(target).unwrap()),
            });
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

fn all(checkout: &Checkout) -> Vec<String> {
    let context = checkout.context("Dockerfile", "/").unwrap();
    let exclude = [".gitmodules", "**/.gitmodules", "**/Dockerfile"]
        .map(str::to_owned)
        .to_vec();
    let selection = Selection {
        exclude,
        ..Selection::default()
    };
    listed(&context, ContextPart::Context, &selection)
}

/// The error of a commit with one submodule, which is at this address.
async fn refusal(host: &Host, fixture: &Fixture, name: &str, url: &str) -> SourceError {
    let app = host.tree(name);
    app.submodule("lib", url, &"1".repeat(40));
    let sha = app.commit("a submodule");
    fixture.whole(&host.url(name), &sha).await.err().unwrap()
}

#[tokio::test]
async fn relative_absolute_and_nested_submodules_are_directories_like_any_other() {
    let (host, other, fixture) = (Host::new().await, Host::new().await, Fixture::new());
    let (_inner, inner) = host.repository("inner");
    let lib = host.tree("lib");
    lib.submodule("deep/inner", "../inner", &inner);
    let lib = lib.commit("lib");
    let (_far, far) = other.repository("far");
    let app = host.tree("app");
    // Git sorts the submodule as a file would be; a context has the slash before everything.
    app.write("lib.txt", "x");
    app.write("lib-x", "x");
    app.submodule("lib", "../lib", &lib);
    app.submodule("third party/far", &other.url("far"), &far);
    let sha = app.commit("app");
    let expected = [
        "app.txt=app",
        "lib/",
        "lib/deep/",
        "lib/deep/inner/",
        "lib/deep/inner/inner.txt=inner",
        "lib/lib.txt=lib",
        "lib-x=x",
        "lib.txt=x",
        "third party/",
        "third party/far/",
        "third party/far/far.txt=far",
    ];
    let checkout = fixture.whole(&host.url("app"), &sha).await.unwrap();
    assert_eq!(all(&checkout), expected);
    assert_eq!(checkout.left_out_submodules(), Vec::<String>::new());
    assert_eq!(
        fixture.lines("submodule"),
        [
            format!("Fetching submodule lib at {lib} from {}", host.url("lib")),
            format!("Fetching submodule third party/far at {far} from {}", other.url("far")),
            format!(
                "Fetching submodule lib/deep/inner at {inner} from {}",
                host.url("inner")
            ),
        ]
    );
}

#[tokio::test]
async fn sources_on_this_machine_have_submodules_too() {
    let (host, fixture) = (Host::new().await, Fixture::new());
    let (_lib, lib) = host.repository("lib");
    let app = host.tree("app");
    app.submodule("lib", "../lib", &lib);
    let sha = app.commit("app");
    let checkout = fixture.whole(&host.file_url("app"), &sha).await.unwrap();
    assert_eq!(all(&checkout), ["app.txt=app", "lib/", "lib/lib.txt=lib"]);
    assert!(host.server.seen().is_empty());
}

#[tokio::test]
async fn dockerfiles_contexts_patterns_and_links_reach_into_submodules() {
    let (host, fixture) = (Host::new().await, Fixture::new());
    let lib = host.tree("lib");
    lib.write("src/main.c", "c");
    lib.write("src/main.h", "h");
    lib.link("newest", "src");
    lib.link("up", "../app.txt");
    lib.link("Dockerfile.linked", "../Dockerfile");
    let lib = lib.commit("lib");
    let app = host.tree("app");
    app.submodule("lib", "../lib", &lib);
    app.link("Dockerfile.lib", "lib/Dockerfile");
    let sha = app.commit("app");
    let checkout = fixture.whole(&host.url("app"), &sha).await.unwrap();

    let dockerfile = |dockerfile: &str, context: &str| {
        let context = checkout.context(dockerfile, context).unwrap();
        let include = vec![context.dockerfile().to_owned()];
        let selection = Selection {
            include,
            ..Selection::default()
        };
        listed(&context, ContextPart::Dockerfile, &selection)
    };
    let of_lib = ["Dockerfile=FROM scratch# lib"];
    assert_eq!(dockerfile("lib/Dockerfile", "/"), of_lib);
    assert_eq!(dockerfile("lib", "/"), of_lib);
    assert_eq!(dockerfile("Dockerfile", "lib"), of_lib);
    assert_eq!(dockerfile("lib/Dockerfile", ""), of_lib);
    assert_eq!(dockerfile("Dockerfile.lib", "/"), of_lib);
    assert_eq!(
        dockerfile("lib/Dockerfile.linked", "/"),
        ["Dockerfile=FROM scratch# app"]
    );
    let error = checkout.context("lib/none", "/").err().unwrap();
    assert!(
        error.to_string().contains("there is no Dockerfile `lib/none`"),
        "{error}"
    );

    let context = checkout.context("../Dockerfile", "lib/src").unwrap();
    let everything = Selection::default();
    assert_eq!(
        listed(&context, ContextPart::Context, &everything),
        ["main.c=c", "main.h=h"]
    );

    let context = checkout.context("Dockerfile", "/").unwrap();
    let select = |include: &[&str], exclude: &[&str], follow: &[&str]| {
        let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let selection = Selection {
            include: strings(include),
            exclude: strings(exclude),
            follow: strings(follow),
        };
        listed(&context, ContextPart::Context, &selection)
    };
    assert_eq!(
        select(&[], &["lib", "Docker*", ".git*"], &[]),
        ["app.txt=app"],
        "a submodule can be left out whole"
    );
    assert_eq!(
        select(&[], &["*", "!lib/src/*.h"], &[]),
        ["lib/", "lib/src/", "lib/src/main.h=h"]
    );
    assert_eq!(select(&["lib/*.txt"], &[], &[]), ["lib/", "lib/lib.txt=lib"]);
    assert_eq!(
        select(&[], &[], &["lib/newest/main.c"]),
        ["lib/", "lib/newest->src", "lib/src/", "lib/src/main.c=c"]
    );
    assert_eq!(
        select(&[], &[], &["lib/up"]),
        ["app.txt=app", "lib/", "lib/up->../app.txt"]
    );
}

#[tokio::test]
async fn the_sources_credentials_are_for_its_own_host_alone() {
    let (host, other, fixture) = (Host::new().await, Host::new().await, Fixture::new());
    host.server.demand("ada", "secret");
    let (_lib, lib) = host.repository("lib");
    let far = other.tree("far");
    // From another host back to the source's own.
    far.submodule("lib", &host.url("lib"), &lib);
    let far = far.commit("far");
    let app = host.tree("app");
    app.submodule("lib", "../lib", &lib);
    app.submodule("far", &other.url("far"), &far);
    let sha = app.commit("app");
    fixture.whole_as(&host.url("app"), ada(), &sha).await.unwrap();
    let sent = host.seen("lib");
    assert!(!sent.is_empty() && sent.iter().all(|seen| seen.authorization.is_some()));
    let sent = other.server.seen();
    assert!(!sent.is_empty() && sent.iter().all(|seen| seen.authorization.is_none()));
    assert!(fixture.lines("secret").is_empty());
}

#[tokio::test]
async fn a_submodule_without_access_is_named_with_what_to_do() {
    let (host, other, fixture) = (Host::new().await, Host::new().await, Fixture::new());
    let (_far, far) = other.repository("far");
    let app = host.tree("app");
    app.submodule("vendor/far", &other.url("far"), &far);
    let sha = app.commit("app");
    other.server.demand("ada", "other");
    let error = fixture.whole_as(&host.url("app"), ada(), &sha).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "submodule `vendor/far` ({}): the git server asks for credentials: the repository is private or does not \
             exist; the source's credentials are for its own host alone, so make it public, or switch the source's \
             submodules off",
            other.url("far")
        )
    );
    assert!(matches!(error, SourceError::Auth(_)) && !error.retryable());

    let none = refusal(&host, &fixture, "none", "../missing").await.to_string();
    assert!(
        none.contains("no such repository") && none.contains("store credentials with the source"),
        "{none}"
    );

    let busy = Host::new().await;
    busy.server.mood(Mood::Answers(503));
    let error = refusal(&host, &fixture, "waits", &busy.url("lib")).await;
    assert!(
        error.retryable() && error.to_string().contains("submodule `lib`"),
        "{error}"
    );
}

#[tokio::test]
async fn every_address_passes_the_gate() {
    let (host, fixture) = (Host::new().await, Fixture::new());
    let secret = host.file_url("secret");
    for (number, (url, expected)) in [
        (secret.as_str(), "on this machine"),
        ("/srv/secret", "not a URL"),
        ("ext::sh -c id", "white space"),
        ("ext::id", "`ext`"),
        ("git://example.com/lib", "`git`"),
        ("http://example.com/lib", "`http`"),
        ("https://10.0.0.1/lib", "a private address"),
        ("https://169.254.169.254/latest", "a link-local address"),
        ("https://[fd00::1]/lib", "a private address"),
        ("git@10.0.0.1:lib", "a private address"),
        ("https://ada:hidden@example.com/lib", "user name or password"),
        ("../../../example.com/lib", "above the root"),
        ("-ulib", "not a URL"),
    ]
    .into_iter()
    .enumerate()
    {
        let error = refusal(&host, &fixture, &format!("app{number}"), url).await;
        assert!(matches!(&error, SourceError::Invalid(_)), "{url}: {error:?}");
        let text = error.to_string();
        assert!(
            text.contains("submodule `lib`") && text.contains(expected),
            "{url}: {text}"
        );
        assert!(!text.contains("hidden"), "{text}");
    }
}

#[tokio::test]
async fn addresses_for_ssh_are_tried_over_https_and_that_is_said() {
    let (host, fixture) = (Host::new().await, Fixture::new());
    // An address that is refused before it is connected to.
    let error = refusal(&host, &fixture, "app", "git@10.0.0.1:o/lib.git").await;
    assert!(
        error
            .to_string()
            .contains("submodule `lib` (https://10.0.0.1/o/lib.git)"),
        "{error}"
    );
    assert_eq!(
        fixture.lines("https://10.0.0.1"),
        [format!(
            "Fetching submodule lib at {} from https://10.0.0.1/o/lib.git (in place of git@10.0.0.1:o/lib.git)",
            "1".repeat(40)
        )]
    );
}

#[tokio::test]
async fn a_commit_that_is_gone_is_not_replaced_by_another() {
    let (host, fixture) = (Host::new().await, Fixture::new());
    host.repository("lib");
    let error = refusal(&host, &fixture, "app", "../lib").await;
    assert_eq!(
        error.to_string(),
        format!(
            "submodule `lib` ({}): commit {} is not on the server: it was never pushed there, or force-pushed away; \
             record another commit, or switch the source's submodules off",
            host.url("lib"),
            "1".repeat(40)
        )
    );
    assert!(!error.retryable());
}

#[tokio::test]
async fn a_submodule_must_be_declared_at_its_very_path() {
    let (host, fixture) = (Host::new().await, Fixture::new());
    let (_lib, lib) = host.repository("lib");
    for (number, declared) in ["", "lib/", "./lib", "../lib", "x/../lib", "Lib", "/lib"]
        .into_iter()
        .enumerate()
    {
        let name = format!("app{number}");
        let app = host.tree(&name);
        if !declared.is_empty() {
            app.write(
                ".gitmodules",
                format!("[submodule \"lib\"]\npath = {declared}\nurl = ../lib\n"),
            );
        }
        app.record("lib", &lib);
        let sha = app.commit("app");
        let error = fixture.whole(&host.url(&name), &sha).await.err().unwrap();
        assert_eq!(
            error.to_string(),
            "no url for submodule path `lib` in .gitmodules; add it, or switch the source's submodules off",
            "{declared}"
        );
    }
    assert!(host.seen("lib").is_empty());
}

#[tokio::test]
async fn nothing_that_gitmodules_says_beyond_path_and_url_does_anything() {
    let (host, fixture) = (Host::new().await, Fixture::new());
    let (_lib, lib) = host.repository("lib");
    let app = host.tree("app");
    let outside = TempDir::new().unwrap();
    let (touched, included) = (outside.path().join("touched"), outside.path().join("included"));
    std::fs::write(&included, "[submodule \"lib\"]\nurl = ../elsewhere\n").unwrap();
    let (touched, included) = (touched.display(), included.display());
    app.write(
        ".gitmodules",
        format!(
            "[submodule \"../../x\"]\npath = lib\nurl = ../lib\nupdate = !touch {touched}\n\
             [submodule \"outside\"]\npath = ../../outside\nurl = ../nowhere\n\
             [include]\npath = {included}\n[core]\nfsmonitor = touch {touched}\nsshCommand = touch {touched}\n"
        ),
    );
    app.record("lib", &lib);
    let sha = app.commit("app");
    let checkout = fixture.whole(&host.url("app"), &sha).await.unwrap();
    assert_eq!(all(&checkout), ["app.txt=app", "lib/", "lib/lib.txt=lib"]);
    assert!(!outside.path().join("touched").exists());
    assert!(host.seen("nowhere").is_empty() && host.seen("elsewhere").is_empty());
}

#[tokio::test]
async fn an_unreadable_gitmodules_is_said_to_be_one() {
    let (host, fixture) = (Host::new().await, Fixture::new());
    let (_lib, lib) = host.repository("lib");
    let large = "\n".repeat((1 << 20) + 1);
    for (name, path, content, expected) in [
        ("bad", ".gitmodules", "<html>", "line 1 of .gitmodules"),
        ("directory", ".gitmodules/x", "x", "not a regular file"),
        ("large", ".gitmodules", &large, "larger than 1 MiB"),
    ] {
        let app = host.tree(name);
        app.write(path, content);
        app.record("lib", &lib);
        let sha = app.commit("app");
        let error = fixture.whole(&host.url(name), &sha).await.err().unwrap();
        assert!(
            matches!(&error, SourceError::Invalid(text) if text.contains(expected)),
            "{name}: {error:?}"
        );
    }
    // Git would neither make such a tree nor give it out over the network.
    let app = host.tree("linked");
    let target = app.blob(b"app.txt");
    let sha = app.commit_tree(&format!(
        "120000 blob {target}\t.gitmodules\n160000 commit {lib}\tlib\n"
    ));
    let error = fixture.whole(&host.file_url("linked"), &sha).await.err().unwrap();
    assert!(error.to_string().contains("not a regular file"), "{error}");
}

#[tokio::test]
async fn a_submodule_at_gits_own_place_is_refused() {
    let (host, fixture) = (Host::new().await, Fixture::new());
    let (_lib, lib) = host.repository("lib");
    let app = host.tree("app");
    let modules = app.blob(b"[submodule \"x\"]\npath = .GIT\nurl = ../lib\n");
    let sha = app.commit_tree(&format!(
        "100644 blob {modules}\t.gitmodules\n160000 commit {lib}\t.GIT\n"
    ));
    // Git would not even give such a tree out over the network.
    let error = fixture.whole(&host.file_url("app"), &sha).await.err().unwrap();
    assert!(error.to_string().contains("where git keeps its own files"), "{error}");
}

#[tokio::test]
async fn a_repository_that_holds_itself_ends_with_its_first_commit() {
    let (host, fixture) = (Host::new().await, Fixture::new());
    let app = host.tree("app");
    let mut sha = app.commit("first");
    for number in 0..2 {
        app.write("number", number.to_string());
        if number == 0 {
            app.submodule("me", "../app", &sha);
        } else {
            app.record("me", &sha);
        }
        sha = app.commit("with myself");
    }
    let checkout = fixture.whole(&host.url("app"), &sha).await.unwrap();
    assert_eq!(
        all(&checkout),
        [
            "app.txt=app",
            "me/",
            "me/app.txt=app",
            "me/me/",
            "me/me/app.txt=app",
            "me/number=0",
            "number=1"
        ]
    );
    for number in 2..11 {
        app.write("number", number.to_string());
        app.record("me", &sha);
        sha = app.commit("deeper");
    }
    let error = fixture.whole(&host.url("app"), &sha).await.err().unwrap();
    assert!(
        error.to_string().contains("nested deeper than 10 submodules"),
        "{error}"
    );
}

#[tokio::test]
async fn the_same_submodule_at_many_places_is_fetched_once_and_there_is_an_end_to_them() {
    let (host, fixture) = (Host::new().await, Fixture::new());
    let (_lib, lib) = host.repository("lib");
    let app = host.tree("app");
    for number in 0..100 {
        app.submodule(&format!("lib{number:03}"), "../lib", &lib);
    }
    let sha = app.commit("a hundred");
    let checkout = fixture.whole(&host.url("app"), &sha).await.unwrap();
    let found = all(&checkout);
    assert_eq!(found.len(), 201);
    assert_eq!(found.last().unwrap(), "lib099/lib.txt=lib");
    assert_eq!(host.seen("lib").iter().filter(|seen| seen.method == "GET").count(), 1);
    app.submodule("one-more", "../lib", &lib);
    let sha = app.commit("one too many");
    let error = fixture.whole(&host.url("app"), &sha).await.err().unwrap();
    assert!(
        matches!(&error, SourceError::TooLarge(text) if text.contains("more than 100 submodules")),
        "{error:?}"
    );
}

#[tokio::test]
async fn what_is_not_fetched_is_an_empty_directory() {
    let (host, fixture) = (Host::new().await, Fixture::new());
    let (_lib, lib) = host.repository("lib");
    let app = host.tree("app");
    app.submodule("lib", "../lib", &lib);
    app.submodule("quiet", "../quiet", &"1".repeat(40));
    app.git(&["config", "-f", ".gitmodules", "submodule.quiet.update", "none"]);
    let sha = app.commit("app");
    let off = fixture.fetch(&host.url("app"), &commit(&sha)).await.unwrap();
    assert_eq!(all(&off), ["app.txt=app", "lib/", "quiet/"]);
    assert_eq!(off.left_out_submodules(), ["lib", "quiet"]);
    assert!(host.seen("lib").is_empty());
    // Git leaves `update = none` out as well.
    let on = fixture.whole(&host.url("app"), &sha).await.unwrap();
    assert_eq!(all(&on), ["app.txt=app", "lib/", "lib/lib.txt=lib", "quiet/"]);
    assert_eq!(on.left_out_submodules(), ["quiet"]);
    assert!(host.seen("quiet").is_empty());
    assert_eq!(fixture.lines("update = none").len(), 1);
    // A context that was made without them is not changed by those made with them.
    assert_eq!(all(&off), ["app.txt=app", "lib/", "quiet/"]);
}

#[tokio::test]
async fn the_second_fetch_takes_only_what_is_new() {
    let (host, fixture) = (Host::new().await, Fixture::new());
    let lib = host.tree("lib");
    let noise: Vec<u8> = (0..200_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    lib.write("noise", &noise);
    let first = lib.commit("first");
    lib.write("small", "small");
    let second = lib.commit("second");
    let app = host.tree("app");
    app.submodule("lib", "../lib", &first);
    let old = app.commit("old");
    app.record("lib", &second);
    app.write("app.txt", "newer");
    let new = app.commit("new");
    fixture.whole(&host.url("app"), &old).await.unwrap();
    let sent = host.server.sent();
    let requests = host.server.seen().len();
    fixture.whole(&host.url("app"), &old).await.unwrap();
    assert_eq!(host.server.seen().len(), requests, "what is there costs no network");
    let checkout = fixture.whole(&host.url("app"), &new).await.unwrap();
    let sent_again = host.server.sent();
    assert!(sent_again * 5 < sent, "{sent_again} of {sent}");
    let context = checkout.context("Dockerfile", "/").unwrap();
    let selection = Selection {
        include: vec!["lib/small".to_owned()],
        ..Selection::default()
    };
    assert_eq!(
        listed(&context, ContextPart::Context, &selection),
        ["lib/", "lib/small=small"]
    );
}

#[tokio::test]
async fn limits_count_over_all_submodules_together() {
    let (host, fixture) = (
        Host::new().await,
        Fixture::with(|config| config.max_fetch_bytes = 1 << 20),
    );
    let app = host.tree("app");
    let mut state = 1_u64;
    for name in ["one", "two"] {
        let lib = host.tree(name);
        let noise: Vec<u8> = (0..700_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        lib.write("noise", noise);
        app.submodule(name, &format!("../{name}"), &lib.commit("noise"));
    }
    let sha = app.commit("app");
    let error = fixture.whole(&host.url("app"), &sha).await.err().unwrap();
    assert!(
        matches!(&error, SourceError::TooLarge(text) if text.contains("submodule `two`") && text.contains("1 MiB")),
        "{error:?}"
    );
}

#[tokio::test]
async fn canceling_ends_a_submodules_fetch() {
    let (host, other, fixture) = (Host::new().await, Host::new().await, Fixture::new());
    let (_far, far) = other.repository("far");
    let app = host.tree("app");
    app.submodule("far", &other.url("far"), &far);
    let sha = app.commit("app");
    other.server.mood(Mood::Stalls);
    let url = host.url("app");
    let cancel = async {
        other.server.stalling().await;
        fixture.cancel.cancel();
    };
    let (result, ()) = tokio::join!(fixture.whole(&url, &sha), cancel);
    assert_eq!(result.err(), Some(SourceError::Canceled));
}

#[tokio::test]
async fn a_broken_submodules_mirror_is_made_afresh() {
    let (host, fixture) = (Host::new().await, Fixture::new());
    let (_lib, lib) = host.repository("lib");
    let app = host.tree("app");
    app.submodule("lib", "../lib", &lib);
    let sha = app.commit("app");
    let whole = fixture.whole(&host.url("app"), &sha).await.unwrap();
    let packs = fixture.files(|path| {
        let in_submodule = path.components().any(|part| part.as_os_str() == "submodules");
        in_submodule && path.extension().is_some_and(|extension| extension == "pack")
    });
    assert_eq!(packs.len(), 1);
    drop(whole);
    std::fs::remove_file(&packs[0]).unwrap();
    let whole = fixture.whole(&host.url("app"), &sha).await.unwrap();
    assert_eq!(all(&whole), ["app.txt=app", "lib/", "lib/lib.txt=lib"]);
}

#[tokio::test]
async fn submodules_mirrors_are_removed_with_the_repositorys() {
    let (host, fixture) = (Host::new().await, Fixture::new());
    let (_lib, lib) = host.repository("lib");
    let app = host.tree("app");
    app.submodule("lib", "../lib", &lib);
    let sha = app.commit("app");
    let checkout = fixture.whole(&host.url("app"), &sha).await.unwrap();
    let context = checkout.context("Dockerfile", "lib").unwrap();
    drop(checkout);
    assert_eq!(fixture.sources.remove_mirrors_but(&[]).await.unwrap(), 0);
    drop(context);
    assert_eq!(fixture.sources.remove_mirrors_but(&[]).await.unwrap(), 1);
    assert_eq!(fixture.disk_usage(), 0);
    let checkout = fixture.whole(&host.url("app"), &sha).await.unwrap();
    assert_eq!(all(&checkout).len(), 3);
}
