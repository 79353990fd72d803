//! What goes wrong, what is said of it, and that nothing is left behind.

use std::process::{Command, Stdio};
use std::time::Instant;

use super::server::Mood;
use super::*;
use crate::domain::context::{BuildContext, ContextError, ContextPart, Entry, Selection};

const SHORT: Duration = Duration::from_millis(300);

/// A commit with something in it that takes more than a few packets.
fn big_commit(tree: &WorkTree) -> String {
    let mut state = 1_u64;
    let noise: Vec<u8> = (0..400_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    tree.write("noise", noise);
    tree.write("Dockerfile", "FROM scratch\n");
    tree.commit("big")
}

fn password(text: &str) -> Option<GitCredentials> {
    Some(GitCredentials {
        username: "ada".to_owned(),
        password: text.to_owned().into(),
    })
}

/// Packs that are being written and locks, which only a fetch under way may have.
fn leftovers(fixture: &Fixture) -> Vec<PathBuf> {
    fixture.files(|path| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let in_pack = path.parent().is_some_and(|parent| parent.ends_with("objects/pack"));
        extension == Some("lock") || (in_pack && !matches!(extension, Some("pack" | "idx" | "rev")))
    })
}

#[tokio::test]
async fn a_commit_that_was_forced_away_is_gone_and_the_tip_is_not_taken_for_it() {
    for (any_sha, mood) in [
        ("true", Mood::Well),
        ("false", Mood::Well),
        ("false", Mood::RefusesHistory),
    ] {
        let (tree, server) = served().await;
        tree.git(&["config", "uploadpack.allowAnySHA1InWant", any_sha]);
        big_commit(&tree);
        tree.write("Dockerfile", "FROM lost\n");
        let lost = tree.commit("lost");
        tree.git(&["reset", "-q", "--hard", "HEAD~1"]);
        tree.git(&["reflog", "expire", "--expire=now", "--all"]);
        tree.git(&["gc", "-q", "--prune=now"]);
        server.mood(mood);
        for url in [server.url(), tree.url()] {
            let error = Fixture::new().fetch(&url, &commit(&lost)).await.err().unwrap();
            assert_eq!(
                error.to_string(),
                format!("commit {lost} is no longer on the server: it was force-pushed away or deleted")
            );
            assert!(!error.retryable());
        }
    }
}

#[tokio::test]
async fn a_deleted_branch_is_named() {
    let (tree, server) = served().await;
    let sha = big_commit(&tree);
    let fixture = Fixture::new();
    let error = fixture.fetch(&server.url(), &branch("feature/x")).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "there is no branch feature/x on the server: it was deleted or never pushed"
    );
    let error = fixture.fetch(&server.url(), &tag("main")).await.err().unwrap();
    assert!(matches!(error, SourceError::RefGone { .. }));
    assert_eq!(
        fixture.fetch(&server.url(), &branch("main")).await.unwrap().commit(),
        sha
    );
}

#[tokio::test]
async fn what_is_no_commit_and_no_name_is_never_asked_for() {
    let (tree, server) = served().await;
    big_commit(&tree);
    let fixture = Fixture::new();
    for sha in [
        "",
        "main",
        "abc",
        "-ufoo",
        &"0".repeat(40),
        &"g".repeat(40),
        &"a".repeat(64),
        "\u{1b}[31m",
    ] {
        let error = fixture.fetch(&server.url(), &commit(sha)).await.err().unwrap();
        assert!(matches!(error, SourceError::Invalid(_)), "{sha:?}: {error:?}");
        assert!(!error.to_string().contains('\u{1b}'));
    }
    for name in ["", "..", "a..b", "a b", "a~1", "a:b", "*", "-\0", "a.lock", "@{"] {
        let error = fixture.fetch(&server.url(), &branch(name)).await.err().unwrap();
        assert!(matches!(error, SourceError::Invalid(_)), "{name:?}: {error:?}");
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_wrong_password_is_tried_once() {
    let (tree, server) = served().await;
    let sha = big_commit(&tree);
    server.demand("ada", "right");
    let fixture = Fixture::new();
    let error = fixture
        .fetch_as(&server.url(), password("wrong-pass"), &commit(&sha))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, SourceError::Auth(_)), "{error:?}");
    assert!(!error.retryable());
    assert_eq!(server.seen().len(), 1);
    let error = fixture.fetch(&server.url(), &commit(&sha)).await.err().unwrap();
    assert!(
        matches!(&error, SourceError::Auth(text) if text.contains("asks for credentials")),
        "{error:?}"
    );
    let checkout = fixture
        .fetch_as(&server.url(), password("right"), &commit(&sha))
        .await
        .unwrap();
    assert_eq!(checkout.commit(), sha);
    let said = fixture.said.0.lock().unwrap().clone();
    assert!(!said.contains("right") && !said.contains("wrong-pass"), "{said}");
    for file in fixture.files(|_| true) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(
            !bytes.windows(10).any(|window| window == b"wrong-pass"),
            "{}",
            file.display()
        );
    }
}

