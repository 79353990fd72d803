//! The images that a build stands on: what is recorded is what the builder took, and exact digests are stood on exactly.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    super::{BuildSpec, Builder, Engine, clean::temporary_name},
    support::{
        self, Log, MemoryContext, Name, Registry, Run, build, build_shared, busybox, engine, inspect, spec, unique,
    },
};
use crate::domain::{
    build::BaseImage,
    dockerfile::corpus::{CASES, Case, REGISTRY},
    image::ImageReference,
};

/// A registry with images of the test's own; the engine has none of them.
struct Bases {
    engine: Engine,
    registry: Registry,
    busybox: Name,
    /// What a classic build pulled goes away with these.
    _names: Vec<Name>,
}

impl Bases {
    async fn start(images: &[&str]) -> Self {
        let (engine, registry) = (engine(), Registry::start(None).await);
        let busybox = busybox(&engine).await;
        let _names = images
            .iter()
            .map(|image| Name(format!("{}/{image}", registry.host)))
            .collect();
        let bases = Self {
            engine,
            registry,
            busybox,
            _names,
        };
        for image in images {
            bases.push(image, &format!("mark of {image}")).await;
        }
        bases
    }

    /// Pushes an image whose file `/mark` says `mark`; returns its digest.
    async fn push(&self, image: &str, mark: &str) -> String {
        let dockerfile = format!("FROM {}\nCOPY mark /mark\n", self.busybox.0);
        let context = MemoryContext::new(&dockerfile).file("mark", format!("{mark}\n"));
        let run = build(&self.engine, &spec(Builder::BuildKit), context).await;
        let target = ImageReference::parse(&self.name(image)).unwrap();
        let (log, cancel) = (Log::default(), CancellationToken::new());
        let digest = self
            .engine
            .push(run.image(), &target, None, &log, &cancel)
            .await
            .unwrap();
        self.engine.untag(&target).await.unwrap();
        digest
    }

    fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.registry.host)
    }

    async fn digest(&self, image: &str) -> Option<String> {
        let (path, tag) = image.rsplit_once(':').unwrap();
        self.registry.digest(path, tag, None).await
    }

    fn spec(&self, builder: Builder) -> BuildSpec {
        BuildSpec {
            pull: true,
            ..spec(builder)
        }
    }

    /// `IMAGE` and whether the Dockerfile names its digest, with the digest that the registry has.
    async fn recorded(&self, images: &[(&str, bool)]) -> Vec<BaseImage> {
        let mut recorded = Vec::new();
        for (image, pinned) in images {
            recorded.push(BaseImage {
                name: self.name(image),
                digest: self.digest(image).await,
                pinned: *pinned,
            });
        }
        recorded
    }

    async fn build_case(&self, case: &Case, builder: Builder) -> Run {
        let local = |text: &str| text.replace(REGISTRY, &self.registry.host);
        let mut spec = self.spec(builder);
        let build_args = case.build_args.iter();
        spec.build_args = build_args
            .map(|(name, value)| ((*name).to_owned(), local(value)))
            .collect();
        spec.target = case.target.map(str::to_owned);
        build(&self.engine, &spec, MemoryContext::new(&local(case.dockerfile))).await
    }
}

/// The names with digests in a log, which BuildKit writes there for every image that it takes; without a tag where the
/// Dockerfile has none.
fn names_in(log: &str, host: &str) -> BTreeSet<String> {
    log.split_whitespace()
        .filter(|word| word.starts_with(host) && word.contains("@sha256:"))
        .map(|word| {
            let mut reference = ImageReference::parse(word).unwrap();
            reference.tag.get_or_insert_with(|| "latest".to_owned());
            reference.to_string()
        })
        .collect()
}

#[tokio::test]
async fn buildkit_takes_the_images_that_the_corpus_says() {
    let images = ["base:1", "base:2", "base:latest", "tools:latest"];
    let bases = Bases::start(&images).await;
    let cases: Vec<_> = CASES.iter().filter(|case| case.builds).collect();
    assert!(cases.len() >= 12);
    for case in cases {
        let run = bases.build_case(case, Builder::BuildKit).await;
        run.image();
        let mut expected = BTreeSet::new();
        for line in case.expected.iter().filter(|line| !line.ends_with("not needed")) {
            let image = line.rsplit_once('/').unwrap().1;
            let digest = bases.digest(image).await.unwrap();
            expected.insert(format!("{}@{digest}", bases.name(image)));
        }
        let log = run.log.text();
        assert_eq!(names_in(&log, &bases.registry.host), expected, "{}: {log}", case.name);
        let recorded: BTreeSet<_> = run
            .log
            .base_images()
            .into_iter()
            .map(|image| format!("{}@{}", image.name, image.digest.unwrap_or_default()))
            .collect();
        assert_eq!(recorded, expected, "{}", case.name);
    }
}

