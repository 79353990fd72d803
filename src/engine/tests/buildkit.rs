//! Builds through BuildKit.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    super::{BuildSpec, Builder, EngineError},
    support::{
        DEADLINE, Log, MemoryContext, Name, build, build_shared, busybox, engine, inspect, processes, spec, unique,
        wait_until,
    },
};
use crate::domain::progress::Progress;

#[tokio::test]
async fn an_image_bears_its_tags_labels_and_id() {
    let engine = engine();
    let names = [1, 2].map(|n| Name(format!("hullworks-test.invalid/{}:{n}", unique())));
    let mut spec = spec(Builder::BuildKit);
    spec.tags = names.iter().map(|name| name.0.clone()).collect();
    spec.labels
        .insert("org.opencontainers.image.revision".to_owned(), "abc".to_owned());
    let run = build(
        &engine,
        &spec,
        MemoryContext::new("FROM scratch\nCOPY a /\n").file("a", "x"),
    )
    .await;
    let id = run.image().id();
    for name in &names {
        let image = inspect(&engine, &name.0).await;
        assert_eq!(image["Id"], id);
        assert_eq!(image["Config"]["Labels"]["org.opencontainers.image.revision"], "abc");
    }
    let log = run.log.text();
    assert!(log.contains("] COPY a /\n") && log.contains(" DONE "), "{log}");
    let steps = run.log.steps();
    let copy = steps.iter().find(|step| step.name.contains("COPY a /")).unwrap();
    assert!(copy.started_at.is_some() && copy.finished_at.is_some() && copy.error.is_none());
}

#[tokio::test]
async fn arguments_and_targets_reach_the_dockerfile() {
    let engine = engine();
    let base = busybox(&engine).await;
    let dockerfile = format!(
        "FROM {0} AS one\nARG WHO\nRUN echo \"hello $WHO\"\nLABEL stage=one\nFROM {0} AS two\nRUN exit 9\n",
        base.0
    );
    let mut spec = spec(Builder::BuildKit);
    spec.target = Some("one".to_owned());
    spec.build_args.insert("WHO".to_owned(), "w o&r=ld".to_owned());
    let run = build(&engine, &spec, MemoryContext::new(&dockerfile)).await;
    assert_eq!(
        inspect(&engine, run.image().id()).await["Config"]["Labels"]["stage"],
        "one"
    );
    assert!(run.log.text().contains(" hello w o&r=ld\n"), "{}", run.log.text());
}

#[tokio::test]
async fn a_secret_reaches_its_step_and_nothing_else() {
    let engine = engine();
    let base = busybox(&engine).await;
    let dockerfile = format!(
        "FROM {}\nRUN --mount=type=secret,id=token test \"$(cat /run/secrets/token)\" = canary-7f3a && echo same\n\
         RUN test ! -s /run/secrets/token && echo gone\n\
         RUN --mount=type=secret,id=other test ! -e /run/secrets/other && echo absent\n",
        base.0
    );
    let mut spec = spec(Builder::BuildKit);
    spec.secrets.insert("token".to_owned(), "canary-7f3a".into());
    let run = build(&engine, &spec, MemoryContext::new(&dockerfile)).await;
    let log = run.log.text();
    let image = inspect(&engine, run.image().id()).await.to_string();
    for word in [" same\n", " gone\n", " absent\n"] {
        assert!(log.contains(word), "{log}");
    }
    // The Dockerfile's own words show in the log; the secret stands in them once, in the comparison.
    assert!(!log.replace("= canary-7f3a", "").contains("canary-7f3a"), "{log}");
    assert!(!image.contains("canary-7f3a"));
}

#[tokio::test]
async fn a_cached_step_is_marked_and_no_cache_runs_it_again() {
    let engine = engine();
    let base = busybox(&engine).await;
    let dockerfile = format!("FROM {}\nRUN echo running-it\n", base.0);
    let mut spec = spec(Builder::BuildKit);
    let ran = |log: &str| log.contains(" running-it\n");
    let is_cached = |run: &super::support::Run| {
        run.log
            .steps()
            .iter()
            .any(|step| step.name.contains("RUN echo") && step.cached)
    };
    let first = build(&engine, &spec, MemoryContext::new(&dockerfile)).await;
    assert!(ran(&first.log.text()) && !is_cached(&first), "{}", first.log.text());
    spec.build_id = unique();
    let second = build(&engine, &spec, MemoryContext::new(&dockerfile)).await;
    assert!(
        is_cached(&second) && second.log.text().contains(" CACHED\n"),
        "{}",
        second.log.text()
    );
    assert_eq!(first.image().id(), second.image().id());
    spec.build_id = unique();
    spec.no_cache = true;
    let third = build(&engine, &spec, MemoryContext::new(&dockerfile)).await;
    assert!(ran(&third.log.text()) && !is_cached(&third), "{}", third.log.text());
}

