//! What a build context holds, and where it is.

use std::ops::ControlFlow;

use super::*;
use crate::domain::context::{BuildContext, ContextError, ContextPart, Entry, EntryKind, Selection};

/// Commits what is in the work tree and fetches it.
async fn checked_out(tree: &WorkTree, fixture: &Fixture) -> Checkout {
    let sha = tree.commit("test");
    fixture.fetch(&tree.url(), &commit(&sha)).await.unwrap()
}

fn walk(context: &GitContext, part: ContextPart, selection: &Selection) -> Result<Vec<Entry>, ContextError> {
    let mut entries = Vec::new();
    context.walk(part, selection, &mut |entry| {
        entries.push(entry);
        ControlFlow::Continue(())
    })?;
    Ok(entries)
}

fn paths(context: &GitContext, selection: &Selection) -> Vec<String> {
    walk(context, ContextPart::Context, selection)
        .unwrap()
        .into_iter()
        .map(|entry| String::from_utf8(entry.path).unwrap())
        .collect()
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn every_kind_of_entry_comes_as_it_is() {
    let (tree, fixture) = (WorkTree::new(), Fixture::new());
    let (text, script, target) = (
        tree.blob(b"text\n"),
        tree.blob(b"#!/bin/sh\n"),
        tree.blob(b"../../etc/passwd"),
    );
    let inner = tree.pipe(&["mktree"], format!("100644 blob {text}\tfile\n").as_bytes());
    let sub = "1".repeat(40);
    let sha = tree.commit_tree(&format!(
        "100644 blob {text}\tDockerfile\n100755 blob {script}\trun.sh\n120000 blob {target}\tlink\n\
         040000 tree {inner}\tdir\n160000 commit {sub}\tvendor\n"
    ));
    let checkout = fixture.fetch(&tree.url(), &commit(&sha)).await.unwrap();
    assert_eq!(checkout.left_out_submodules(), ["vendor"]);
    let context = checkout.context("Dockerfile", "/").unwrap();
    assert_eq!(context.modified(), git::COMMITTED_AT);
    let entries = walk(&context, ContextPart::Context, &Selection::default()).unwrap();
    let file = |size, executable| EntryKind::File { size, executable };
    let kinds: Vec<(&str, EntryKind)> = entries
        .iter()
        .map(|entry| (std::str::from_utf8(&entry.path).unwrap(), entry.kind.clone()))
        .collect();
    assert_eq!(
        kinds,
        [
            ("Dockerfile", file(5, false)),
            ("dir", EntryKind::Directory),
            ("dir/file", file(5, false)),
            (
                "link",
                EntryKind::Symlink {
                    target: b"../../etc/passwd".to_vec()
                }
            ),
            ("run.sh", file(10, true)),
            ("vendor", EntryKind::Directory),
        ]
    );
    assert_eq!(context.read(&entries[2].object).unwrap(), b"text\n");
    assert_eq!(context.read(&entries[4].object).unwrap(), b"#!/bin/sh\n");
    // A directory's and an unknown object's content cannot be had.
    assert!(matches!(
        context.read(&entries[1].object),
        Err(ContextError::Invalid(_))
    ));
    assert!(matches!(context.read(&[7; 20]), Err(ContextError::Unreadable(_))));
}

#[tokio::test]
async fn siblings_come_in_byte_order_with_the_slash_before_everything() {
    let (tree, fixture) = (WorkTree::new(), Fixture::new());
    // Git itself would sort `a.b` before the directory `a`.
    for path in [
        "a/x",
        "a-b",
        "a.b",
        "a0",
        "Dockerfile",
        "B",
        "ab/c",
        "a/y/z",
        "a/y-",
        "_",
    ] {
        tree.write(path, path);
    }
    let context = checked_out(&tree, &fixture).await.context("Dockerfile", "/").unwrap();
    assert_eq!(
        paths(&context, &Selection::default()),
        [
            "B",
            "Dockerfile",
            "_",
            "a",
            "a/x",
            "a/y",
            "a/y/z",
            "a/y-",
            "a-b",
            "a.b",
            "a0",
            "ab",
            "ab/c"
        ]
    );
}

#[tokio::test]
async fn ten_thousand_files_come_in_order_and_in_no_time() {
    let (tree, fixture) = (WorkTree::new(), Fixture::new());
    let blob = tree.blob(b"x");
    let lines = |range: std::ops::Range<u32>| -> String {
        range
            .map(|number| format!("100644 blob {blob}\tf{number:05}.txt\n"))
            .collect()
    };
    let mut root = format!("100644 blob {blob}\tDockerfile\n");
    for directory in 0..100 {
        let inner = tree.pipe(&["mktree"], lines(directory * 100..directory * 100 + 100).as_bytes());
        root.push_str(&format!("040000 tree {inner}\td{directory}\n"));
    }
    let sha = tree.commit_tree(&root);
    let checkout = fixture.fetch(&tree.url(), &commit(&sha)).await.unwrap();
    let context = checkout.context("Dockerfile", "/").unwrap();
    let entries = walk(&context, ContextPart::Context, &Selection::default()).unwrap();
    assert_eq!(entries.len(), 10_101);
    let key = |entry: &Entry| {
        entry
            .path
            .split(|byte| *byte == b'/')
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>()
    };
    assert!(entries.is_sorted_by_key(key));
    let mut seen = 0;
    let enough = &mut |_: Entry| {
        seen += 1;
        if seen == 7 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    context
        .walk(ContextPart::Context, &Selection::default(), enough)
        .unwrap();
    assert_eq!(seen, 7);
}

#[tokio::test]
async fn names_that_are_not_utf_8_come_byte_for_byte() {
    let (tree, fixture) = (WorkTree::new(), Fixture::new());
    tree.write("Dockerfile", "FROM scratch\n");
    tree.write(b"caf\xe9/\xff\xfe", "x");
    tree.write("new\nline", "x");
    let context = checked_out(&tree, &fixture).await.context("Dockerfile", "/").unwrap();
    let found: Vec<Vec<u8>> = walk(&context, ContextPart::Context, &Selection::default())
        .unwrap()
        .into_iter()
        .map(|entry| entry.path)
        .collect();
    assert_eq!(
        found,
        [&b"Dockerfile"[..], b"caf\xe9", b"caf\xe9/\xff\xfe", b"new\nline"]
    );
    let selection = Selection {
        exclude: strings(&["caf?/*", "new*"]),
        ..Selection::default()
    };
    assert_eq!(walk(&context, ContextPart::Context, &selection).unwrap().len(), 2);
}

#[tokio::test]
async fn selections_choose_as_dockers_own_do() {
    let (tree, fixture) = (WorkTree::new(), Fixture::new());
    for path in [
        "Dockerfile",
        "README.md",
        "src/main.go",
        "src/lib/a.go",
        "src/lib/a_test.go",
        "docs/a.md",
        "docs/keep/b.md",
        "node_modules/x/index.js",
        "empty/only.tmp",
    ] {
        tree.write(path, path);
    }
    let context = checked_out(&tree, &fixture).await.context("Dockerfile", "/").unwrap();
    let check = |include: &[&str], exclude: &[&str], expected: &[&str]| {
        let selection = Selection {
            include: strings(include),
            exclude: strings(exclude),
            follow: Vec::new(),
        };
        assert_eq!(
            paths(&context, &selection),
            expected,
            "include {include:?} exclude {exclude:?}"
        );
    };
    check(&["src/main.go"], &[], &["src", "src/main.go"]);
    check(
        &["src"],
        &["**/*_test.go"],
        &["src", "src/lib", "src/lib/a.go", "src/main.go"],
    );
    check(
        &["**/*.md"],
        &[],
        &["README.md", "docs", "docs/a.md", "docs/keep", "docs/keep/b.md"],
    );
    check(&["nothing", "docs/nothing"], &[], &[]);
    check(&["docs", "!docs/a.md"], &[], &["docs", "docs/keep", "docs/keep/b.md"]);
    check(
        &[],
        &["node_modules", "docs", "!docs/keep", "**/*.go", "empty/*"],
        &[
            "Dockerfile",
            "README.md",
            "docs",
            "docs/keep",
            "docs/keep/b.md",
            "empty",
            "src",
            "src/lib",
        ],
    );
    check(&[], &["*", "!src/lib/a.go"], &["src", "src/lib", "src/lib/a.go"]);
    check(
        &[],
        &["**", "!**/*.md"],
        &["README.md", "docs", "docs/a.md", "docs/keep", "docs/keep/b.md"],
    );
    check(
        &["src"],
        &["src/lib", "!src/lib/a.go"],
        &["src", "src/lib", "src/lib/a.go", "src/main.go"],
    );
    check(&["Dockerfile", "missing"], &["Dockerfile"], &[]);
    let malformed = Selection {
        exclude: strings(&["[a"]),
        ..Selection::default()
    };
    let error = walk(&context, ContextPart::Context, &malformed).unwrap_err();
    assert!(
        matches!(&error, ContextError::Invalid(text) if text.contains("`[a`")),
        "{error:?}"
    );
}

#[tokio::test]
async fn followed_paths_bring_what_their_links_lead_to() {
    let (tree, fixture) = (WorkTree::new(), Fixture::new());
    for path in [
        "Dockerfile",
        "v2/app",
        "v2/conf",
        "other/x",
        "top",
        "odd*name/x",
        "plain/y",
    ] {
        tree.write(path, path);
    }
    tree.link("current", "v2");
    tree.link("newest", "current");
    tree.link("v2/up", "../other/x");
    tree.link("links/a", "/top");
    tree.link("links/outside", "../../../../top");
    tree.link("links/nowhere", "/etc/passwd");
    tree.link("loop-a", "loop-b");
    tree.link("loop-b", "loop-a");
    tree.link("odd", "odd*name");
    tree.link("root", "/");
    let context = checked_out(&tree, &fixture).await.context("Dockerfile", "/").unwrap();
    let all = paths(&context, &Selection::default());
    let check = |follow: &[&str], expected: &[&str]| {
        let selection = Selection {
            follow: strings(follow),
            ..Selection::default()
        };
        assert_eq!(paths(&context, &selection), expected, "{follow:?}");
    };
    check(&["plain/y"], &["plain", "plain/y"]);
    check(&["current/app"], &["current", "v2", "v2/app"]);
    check(
        &["newest/app", "/newest/conf"],
        &["current", "newest", "v2", "v2/app", "v2/conf"],
    );
    check(&["current/up"], &["current", "other", "other/x", "v2", "v2/up"]);
    check(&["links/a"], &["links", "links/a", "top"]);
    check(&["links/out*"], &["links", "links/outside", "top"]);
    check(&["links/nowhere"], &["links", "links/nowhere"]);
    check(&["loop-a"], &["loop-a", "loop-b"]);
    check(&["loop-a/x/y"], &["loop-a", "loop-b"]);
    check(&["odd"], &["odd", "odd*name", "odd*name/x"]);
    check(&["missing", "../../plain"], &["plain", "plain/y"]);
    check(&["plain/y/below"], &[]);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    check(&["."], &all);
    check(&["root"], &all);
    check(&["/", "plain"], &all);
}

#[tokio::test]
async fn context_and_dockerfile_are_found_where_the_rule_says() {
    let (tree, fixture) = (WorkTree::new(), Fixture::new());
    for path in [
        "Dockerfile",
        "app/Dockerfile",
        "app/docker/web.Dockerfile",
        "app/src/x",
        "shared/y",
    ] {
        tree.write(path, path);
    }
    let checkout = checked_out(&tree, &fixture).await;
    let check = |dockerfile: &str, context: &str, file: &str, directory: &[&str], inside: &[&str]| {
        let found = checkout.context(dockerfile, context).unwrap();
        assert_eq!(found.dockerfile(), file);
        let beside = walk(&found, ContextPart::Dockerfile, &Selection::default()).unwrap();
        let beside: Vec<String> = beside.into_iter().map(|e| String::from_utf8(e.path).unwrap()).collect();
        assert_eq!(beside, directory, "beside {dockerfile:?}");
        assert_eq!(paths(&found, &Selection::default()), inside, "in {context:?}");
    };
    let app = ["Dockerfile", "docker", "docker/web.Dockerfile", "src", "src/x"];
    check("Dockerfile", "/app", "Dockerfile", &app, &app);
    check("app", "", "Dockerfile", &app, &app);
    check(
        "docker/web.Dockerfile",
        "app",
        "web.Dockerfile",
        &["web.Dockerfile"],
        &app,
    );
    check(
        "../app/docker/web.Dockerfile",
        "shared",
        "web.Dockerfile",
        &["web.Dockerfile"],
        &["y"],
    );
}

#[tokio::test]
async fn what_is_not_where_the_rule_says_is_explained() {
    let (tree, fixture) = (WorkTree::new(), Fixture::new());
    for path in [
        "app/dockerfile",
        "app/web.Dockerfile",
        "app/main.go",
        "Dockerfile/inner",
    ] {
        tree.write(path, path);
    }
    tree.link("linked", "app");
    tree.link("to-directory", "app");
    tree.link("dangling", "app/gone");
    tree.link("loop", "loop");
    tree.link("passwd", "../../../../../../etc/passwd");
    tree.link("absolute", "/etc/passwd");
    let sub = format!("160000,{},vendor", "1".repeat(40));
    tree.git(&["update-index", "--add", "--cacheinfo", &sub]);
    tree.git(&[
        "add",
        "app",
        "Dockerfile",
        "linked",
        "to-directory",
        "dangling",
        "loop",
        "passwd",
        "absolute",
    ]);
    tree.git(&["commit", "-q", "-m", "test"]);
    let sha = tree.git(&["rev-parse", "HEAD"]);
    let checkout = fixture.fetch(&tree.url(), &commit(&sha)).await.unwrap();
    let check = |dockerfile: &str, context: &str, words: &str| {
        let error = checkout.context(dockerfile, context).err().unwrap();
        assert!(matches!(error, SourceError::Location(_)), "{error:?}");
        assert!(!error.retryable());
        assert!(error.to_string().contains(words), "{dockerfile:?} {context:?}: {error}");
        assert!(!error.to_string().contains("root:"), "{error}");
    };
    let missing = format!(
        "there is no Dockerfile `app/Dockerfile` in commit {sha}; there is `app/dockerfile`, `app/web.Dockerfile`"
    );
    check("Dockerfile", "app", &missing);
    check("app/", "/", &missing);
    check("nowhere/x/Dockerfile", "/", "; there is no directory `nowhere`");
    check("app/main.go/Dockerfile", "/", "; `app/main.go` is a file");
    check(
        "linked/web.Dockerfile",
        "/",
        "; `linked` is a symbolic link, which is not followed",
    );
    check("vendor/Dockerfile", "/", "; `vendor` is a submodule");
    check("vendor", "/", "is a submodule");
    check("app/main.go", "nowhere", "there is no Dockerfile `nowhere/app/main.go`");
    check("../app/main.go", "nowhere", "there is no build context `nowhere`");
    check("../app/main.go", "app/none", "there is no Dockerfile `app/app/main.go`");
    check("main.go", "app/main.go", "`app/main.go` is a file");
    check(
        "../app/main.go",
        "linked",
        "the build context `linked` is a symbolic link",
    );
    check("../app/main.go", "vendor", "is a submodule");
    check("to-directory", "/", "leads to a directory");
    check(
        "dangling",
        "/",
        "is a symbolic link to `app/gone`, which is not in commit",
    );
    check("loop", "/", "through more than");
    check("passwd", "/", "leaves the repository");
    check("absolute", "/", "leaves the repository");
    check("../..", "/", "leaves the repository");
    check("Dockerfile", "..", "leaves the repository");
    check("a\0b", "/", "NUL");
    check("", "", "the Dockerfile location `Dockerfile` leads to a directory");
}

#[tokio::test]
async fn a_linked_dockerfile_is_the_file_that_it_leads_to() {
    let (tree, fixture) = (WorkTree::new(), Fixture::new());
    tree.write("docker/base.Dockerfile", "FROM scratch\n");
    tree.link("app/Dockerfile", "../docker/prod");
    tree.link("docker/prod", "./base.Dockerfile");
    let context = checked_out(&tree, &fixture).await.context("Dockerfile", "app").unwrap();
    assert_eq!(context.dockerfile(), "base.Dockerfile");
    let selection = Selection {
        include: strings(&["base.Dockerfile"]),
        ..Selection::default()
    };
    let entries = walk(&context, ContextPart::Dockerfile, &selection).unwrap();
    assert_eq!(context.read(&entries[0].object).unwrap(), b"FROM scratch\n");
    assert_eq!(paths(&context, &Selection::default()), ["Dockerfile"]);
}

#[tokio::test]
async fn a_file_over_the_limit_fails_the_walk_unless_it_is_left_out() {
    let tree = WorkTree::new();
    tree.write("Dockerfile", "FROM scratch\n");
    tree.write("big", vec![0; 2_000]);
    let sha = tree.commit("big");
    let fixture = Fixture::with(|config| config.max_file_bytes = 1_000);
    let context = fixture
        .fetch(&tree.url(), &commit(&sha))
        .await
        .unwrap()
        .context("Dockerfile", "/")
        .unwrap();
    let error = walk(&context, ContextPart::Context, &Selection::default()).unwrap_err();
    assert_eq!(error.to_string(), "the file `big` has 2000 bytes; 1000 are allowed");
    let selection = Selection {
        exclude: strings(&["big"]),
        ..Selection::default()
    };
    assert_eq!(paths(&context, &selection), ["Dockerfile"]);
    let mut object = [0; 20];
    object.copy_from_slice(&hex::decode(tree.git(&["rev-parse", "HEAD:big"])).unwrap());
    assert!(matches!(context.read(&object), Err(ContextError::Invalid(_))));
}

#[tokio::test]
async fn many_threads_read_at_once_even_from_within_a_walk() {
    let (tree, fixture) = (WorkTree::new(), Fixture::new());
    tree.write("Dockerfile", "FROM scratch\n");
    for number in 0..50 {
        tree.write(format!("f{number}"), format!("content {number}"));
    }
    let context = checked_out(&tree, &fixture).await.context("Dockerfile", "/").unwrap();
    let read_all = || {
        let mut read = 0;
        context
            .walk(ContextPart::Context, &Selection::default(), &mut |entry| {
                let content = context.read(&entry.object).unwrap();
                let number = std::str::from_utf8(&entry.path).unwrap().strip_prefix('f');
                if let Some(number) = number {
                    assert_eq!(content, format!("content {number}").as_bytes());
                    read += 1;
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(read, 50);
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(read_all);
        }
    });
}