#[tokio::test]
async fn a_redirect_to_another_place_is_not_followed_and_gets_no_password() {
    let (tree, server) = served().await;
    let (_other_tree, other) = served().await;
    let sha = big_commit(&tree);
    server.mood(Mood::Redirects(other.origin()));
    let error = Fixture::new()
        .fetch_as(&server.url(), password("secret"), &commit(&sha))
        .await
        .err()
        .unwrap();
    assert!(
        matches!(&error, SourceError::Invalid(text) if text.contains(&other.origin())),
        "{error:?}"
    );
    assert_eq!(other.seen().len(), 0);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_renamed_repository_on_the_same_site_is_followed() {
    let (tree, server) = served().await;
    let sha = big_commit(&tree);
    server.demand("ada", "secret");
    server.mood(Mood::KnowsNewName);
    let url = format!("{}/old-name.git", server.origin());
    let checkout = Fixture::new()
        .fetch_as(&url, password("secret"), &commit(&sha))
        .await
        .unwrap();
    assert_eq!(checkout.commit(), sha);
    let seen = server.seen();
    assert_eq!(seen[0].path, "/old-name.git/info/refs");
    assert!(seen[1..].iter().all(|seen| seen.path.starts_with("/.git/")));
    assert!(seen.iter().all(|seen| seen.authorization.is_some()));
    server.mood(Mood::Redirects(server.origin()));
    let error = Fixture::new()
        .fetch_as(&url, password("secret"), &commit(&sha))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, SourceError::Invalid(_)), "{error:?}");
    assert!(server.seen().len() - seen.len() < 10);
}

#[tokio::test]
async fn a_silent_server_meets_the_limits() {
    let (tree, server) = served().await;
    let sha = big_commit(&tree);
    for mood in [Mood::Stalls, Mood::StallsAfter(50_000)] {
        server.mood(mood.clone());
        let stalled = Fixture::with(|config| config.stall_timeout = SHORT);
        let late = Fixture::with(|config| config.fetch_timeout = SHORT);
        for (fixture, words) in [(stalled, "said nothing for"), (late, "took longer than")] {
            let error = fixture.fetch(&server.url(), &commit(&sha)).await.err().unwrap();
            assert!(
                matches!(&error, SourceError::Timeout(text) if text.contains(words)),
                "{mood:?}: {error:?}"
            );
            assert!(error.retryable());
            assert_eq!(leftovers(&fixture), Vec::<PathBuf>::new());
        }
    }
}

#[tokio::test]
async fn canceling_ends_a_stalled_fetch_within_a_second() {
    let (tree, server) = served().await;
    let sha = big_commit(&tree);
    for mood in [Mood::Stalls, Mood::StallsAfter(50_000)] {
        server.mood(mood);
        let fixture = Fixture::new();
        let url = server.url();
        let wanted = commit(&sha);
        let cancel = async {
            server.stalling().await;
            fixture.cancel.cancel();
            Instant::now()
        };
        let (result, canceled) = tokio::join!(fixture.fetch(&url, &wanted), cancel);
        assert!(canceled.elapsed() < Duration::from_secs(1));
        assert_eq!(result.err(), Some(SourceError::Canceled));
        assert_eq!(leftovers(&fixture), Vec::<PathBuf>::new());
    }
}