fn many_files(dockerfile: &str, changed: &str) -> MemoryContext {
    (0..200).fold(
        MemoryContext::new(dockerfile).file("changing", changed),
        |context, n| context.file(format!("d{}/f{n}", n % 7), format!("content {n}")),
    )
}

#[tokio::test]
async fn only_what_changed_is_sent_again_and_a_change_within_the_same_second_is_seen() {
    let engine = engine();
    let base = busybox(&engine).await;
    let dockerfile = format!("FROM {}\nCOPY . /x\nRUN cat /x/changing\n", base.0);
    let mut spec = spec(Builder::BuildKit);
    let first = Arc::new(many_files(&dockerfile, "aaaa"));
    build_shared(&engine, &spec, Arc::clone(&first)).await.image();
    assert_eq!(first.reads_of("content 7"), 1);

    // The same size, in a commit of the same second.
    spec.build_id = unique();
    let second = Arc::new(many_files(&dockerfile, "bbbb"));
    let run = build_shared(&engine, &spec, Arc::clone(&second)).await;
    assert!(
        run.log.text().contains(" bbbb\n"),
        "{}\n{:?}",
        run.log.text(),
        run.result
    );
    assert_eq!(second.reads_of("bbbb"), 1);
    assert_eq!(
        (0..200)
            .map(|n| second.reads_of(&format!("content {n}")))
            .sum::<usize>(),
        0
    );

    // Back to the first content, in a later commit.
    spec.build_id = unique();
    let mut third = many_files(&dockerfile, "aaaa");
    third.modified += 1000;
    let third = Arc::new(third);
    build_shared(&engine, &spec, Arc::clone(&third)).await.image();
    assert_eq!(third.reads_of("aaaa"), 1);
    assert_eq!(
        (0..200).map(|n| third.reads_of(&format!("content {n}"))).sum::<usize>(),
        0
    );

    // Another service on the same engine knows nothing of what was sent, and must not rely on it.
    let stranger = super::support::engine();
    spec.build_id = unique();
    let fourth = Arc::new(many_files(&dockerfile, "cccc"));
    let run = build_shared(&stranger, &spec, Arc::clone(&fourth)).await;
    assert!(run.log.text().contains(" cccc\n"), "{}", run.log.text());
}

#[tokio::test]
async fn modes_links_times_and_names_that_are_not_utf8_arrive_as_they_are() {
    let engine = engine();
    let base = busybox(&engine).await;
    let dockerfile = format!(
        "FROM {}\nCOPY . /x\nRUN cd /x && stat -c '%n %a %u:%g %Y' run plain && readlink link && readlink out\n\
         RUN cd /x && echo raw* | od -c && cat raw*\n",
        base.0
    );
    let context = MemoryContext::new(&dockerfile)
        .executable("run", "#!/bin/sh\n")
        .file("plain", "p")
        .link("link", "d/../plain")
        .link("out", "/etc/shadow")
        .file(b"raw\xff\xfe", "raw content")
        .file("d/ä ö", "");
    let run = build(&engine, &spec(Builder::BuildKit), context).await;
    run.image();
    let log = run.log.text();
    for line in [
        " run 755 0:0 1600000000\n",
        " plain 644 0:0 1600000000\n",
        " d/../plain\n",
        " /etc/shadow\n",
        "r   a   w 377 376",
        " raw content\n",
    ] {
        assert!(log.contains(line), "no {line:?} in {log}");
    }
}

#[tokio::test]
async fn ten_thousand_files_are_built() {
    let engine = engine();
    let base = busybox(&engine).await;
    let dockerfile = format!("FROM {}\nCOPY . /x\nRUN find /x -type f | wc -l\n", base.0);
    let context = (0..10_000).fold(MemoryContext::new(&dockerfile), |context, n| {
        context.file(format!("d{}/e{}/f{n}", n % 10, n % 97), n.to_string())
    });
    let run = build(&engine, &spec(Builder::BuildKit), context).await;
    run.image();
    assert!(run.log.text().contains(" 10001\n"), "{}", run.log.text());
}

#[tokio::test]
async fn the_ignore_file_holds_and_an_empty_context_is_no_error() {
    let engine = engine();
    let base = busybox(&engine).await;
    let dockerfile = format!("FROM {}\nCOPY . /x\nRUN ls -a /x\n", base.0);
    let context = Arc::new(
        MemoryContext::new(&dockerfile)
            .file(".dockerignore", "*.log\nsecret\nDockerfile\n")
            .file("noise.log", "noise")
            .file("secret/key", "key")
            .file("kept", "k"),
    );
    let run = build_shared(&engine, &spec(Builder::BuildKit), Arc::clone(&context)).await;
    run.image();
    assert!(run.log.text().contains(" kept\n"), "{}", run.log.text());
    assert_eq!((context.reads_of("noise"), context.reads_of("key")), (0, 0));
    assert!(!run.log.text().contains(" noise.log\n"));

    let context = MemoryContext::new("FROM scratch\nLABEL a=b\n").dockerfile_apart();
    build(&engine, &spec(Builder::BuildKit), context).await.image();
}