#[tokio::test]
async fn the_classic_builder_goes_through_every_stage_and_its_pulls_tell_the_digests() {
    let bases = Bases::start(&["base:1", "base:2", "tools:latest"]).await;
    let dockerfile = format!(
        "ARG V=1\nFROM {0}/base:${{V}} AS unused\nFROM {0}/base:2\nCOPY --from={0}/tools /mark /x\n",
        bases.registry.host
    );
    let run = build(
        &bases.engine,
        &bases.spec(Builder::Classic),
        MemoryContext::new(&dockerfile),
    )
    .await;
    run.image();
    let expected = [("base:1", false), ("base:2", false), ("tools:latest", false)];
    assert_eq!(
        run.log.base_images(),
        bases.recorded(&expected).await,
        "{}",
        run.log.text()
    );
    let mut without_pull = bases.spec(Builder::Classic);
    without_pull.pull = false;
    let run = build(&bases.engine, &without_pull, MemoryContext::new(&dockerfile)).await;
    run.image();
    assert_eq!(
        run.log.base_images(),
        bases.recorded(&expected).await,
        "{}",
        run.log.text()
    );
}

#[tokio::test]
async fn a_digest_in_the_dockerfile_is_recorded_as_one_that_never_moves() {
    let bases = Bases::start(&["base:1"]).await;
    let (name, digest) = (bases.name("base"), bases.digest("base:1").await.unwrap());
    let by_tag = bases.name("base:1");
    let recorded = |name: &str| BaseImage {
        name: name.to_owned(),
        digest: Some(digest.clone()),
        pinned: true,
    };
    for builder in [Builder::BuildKit, Builder::Classic] {
        let check = async |dockerfile: String, expected: Vec<BaseImage>| {
            let run = build(&bases.engine, &bases.spec(builder), MemoryContext::new(&dockerfile)).await;
            run.image();
            assert_eq!(
                run.log.base_images(),
                expected,
                "{builder:?} {dockerfile} {}",
                run.log.text()
            );
        };
        check(
            format!("FROM {name}@{digest}\nLABEL a=b\n"),
            vec![recorded(&format!("{name}@{digest}"))],
        )
        .await;
        check(format!("FROM {by_tag}@{digest}\nLABEL a=b\n"), vec![recorded(&by_tag)]).await;
        let both = format!("FROM {by_tag}@{digest} AS a\nFROM {by_tag}\nCOPY --from=a /mark /x\n");
        let moving = BaseImage {
            pinned: false,
            ..recorded(&by_tag)
        };
        // The digest needs another name then.
        check(both, vec![moving, recorded(&format!("{name}@{digest}"))]).await;
    }
    drop(Name(format!("{name}@{digest}")));
}

#[tokio::test]
async fn a_build_that_fails_tells_what_it_stood_on_and_an_image_without_a_digest_has_none() {
    let bases = Bases::start(&["base:1"]).await;
    for builder in [Builder::BuildKit, Builder::Classic] {
        let failing = format!("FROM {}\nRUN exit 3\n", bases.name("base:1"));
        let run = build(&bases.engine, &bases.spec(builder), MemoryContext::new(&failing)).await;
        run.error();
        assert_eq!(
            run.log.base_images(),
            bases.recorded(&[("base:1", false)]).await,
            "{builder:?}"
        );

        let unknown = format!(
            "FROM {} AS a\nFROM scratch\nCOPY --from=a /mark /\n",
            bases.name("base:3")
        );
        let run = build(&bases.engine, &bases.spec(builder), MemoryContext::new(&unknown)).await;
        run.error();
        assert_eq!(
            run.log.base_images(),
            bases.recorded(&[("base:3", false)]).await,
            "{builder:?}"
        );

        let local = format!("FROM {}\nLABEL a=b\n", bases.busybox.0);
        let run = build(&bases.engine, &spec(builder), MemoryContext::new(&local)).await;
        run.image();
        let expected = BaseImage {
            name: bases.busybox.0.clone(),
            digest: None,
            pinned: false,
        };
        assert_eq!(run.log.base_images(), [expected], "{builder:?}");
    }
}