#[tokio::test]
async fn a_fetch_that_nobody_waits_for_ends_and_frees_the_mirror() {
    let (tree, server) = served().await;
    let sha = big_commit(&tree);
    server.mood(Mood::StallsAfter(50_000));
    let fixture = Fixture::new();
    let url = server.url();
    let wanted = commit(&sha);
    tokio::select! {
        _ = fixture.fetch(&url, &wanted) => panic!("the server stalls"),
        () = server.stalling() => {}
    }
    server.mood(Mood::Well);
    assert_eq!(fixture.fetch(&url, &wanted).await.unwrap().commit(), sha);
    assert_eq!(leftovers(&fixture), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn what_is_too_large_is_cut_off_and_the_disk_reclaimed() {
    let (tree, server) = served().await;
    let sha = big_commit(&tree);
    let fixture = Fixture::with(|config| config.max_fetch_bytes = 100_000);
    let mut sizes = Vec::new();
    for url in [server.url(), server.url(), tree.url(), tree.url()] {
        let error = fixture.fetch(&url, &commit(&sha)).await.err().unwrap();
        assert!(matches!(error, SourceError::TooLarge(_)), "{error:?}");
        assert!(!error.retryable());
        assert_eq!(leftovers(&fixture), Vec::<PathBuf>::new());
        sizes.push(fixture.disk_usage());
    }
    assert!(sizes.iter().all(|size| *size < 10_000), "{sizes:?}");
    for number in 0..30 {
        tree.git(&["branch", &format!("b{number}")]);
    }
    let fixture = Fixture::with(|config| config.max_refs = 20);
    let error = fixture.fetch(&server.url(), &commit(&sha)).await.err().unwrap();
    assert_eq!(
        error,
        SourceError::TooLarge("the repository has more than 20 refs".to_owned())
    );
}

#[tokio::test]
async fn a_transfer_that_breaks_off_can_be_tried_again_and_leaves_nothing() {
    let (tree, server) = served().await;
    let sha = big_commit(&tree);
    server.mood(Mood::CutsAfter(50_000));
    let fixture = Fixture::new();
    let mut sizes = Vec::new();
    for _ in 0..3 {
        let error = fixture.fetch(&server.url(), &commit(&sha)).await.err().unwrap();
        assert!(error.retryable(), "{error:?}");
        assert!(matches!(error, SourceError::Unavailable(_)), "{error:?}");
        assert_eq!(leftovers(&fixture), Vec::<PathBuf>::new());
        sizes.push(fixture.disk_usage());
    }
    assert_eq!(sizes[0], sizes[2]);
    server.mood(Mood::Well);
    assert_eq!(fixture.fetch(&server.url(), &commit(&sha)).await.unwrap().commit(), sha);
}

#[tokio::test]
async fn what_a_killed_process_left_of_a_pack_is_swept() {
    let (tree, server) = served().await;
    let sha = big_commit(&tree);
    let fixture = Fixture::new();
    fixture.fetch(&server.url(), &commit(&sha)).await.unwrap();
    let packs = fixture.files(|path| path.extension().is_some_and(|e| e == "pack"))[0]
        .parent()
        .unwrap()
        .to_owned();
    std::fs::write(packs.join("pack_a1b2c3"), "half a pack").unwrap();
    std::fs::write(packs.join("pack-0123.pack"), "no index yet").unwrap();
    fixture.fetch(&server.url(), &commit(&sha)).await.unwrap();
    assert!(!packs.join("pack_a1b2c3").exists());
    assert!(!packs.join("pack-0123.pack").exists());
}

#[tokio::test]
async fn each_answer_of_the_server_has_its_meaning() {
    let (tree, server) = served().await;
    let sha = big_commit(&tree);
    let kind = |error: &SourceError| match error {
        SourceError::Auth(_) => "auth",
        SourceError::NotFound(_) => "not found",
        SourceError::Unavailable(_) => "unavailable",
        SourceError::Invalid(_) => "invalid",
        _ => "other",
    };
    for (mood, expected) in [
        (Mood::Answers(401), "auth"),
        (Mood::Answers(403), "auth"),
        (Mood::Answers(404), "not found"),
        (Mood::Answers(410), "not found"),
        (Mood::Answers(400), "invalid"),
        (Mood::Answers(204), "unavailable"),
        (Mood::Answers(302), "unavailable"),
        (Mood::Answers(429), "unavailable"),
        (Mood::Answers(500), "unavailable"),
        (Mood::Answers(503), "unavailable"),
        (Mood::Html, "invalid"),
        (Mood::Compresses, "unavailable"),
    ] {
        server.mood(mood.clone());
        let error = Fixture::new().fetch(&server.url(), &commit(&sha)).await.err().unwrap();
        assert_eq!(kind(&error), expected, "{mood:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_or_cannot_prove_its_name_is_unavailable() {
    let directory = TempDir::new().unwrap();
    let (key, cert) = (directory.path().join("key.pem"), directory.path().join("cert.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "1",
            "-subj",
            "/CN=localhost",
        ])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let url = format!("https://localhost:{port}/app.git");
    let fixture = Fixture::new();
    let error = fixture.fetch(&url, &branch("main")).await.err().unwrap();
    assert!(
        matches!(&error, SourceError::Unavailable(text) if text.contains("refused")),
        "{error:?}"
    );
    let mut server = Command::new("openssl")
        .args(["s_server", "-quiet", "-www", "-accept", &port.to_string()])
        .arg("-key")
        .arg(&key)
        .arg("-cert")
        .arg(&cert)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + LONG;
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "openssl does not listen");
        tokio::task::yield_now().await;
    }
    let error = fixture
        .fetch_as(&url, password("secret"), &branch("main"))
        .await
        .err()
        .unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(
        matches!(&error, SourceError::Unavailable(text) if text.contains("certificate")),
        "{error:?}"
    );
    assert!(!error.to_string().contains("secret"));
}

#[tokio::test]
async fn the_gate_is_applied_again_at_every_fetch() {
    let (tree, server) = served().await;
    let sha = big_commit(&tree);
    let strict = Fixture::with(|config| config.policy = SourcePolicy { allow_local: false });
    for url in [server.url(), tree.url()] {
        let error = strict.fetch(&url, &commit(&sha)).await.err().unwrap();
        assert!(
            matches!(&error, SourceError::Invalid(text) if text.contains("allow_local_sources")),
            "{error:?}"
        );
    }
    for url in [
        "https://10.0.0.1/a.git",
        "https://169.254.169.254/a.git",
        "https://[fd00::1]/a.git",
    ] {
        let error = strict.fetch(url, &commit(&sha)).await.err().unwrap();
        assert!(
            matches!(&error, SourceError::Invalid(text) if text.contains("administrator")),
            "{url}: {error:?}"
        );
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_broken_mirror_is_made_afresh() {
    let (tree, server) = served().await;
    let sha = big_commit(&tree);
    let next = {
        tree.write("Dockerfile", "FROM next\n");
        tree.commit("next")
    };
    let breakages: [fn(&Fixture); 4] = [
        |fixture| {
            for pack in fixture.files(|path| path.extension().is_some_and(|e| e == "pack")) {
                let length = std::fs::metadata(&pack).unwrap().len() as usize;
                std::fs::remove_file(&pack).unwrap();
                std::fs::write(&pack, vec![0x5a; length]).unwrap();
            }
        },
        |fixture| {
            for file in fixture.files(|path| path.extension().is_some_and(|e| e == "idx" || e == "pack")) {
                std::fs::remove_file(file).unwrap();
            }
        },
        |fixture| {
            for file in fixture.files(|path| path.ends_with("HEAD")) {
                std::fs::write(file, "nonsense").unwrap();
            }
        },
        |fixture| {
            for file in fixture.files(|path| path.to_string_lossy().contains("refs/hullworks/")) {
                std::fs::write(file, "nonsense").unwrap();
            }
        },
    ];
    for (number, damage) in breakages.into_iter().enumerate() {
        for wanted in [&sha, &next] {
            let fixture = Fixture::new();
            fixture.fetch(&server.url(), &commit(&sha)).await.unwrap();
            damage(&fixture);
            let checkout = fixture.fetch(&server.url(), &commit(wanted)).await;
            let checkout = checkout.unwrap_or_else(|error| panic!("damage {number}: {error}"));
            assert_eq!(checkout.commit(), wanted);
            checkout.context("", "").unwrap();
        }
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_reported_and_healed_by_the_next_fetch() {
    let (tree, server) = served().await;
    let sha = big_commit(&tree);
    let fixture = Fixture::new();
    let checkout = fixture.fetch(&server.url(), &commit(&sha)).await.unwrap();
    // The noise is nearly all of the pack, so the middle is in it.
    let pack = fixture
        .files(|path| path.extension().is_some_and(|e| e == "pack"))
        .remove(0);
    let mut bytes = std::fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0x5a);
    std::fs::remove_file(&pack).unwrap();
    std::fs::write(&pack, bytes).unwrap();
    let read_noise = |checkout: &Checkout| {
        let context = checkout.context("", "/").unwrap();
        let mut noise = None;
        let visit = &mut |entry: Entry| {
            if entry.path == b"noise" {
                noise = Some(entry.object);
            }
            std::ops::ControlFlow::Continue(())
        };
        context
            .walk(ContextPart::Context, &Selection::default(), visit)
            .unwrap();
        context.read(&noise.unwrap())
    };
    assert!(matches!(read_noise(&checkout), Err(ContextError::Unreadable(_))));
    let checkout = fixture.fetch(&server.url(), &commit(&sha)).await.unwrap();
    assert_eq!(read_noise(&checkout).unwrap().len(), 400_000);
}

#[tokio::test]
async fn trees_that_no_git_would_make_are_refused() {
    let tree = WorkTree::new();
    let blob = tree.blob(b"x");
    for (name, words) in [
        (&b".."[..], "no file can be"),
        (b".", "no file can be"),
        (b"a/b", "no file can be"),
    ] {
        let sha = tree.commit_raw_tree(&[("100644", name, &blob)]);
        let error = Fixture::new().fetch(&tree.url(), &commit(&sha)).await.err().unwrap();
        assert!(
            matches!(&error, SourceError::Invalid(text) if text.contains(words)),
            "{error:?}"
        );
    }
    let sha = tree.commit_raw_tree(&[("100644", b"twice", &blob), ("100644", b"twice", &blob)]);
    let error = Fixture::new().fetch(&tree.url(), &commit(&sha)).await.err().unwrap();
    assert!(
        matches!(&error, SourceError::Invalid(text) if text.contains("two files")),
        "{error:?}"
    );
}

#[tokio::test]
async fn malformed_objects_are_the_pushers_fault_and_not_the_mirrors() {
    let (tree, server) = served().await;
    let literally =
        |kind: &str, content: &[u8]| tree.pipe(&["hash-object", "-t", kind, "-w", "--literally", "--stdin"], content);
    let bad_tree = literally("tree", b"100644 no end");
    let good_tree = tree.raw_tree(&[]);
    let person = "Ada <ada@example.com> 1 +0000";
    for content in [
        format!("tree {bad_tree}\nauthor {person}\ncommitter {person}\n\nx"),
        format!("tree {good_tree}\nauthor nobody\n\nx"),
        "nonsense".to_owned(),
    ] {
        let sha = literally("commit", content.as_bytes());
        std::fs::write(tree.path().join(".git/refs/heads/bad"), format!("{sha}\n")).unwrap();
        for url in [server.url(), tree.url()] {
            let error = Fixture::new().fetch(&url, &branch("bad")).await.err().unwrap();
            // A server may notice by itself and fail.
            let by_server = matches!(error, SourceError::Unavailable(_)) && url == server.url();
            assert!(
                by_server || matches!(error, SourceError::Invalid(_)),
                "{content:?} from {url}: {error:?}"
            );
        }
    }
}

#[tokio::test]
async fn directories_without_end_are_refused_by_the_walk() {
    let tree = WorkTree::new();
    let mut below = tree.blob(b"x");
    let mut mode = "100644";
    // Ten times itself, nine times over: a billion files in ten objects.
    for _ in 0..9 {
        let names: Vec<[u8; 1]> = (b'0'..=b'9').map(|digit| [digit]).collect();
        let entries: Vec<(&str, &[u8], &str)> = names.iter().map(|name| (mode, &name[..], below.as_str())).collect();
        below = tree.raw_tree(&entries);
        mode = "40000";
    }
    let dockerfile = tree.blob(b"FROM scratch\n");
    let sha = tree.commit_raw_tree(&[("100644", b"Dockerfile", &dockerfile), ("40000", b"bomb", &below)]);
    let fixture = Fixture::new();
    let checkout = fixture.fetch(&tree.url(), &commit(&sha)).await.unwrap();
    let context = checkout.context("Dockerfile", "/").unwrap();
    let visit = &mut |_: Entry| std::ops::ControlFlow::Continue(());
    let error = context
        .walk(ContextPart::Context, &Selection::default(), visit)
        .unwrap_err();
    assert!(
        matches!(&error, ContextError::Invalid(text) if text.contains("more than")),
        "{error:?}"
    );
    let mut deep = tree.raw_tree(&[("100644", b"x", &dockerfile)]);
    for _ in 0..300 {
        deep = tree.raw_tree(&[("40000", b"d", &deep)]);
    }
    let sha = tree.commit_raw_tree(&[("40000", b"d", &deep)]);
    let error = Fixture::new().fetch(&tree.url(), &commit(&sha)).await.err().unwrap();
    assert!(
        matches!(&error, SourceError::Invalid(text) if text.contains("nested")),
        "{error:?}"
    );
}