#[tokio::test]
async fn a_dockerfile_may_lie_elsewhere_or_be_a_link() {
    let engine = engine();
    let context = MemoryContext::new("FROM scratch\nCOPY a /\n")
        .file("a", "x")
        .dockerfile_apart();
    build(&engine, &spec(Builder::BuildKit), context).await.image();
    let context = MemoryContext::new("nonsense")
        .file("real/Dockerfile", "FROM scratch\nCOPY a /\n")
        .link("build/Dockerfile", "real/Dockerfile")
        .dockerfile_at("real/Dockerfile")
        .file("a", "x");
    build(&engine, &spec(Builder::BuildKit), context).await.image();
    let context = MemoryContext::new("nonsense")
        .file("real", "FROM scratch\nCOPY a /\n")
        .link("Linked", "real")
        .dockerfile_at("Linked")
        .file("a", "x");
    build(&engine, &spec(Builder::BuildKit), context).await.image();
}

#[tokio::test]
async fn a_failed_step_is_named_with_its_exit_code_and_its_output() {
    let engine = engine();
    let base = busybox(&engine).await;
    let dockerfile = format!("FROM {}\nRUN echo about to fail; exit 7\n", base.0);
    let run = build(&engine, &spec(Builder::BuildKit), MemoryContext::new(&dockerfile)).await;
    let EngineError::Step(message) = run.error() else {
        panic!("{:?}", run.result)
    };
    assert!(
        message.contains("RUN echo about to fail; exit 7") && message.ends_with("exit code 7"),
        "{message}"
    );
    assert!(!run.error().retryable());
    let log = run.log.text();
    assert!(log.contains(" about to fail\n") && log.contains(" ERROR: "), "{log}");
    assert!(run.log.steps().iter().any(|step| step.error.is_some()));
}

