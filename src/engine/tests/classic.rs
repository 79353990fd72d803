//! Builds by the classic builder.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    super::{BuildSpec, Builder, EngineError},
    support::{
        Log, MemoryContext, Name, build, build_shared, busybox, containers_of, engine, inspect, processes, spec,
        unique, wait_until,
    },
};
use crate::domain::progress::Progress;

#[tokio::test]
async fn an_image_bears_its_tags_labels_and_arguments_and_steps_are_listed() {
    let engine = engine();
    let base = busybox(&engine).await;
    let name = Name(format!("hullworks-test.invalid/{}:1", unique()));
    let mut spec = spec(Builder::Classic);
    spec.tags = vec![name.0.clone()];
    spec.labels.insert("a".to_owned(), "b".to_owned());
    spec.build_args.insert("WHO".to_owned(), "world".to_owned());
    let dockerfile = format!("FROM {}\nARG WHO\nRUN echo hello $WHO\n", base.0);
    let first = build(&engine, &spec, MemoryContext::new(&dockerfile)).await;
    let image = inspect(&engine, &name.0).await;
    assert_eq!(image["Id"], first.image().id());
    assert_eq!(image["Config"]["Labels"]["a"], "b");
    assert!(first.log.text().contains("hello world\n"), "{}", first.log.text());
    let steps = first.log.steps();
    assert_eq!(steps[2].name, "[3/5] RUN echo hello $WHO");
    assert!(
        steps
            .iter()
            .all(|step| step.started_at.is_some() && step.finished_at.is_some() && !step.cached)
    );

    spec.build_id = unique();
    let second = build(&engine, &spec, MemoryContext::new(&dockerfile)).await;
    assert!(second.log.steps()[2].cached);
    spec.build_id = unique();
    spec.no_cache = true;
    let third = build(&engine, &spec, MemoryContext::new(&dockerfile)).await;
    assert!(!third.log.steps()[2].cached);
}

#[tokio::test]
async fn the_ignore_file_is_applied_and_neither_it_nor_the_dockerfile_need_be_kept() {
    let engine = engine();
    let base = busybox(&engine).await;
    let dockerfile = format!("FROM {}\nCOPY . /x\nRUN ls -a /x\n", base.0);
    let ignore = "*.log\nsecret\nDockerfile\n.dockerignore\n";
    let context = || {
        MemoryContext::new(&dockerfile)
            .file(".dockerignore", ignore)
            .file("noise.log", "noise")
            .file("secret/key", "key")
            .file("kept", "k")
    };
    for context in [context(), context().dockerfile_apart()] {
        let context = Arc::new(context);
        let run = build_shared(&engine, &spec(Builder::Classic), Arc::clone(&context)).await;
        run.image();
        assert!(run.log.text().contains("\n.\n..\nkept\n"), "{}", run.log.text());
        assert_eq!((context.reads_of("noise"), context.reads_of("key")), (0, 0));
    }
}

#[tokio::test]
async fn modes_links_times_and_names_that_are_not_utf8_arrive_as_they_are() {
    let engine = engine();
    let base = busybox(&engine).await;
    let dockerfile = format!(
        "FROM {}\nCOPY . /x\nRUN cd /x && stat -c '%n %a %u:%g %Y' run plain && readlink link && readlink out\n\
         RUN cd /x && echo raw* | od -c && cat raw* && cat d*/{}\n",
        base.0,
        "n".repeat(200)
    );
    let context = MemoryContext::new(&dockerfile)
        .executable("run", "#!/bin/sh\n")
        .file("plain", "p")
        .link("link", "d/../plain")
        .link("out", "/etc/shadow")
        .link("far", &"f".repeat(300))
        .file(b"raw\xff\xfe", "raw content\n")
        .file(format!("d{}/{}", "d".repeat(150), "n".repeat(200)), "deep content\n");
    let run = build(&engine, &spec(Builder::Classic), context).await;
    run.image();
    let log = run.log.text();
    for line in [
        "run 755 0:0 1600000000\n",
        "plain 644 0:0 1600000000\n",
        "d/../plain\n",
        "/etc/shadow\n",
        "r   a   w 377 376",
        "raw content\n",
        "deep content\n",
    ] {
        assert!(log.contains(line), "no {line:?} in {log}");
    }
}