#[tokio::test]
async fn exact_digests_are_stood_on_after_their_tags_have_moved() {
    let bases = Bases::start(&["base:1", "tools:latest"]).await;
    let old: BTreeMap<String, String> = [
        (bases.name("base:1"), bases.digest("base:1").await.unwrap()),
        (bases.name("tools:latest"), bases.digest("tools:latest").await.unwrap()),
        (
            "docker.io/library/other:1".to_owned(),
            format!("sha256:{}", "0".repeat(64)),
        ),
    ]
    .into();
    bases.push("base:1", "moved base").await;
    bases.push("tools:latest", "moved tools").await;
    let dockerfile = format!(
        "ARG VERSION=9\nFROM {0}/base:$VERSION\nCOPY --from={0}/tools /mark /tools\nCOPY Dockerfile /own\n\
         RUN cat /mark /tools && wc -l /own\n",
        bases.registry.host
    );
    let moved = ["moved base", "moved tools"];
    let kept = ["mark of base:1", "mark of tools:latest"];
    for builder in [Builder::BuildKit, Builder::Classic] {
        let mut spec = bases.spec(builder);
        spec.build_args.insert("VERSION".to_owned(), "1".to_owned());
        // One after the other under one key, as builds of one repository are.
        for (digests, marks) in [(BTreeMap::new(), moved), (old.clone(), kept), (BTreeMap::new(), moved)] {
            spec.build_id = unique();
            spec.base_digests = digests.clone();
            let run = build(&bases.engine, &spec, MemoryContext::new(&dockerfile)).await;
            run.image();
            let log = run.log.text();
            for image in ["base:1", "tools:latest"] {
                let name = bases.name(image);
                let line = digests
                    .get(&name)
                    .map(|digest| format!("base image {name} pinned to {digest}\n"));
                assert_eq!(
                    line.as_ref().is_some_and(|line| log.contains(line)),
                    line.is_some(),
                    "{log}"
                );
                assert_eq!(log.contains("pinned to"), line.is_some(), "{log}");
                let digest = digests.get(&name).cloned().or(bases.digest(image).await);
                let recorded = run
                    .log
                    .base_images()
                    .into_iter()
                    .find(|base| base.name == name)
                    .unwrap();
                assert_eq!((recorded.digest, recorded.pinned), (digest, false), "{builder:?} {log}");
            }
            assert_eq!(run.log.base_images().len(), 2);
            let looked = format!("FROM {}\nRUN cat /mark /tools /own\n", temporary_name(&spec.build_id));
            let mut look = support::spec(builder);
            look.no_cache = true;
            let look = build(&bases.engine, &look, MemoryContext::new(&looked)).await;
            look.image();
            let look = look.log.text();
            for mark in marks {
                assert!(look.contains(mark), "{builder:?} {mark}: {look}");
            }
            assert!(
                look.contains("base:$VERSION"),
                "the context has the repository's own Dockerfile: {look}"
            );
        }
    }
}

#[tokio::test]
async fn a_dockerfile_elsewhere_and_behind_a_link_is_pinned_too() {
    let bases = Bases::start(&["base:1"]).await;
    let old = bases.digest("base:1").await.unwrap();
    bases.push("base:1", "moved").await;
    let dockerfile = format!("FROM {}\nRUN cat /mark\n", bases.name("base:1"));
    for builder in [Builder::BuildKit, Builder::Classic] {
        for apart in [false, true] {
            let context = MemoryContext::new("")
                .file("d/real", &dockerfile)
                .link("Linked", "d/real");
            let context = match apart {
                true => MemoryContext::new("FROM none\n")
                    .file("Dockerfile", &dockerfile)
                    .dockerfile_apart(),
                false => context.dockerfile_at("Linked"),
            };
            let mut spec = bases.spec(builder);
            spec.no_cache = true;
            spec.base_digests = BTreeMap::from([(bases.name("base:1"), old.clone())]);
            let run = build_shared(&bases.engine, &spec, Arc::new(context)).await;
            run.image();
            assert!(
                run.log.text().contains("mark of base:1"),
                "{builder:?} {apart} {}",
                run.log.text()
            );
        }
    }
}

#[tokio::test]
async fn an_image_says_what_it_stands_on() {
    let bases = Bases::start(&["base:1"]).await;
    let (name, digest) = (bases.name("base:1"), bases.digest("base:1").await.unwrap());
    for builder in [Builder::BuildKit, Builder::Classic] {
        let labels = async |dockerfile: &str| {
            let run = build(&bases.engine, &bases.spec(builder), MemoryContext::new(dockerfile)).await;
            let labels = inspect(&bases.engine, run.image().id()).await["Config"]["Labels"].clone();
            ["name", "digest"].map(|key| labels[format!("org.opencontainers.image.base.{key}")].clone())
        };
        let through = format!("FROM {name} AS a\nLABEL x=y\nFROM a\nLABEL a=b\n");
        assert_eq!(labels(&through).await, [json!(name), json!(null)]);
        let exact = format!("FROM {name}@{digest}\nLABEL a=b\n");
        assert_eq!(labels(&exact).await, [json!(name), json!(digest)]);
        assert_eq!(labels("FROM scratch\nLABEL a=b\n").await, [json!(null), json!(null)]);
    }
}