#[tokio::test]
async fn faults_of_the_dockerfile_are_told_as_such() {
    let engine = engine();
    let missing = MemoryContext::new("FROM scratch").dockerfile_at("nowhere/Dockerfile");
    let outside = MemoryContext::new("x").link("Dockerfile", "../../etc/passwd");
    let circle = MemoryContext::new("x").link("Dockerfile", "Dockerfile");
    for (context, expected) in [
        (MemoryContext::new("FRO scratch\n"), "unknown instruction"),
        (missing, "`nowhere/Dockerfile` is not in the repository"),
        (outside, "leaves the repository"),
        (circle, "circle"),
        (MemoryContext::new("\n \n"), "is empty"),
        (MemoryContext::new("FROM scratch\nCOPY nothing /\n"), "nothing"),
        (MemoryContext::new("FROM ${UNDEFINED}\n"), "base name"),
        (
            MemoryContext::new("# syntax=evil.example.com/frontend:1\nFROM scratch\n"),
            "`evil.example.com/frontend:1`",
        ),
        (
            MemoryContext::new(&format!("FROM scratch\nLABEL a={}\n", "x".repeat(2 << 20))),
            "longer than 1 MiB",
        ),
    ] {
        let run = build(&engine, &spec(Builder::BuildKit), context).await;
        let EngineError::Dockerfile(message) = run.error() else {
            panic!("{expected}: {:?}", run.result)
        };
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[tokio::test]
async fn host_network_and_insecure_steps_are_refused() {
    let engine = engine();
    let base = busybox(&engine).await;
    for flag in ["--network=host", "--security=insecure"] {
        let dockerfile = format!("FROM {}\nRUN {flag} echo it-ran\n", base.0);
        let run = build(&engine, &spec(Builder::BuildKit), MemoryContext::new(&dockerfile)).await;
        assert!(matches!(run.error(), EngineError::Dockerfile(_)), "{:?}", run.result);
        assert!(!run.log.text().contains(" it-ran\n"), "{}", run.log.text());
    }
}

#[tokio::test]
async fn a_context_that_cannot_be_read_is_our_fault_and_may_pass() {
    let engine = engine();
    let mut context = MemoryContext::new("FROM scratch\nCOPY a /\n")
        .file("a", "x")
        .dockerfile_apart();
    context.broken = true;
    let run = build(&engine, &spec(Builder::BuildKit), context).await;
    assert_eq!(
        run.error(),
        &EngineError::Source("the source mirror cannot be read: the disk is gone".to_owned())
    );
    assert!(run.error().retryable());
}

#[tokio::test]
async fn clipped_output_says_that_it_was_clipped() {
    let engine = engine();
    let base = busybox(&engine).await;
    let dockerfile = format!("FROM {}\nRUN seq 1 400000\n", base.0);
    let run = build(&engine, &spec(Builder::BuildKit), MemoryContext::new(&dockerfile)).await;
    run.image();
    assert!(run.log.text().contains("clipped"), "{}", run.log.text().len());
}

#[tokio::test]
async fn a_canceled_build_ends_at_once_and_its_step_with_it() {
    let engine = engine();
    let base = busybox(&engine).await;
    let dockerfile = format!("FROM {}\nRUN echo started; sleep 31.4159\n", base.0);
    let (log, cancel) = (Arc::new(Log::default()), CancellationToken::new());
    let task = tokio::spawn({
        let (engine, log, cancel) = (engine.clone(), Arc::clone(&log), cancel.clone());
        let spec: BuildSpec = spec(Builder::BuildKit);
        async move {
            engine
                .build(
                    &spec,
                    Arc::new(MemoryContext::new(&dockerfile)),
                    log as Arc<dyn Progress>,
                    &cancel,
                )
                .await
        }
    });
    log.wait_for(" started\n").await;
    cancel.cancel();
    let result = tokio::time::timeout(Duration::from_millis(500), task)
        .await
        .expect("it goes on")
        .unwrap();
    assert_eq!(result, Err(EngineError::Canceled));
    wait_until("the end of the step", Duration::from_secs(2), async || {
        !processes().iter().any(|line| line.contains("sleep 31.4159"))
    })
    .await;
}

#[tokio::test]
async fn nothing_holds_the_context_after_a_build_or_a_cancel_in_the_middle_of_the_transfer() {
    let engine = engine();
    let context = (0..2000).fold(MemoryContext::new("FROM scratch\nCOPY . /\n"), |context, n| {
        context.file(n.to_string(), format!("{n:020000}"))
    });
    let context = Arc::new(context);
    let cancel = CancellationToken::new();
    let (spec, log) = (spec(Builder::BuildKit), Arc::new(Log::default()));
    let (result, ()) = tokio::join!(engine.build(&spec, Arc::clone(&context) as _, log, &cancel), async {
        // The Dockerfile is read twice before the transfer.
        wait_until("the transfer", DEADLINE, async || {
            context.reads.lock().unwrap().len() > 20
        })
        .await;
        cancel.cancel();
    });
    assert_eq!(result, Err(EngineError::Canceled));
    assert!(context.reads.lock().unwrap().len() < 2000);
    wait_until("letting go", DEADLINE, async || Arc::strong_count(&context) == 1).await;

    // What was sent in part is completed by the next build.
    build_shared(&engine, &spec, Arc::clone(&context)).await.image();
    wait_until("letting go", DEADLINE, async || Arc::strong_count(&context) == 1).await;
}

#[tokio::test]
async fn a_base_image_is_asked_for_at_its_registry_where_that_is_wanted() {
    let engine = engine();
    let base = busybox(&engine).await;
    let mut spec = spec(Builder::BuildKit);
    spec.pull = true;
    let run = build(
        &engine,
        &spec,
        MemoryContext::new(&format!("FROM {}\nLABEL a=b\n", base.0)),
    )
    .await;
    assert!(matches!(run.error(), EngineError::Registry(_)), "{:?}", run.result);
}

#[tokio::test]
async fn descriptors_stay_flat_over_many_builds() {
    let engine = engine();
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let one = async || {
        let context = MemoryContext::new("FROM scratch\nCOPY a /\n").file("a", "x");
        build(&engine, &spec(Builder::BuildKit), context).await.image();
    };
    one().await;
    let before = open();
    for _ in 0..20 {
        one().await;
    }
    wait_until("closing", DEADLINE, async || open() <= before).await;
}

#[tokio::test]
async fn sixteen_builds_at_once_do_not_mix() {
    let engine = engine();
    let runs = (0..16).map(|n| {
        let engine = engine.clone();
        tokio::spawn(async move {
            let mut spec = spec(Builder::BuildKit);
            // All share one key, as the rules of one repository do.
            spec.shared_key = "one".to_owned();
            let context =
                MemoryContext::new("FROM scratch\nARG N\nCOPY a /\nLABEL n=$N\n").file("a", format!("{n:04}"));
            spec.build_args.insert("N".to_owned(), n.to_string());
            let run = build(&engine, &spec, context).await;
            assert_eq!(
                inspect(&engine, run.image().id()).await["Config"]["Labels"]["n"],
                n.to_string()
            );
            inspect(&engine, run.image().id()).await["RootFS"]["Layers"][0]
                .as_str()
                .unwrap()
                .to_owned()
        })
    });
    let mut layers = Vec::new();
    for run in runs {
        layers.push(run.await.unwrap());
    }
    layers.sort();
    layers.dedup();
    assert_eq!(layers.len(), 16);
}