#[tokio::test]
async fn a_failed_step_is_named_and_leaves_no_container() {
    let engine = engine();
    let base = busybox(&engine).await;
    let dockerfile = format!("FROM {}\nRUN echo about to fail; exit 7\n", base.0);
    let run = build(&engine, &spec(Builder::Classic), MemoryContext::new(&dockerfile)).await;
    let message = "the step `[2/3] RUN echo about to fail; exit 7` failed with exit code 7";
    assert_eq!(run.error(), &EngineError::Step(message.to_owned()));
    assert!(run.log.text().contains("about to fail\n"));
    assert!(run.log.steps()[1].error.is_some());
    assert_eq!(containers_of(&engine, &base.0).await, Vec::<String>::new());
}

#[tokio::test]
async fn faults_of_the_dockerfile_are_told_as_such() {
    let engine = engine();
    let base = busybox(&engine).await;
    for (dockerfile, expected) in [
        ("FRO scratch\n".to_owned(), "unknown instruction"),
        ("FROM scratch\nCOPY nothing /\n".to_owned(), "nothing"),
        (
            "# syntax=evil.example.com/frontend\nFROM scratch\n".to_owned(),
            "`evil.example.com/frontend`",
        ),
        (format!("FROM {}\nRUN --network=host echo it-ran\n", base.0), "network"),
        (
            format!("FROM {}\nRUN --mount=type=secret,id=x echo it-ran\n", base.0),
            "BuildKit",
        ),
    ] {
        let run = build(&engine, &spec(Builder::Classic), MemoryContext::new(&dockerfile)).await;
        let EngineError::Dockerfile(message) = run.error() else {
            panic!("{expected}: {:?}", run.result)
        };
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[tokio::test]
async fn a_context_that_breaks_off_fails_the_build_as_our_fault() {
    let engine = engine();
    let mut context = MemoryContext::new("FROM scratch\nCOPY a /\n")
        .file("a", "x")
        .dockerfile_apart();
    context.broken = true;
    let run = build(&engine, &spec(Builder::Classic), context).await;
    assert!(matches!(run.error(), EngineError::Source(_)), "{:?}", run.result);
}

#[tokio::test]
async fn a_canceled_build_ends_at_once_and_leaves_no_container() {
    let engine = engine();
    let base = busybox(&engine).await;
    let dockerfile = format!("FROM {}\nRUN echo started; sleep 27.1828\n", base.0);
    let (log, cancel) = (Arc::new(Log::default()), CancellationToken::new());
    let task = tokio::spawn({
        let (engine, log, cancel) = (engine.clone(), Arc::clone(&log), cancel.clone());
        let spec: BuildSpec = spec(Builder::Classic);
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
    log.wait_for("\nstarted\n").await;
    cancel.cancel();
    let result = tokio::time::timeout(Duration::from_millis(500), task)
        .await
        .expect("it goes on")
        .unwrap();
    assert_eq!(result, Err(EngineError::Canceled));
    wait_until("the end of the step", Duration::from_secs(2), async || {
        !processes().iter().any(|line| line.contains("sleep 27.1828"))
    })
    .await;
    wait_until("the end of the container", Duration::from_secs(10), async || {
        containers_of(&engine, &base.0).await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_step_that_takes_more_memory_than_it_may_is_killed_and_said_so() {
    let engine = engine();
    let base = busybox(&engine).await;
    let dockerfile = format!("FROM {}\nRUN tail /dev/zero\n", base.0);
    for builder in [Builder::Auto, Builder::BuildKit] {
        let limited = BuildSpec {
            memory_bytes: Some(32 << 20),
            cpu_thousandths: Some(500),
            ..spec(builder)
        };
        let run = build(&engine, &limited, MemoryContext::new(&dockerfile)).await;
        let EngineError::Step(message) = run.error() else {
            panic!("{:?}", run.result)
        };
        assert!(
            message.contains("exit code 137") && message.contains("32 MiB"),
            "{message}"
        );
    }
}
