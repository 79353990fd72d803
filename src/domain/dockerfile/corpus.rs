//! Dockerfiles, and the images that they stand on by Docker's reference of the Dockerfile's format.
//!
//! The engine's tests build those of them that an engine of version 20.10 can, with a registry of their own in the place
//! of [`REGISTRY`], and hold what the builder says against the same expectations.

use std::collections::BTreeMap;

use super::{Arguments, Role, images};

/// The host that the engine's tests replace. Its `base:1`, `base:2`, `base:latest` and `tools:latest` have a shell and a
/// file `/mark`.
pub(crate) const REGISTRY: &str = "r.example";

/// One Dockerfile.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) dockerfile: &'static str,
    pub(crate) build_args: &'static [(&'static str, &'static str)],
    pub(crate) target: Option<&'static str>,
    /// `LINE ROLE IMAGE`, with `not needed` behind it where a build of the target does without it; `LINE ?` for what names
    /// no image.
    pub(crate) expected: &'static [&'static str],
    /// Whether an engine of version 20.10 can build it.
    pub(crate) builds: bool,
}

const fn case(name: &'static str, dockerfile: &'static str, expected: &'static [&'static str]) -> Case {
    Case {
        name,
        dockerfile,
        build_args: &[],
        target: None,
        expected,
        builds: false,
    }
}

const fn built(name: &'static str, dockerfile: &'static str, expected: &'static [&'static str]) -> Case {
    Case {
        builds: true,
        ..case(name, dockerfile, expected)
    }
}

impl Case {
    const fn with(self, build_args: &'static [(&'static str, &'static str)]) -> Self {
        Self { build_args, ..self }
    }

    const fn to(self, target: &'static str) -> Self {
        Self {
            target: Some(target),
            ..self
        }
    }
}

macro_rules! digest {
    () => {
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    };
}

pub(crate) const CASES: &[Case] = &[
    // Names.
    case(
        "a bare name",
        "FROM alpine",
        &["1 from docker.io/library/alpine:latest"],
    ),
    case("a tag", "FROM alpine:3.20\n", &["1 from docker.io/library/alpine:3.20"]),
    case("a team", "FROM team/app:1", &["1 from docker.io/team/app:1"]),
    case(
        "a host with a port",
        "FROM localhost:5000/app",
        &["1 from localhost:5000/app:latest"],
    ),
    case(
        "a digest",
        concat!("FROM alpine@", digest!()),
        &[concat!("1 from docker.io/library/alpine@", digest!())],
    ),
    case(
        "a tag and a digest",
        concat!("FROM alpine:3.20@", digest!(), " AS base"),
        &[concat!("1 from docker.io/library/alpine:3.20@", digest!())],
    ),
    case("scratch is no image", "FROM scratch\nCOPY a /", &[]),
    case("no name at all", "FROM Not/A/Name", &["1 ?"]),
    case(
        "a quoted name",
        "FROM \"alpine:3.20\"",
        &["1 from docker.io/library/alpine:3.20"],
    ),
    case(
        "a name in single quotes is not expanded",
        "ARG V=1\nFROM 'alpine:$V'",
        &["2 ?"],
    ),
    // The instruction's form.
    case(
        "small letters",
        "from alpine as x\ncopy --from=busybox / /",
        &[
            "1 from docker.io/library/alpine:latest",
            "2 copy docker.io/library/busybox:latest",
        ],
    ),
    case(
        "tabs and spaces",
        " \tFROM\t alpine \t AS  x  ",
        &["1 from docker.io/library/alpine:latest"],
    ),
    case("too many words", "FROM alpine x", &["1 ?"]),
    case("no word", "FROM", &["1 ?"]),
    case(
        "a platform",
        "FROM --platform=linux/arm64 alpine",
        &["1 from docker.io/library/alpine:latest"],
    ),
    built(
        "the build platform",
        "FROM --platform=$BUILDPLATFORM r.example/base:1\nRUN echo",
        &["1 from r.example/base:1"],
    ),
    case(
        "a platform in quotes",
        "FROM --platform=\"linux/a b\" alpine",
        &["1 from docker.io/library/alpine:latest"],
    ),
    // Lines.
    case(
        "windows line ends",
        "FROM alpine \\\r\n  AS x\r\nCOPY --from=busybox a b\r\n",
        &[
            "1 from docker.io/library/alpine:latest",
            "3 copy docker.io/library/busybox:latest",
        ],
    ),
    case(
        "a byte order mark",
        "\u{feff}FROM alpine",
        &["1 from docker.io/library/alpine:latest"],
    ),
    case(
        "comments are lines of their own",
        "# FROM a\n\n  # FROM b\nFROM alpine # c",
        &["4 ?"],
    ),
    built(
        "continued with comments and blank lines in between",
        "FROM \\\n# a comment\n\n  r.example/base:1 \\\n  AS x\nRUN echo",
        &["1 from r.example/base:1"],
    ),
    case(
        "a name in two pieces",
        "FROM al\\\npine",
        &["1 from docker.io/library/alpine:latest"],
    ),
    case(
        "spaces after the continuation",
        "FROM \\  \n alpine",
        &["1 from docker.io/library/alpine:latest"],
    ),
    case(
        "a continued comment is not continued",
        "# x \\\nFROM alpine",
        &["2 from docker.io/library/alpine:latest"],
    ),
    case(
        "a shell's continued lines are no instructions",
        "FROM alpine\nRUN a && \\\nFROM busybox",
        &["1 from docker.io/library/alpine:latest"],
    ),
    case(
        "an escaped escape continues nothing",
        "FROM alpine\nRUN a \\\\\nFROM busybox",
        &[
            "1 from docker.io/library/alpine:latest not needed",
            "3 from docker.io/library/busybox:latest",
        ],
    ),
    built(
        "another escape character",
        "# escape=`\nFROM `\n  r.example/base:1\nRUN echo C:\\\nRUN echo 2",
        &["2 from r.example/base:1"],
    ),
    case(
        "the escape directive comes too late",
        "# a comment\n# escape=`\nFROM `\n  alpine",
        &["3 ?"],
    ),
    case(
        "an unknown directive ends directives",
        "# what=x\n# escape=`\nFROM a\\\nb",
        &["3 from docker.io/library/ab:latest"],
    ),
    case(
        "the escape directive is one among several",
        "# syntax=docker/dockerfile:1\n# Escape = `\nFROM a`\nb",
        &[
            "1 syntax docker.io/docker/dockerfile:1",
            "3 from docker.io/library/ab:latest",
        ],
    ),
    // Directives.
    case(
        "a frontend",
        "# syntax=docker/dockerfile:1.7\nFROM scratch",
        &["1 syntax docker.io/docker/dockerfile:1.7"],
    ),
    case(
        "a frontend by digest and with arguments",
        concat!("#syntax = docker/dockerfile:1@", digest!(), " --x\r\nFROM scratch"),
        &[concat!("1 syntax docker.io/docker/dockerfile:1@", digest!())],
    ),
    case(
        "a frontend that comes too late is a comment",
        "FROM scratch\n# syntax=docker/dockerfile:1",
        &[],
    ),
    // Stages.
    built(
        "a stage is no image",
        "FROM r.example/base:1 AS build\nRUN echo\nFROM build\nRUN echo 2",
        &["1 from r.example/base:1"],
    ),
    built(
        "the names of stages know no capitals",
        "FROM r.example/base:1 AS Build\nFROM r.example/base:2\nCOPY --from=BUILD /mark /x",
        &["1 from r.example/base:1", "2 from r.example/base:2"],
    ),
    built(
        "a stage by its number",
        "FROM r.example/base:1\nFROM r.example/base:2\nCOPY --from=0 /mark /x",
        &["1 from r.example/base:1", "2 from r.example/base:2"],
    ),
    built(
        "a stage that nothing needs",
        "FROM r.example/base:1 AS unused\nRUN echo\nFROM r.example/base:2\nRUN echo",
        &["1 from r.example/base:1 not needed", "3 from r.example/base:2"],
    ),
    built(
        "a target in the middle",
        "FROM r.example/base:1 AS a\nRUN echo\nFROM r.example/base:2 AS b\nRUN echo",
        &["1 from r.example/base:1", "3 from r.example/base:2 not needed"],
    )
    .to("A"),
    case(
        "a target that is not there",
        "FROM a AS x",
        &["1 from docker.io/library/a:latest not needed"],
    )
    .to("y"),
    built(
        "needed through a stage that is needed",
        "FROM r.example/base:1 AS a\nFROM r.example/base:2 AS b\nCOPY --from=a /mark /a\n\
        FROM scratch\nCOPY --from=b /a /a",
        &["1 from r.example/base:1", "2 from r.example/base:2"],
    ),
    case(
        "a stage before it has its name is an image",
        "FROM later AS x\nFROM alpine AS later",
        &[
            "1 from docker.io/library/later:latest not needed",
            "2 from docker.io/library/alpine:latest",
        ],
    ),
    case(
        "a stage named as an image",
        "FROM alpine AS alpine\nFROM alpine",
        &["1 from docker.io/library/alpine:latest"],
    ),
    case(
        "a stage with a tag is an image",
        "FROM alpine AS base\nFROM base:1",
        &[
            "1 from docker.io/library/alpine:latest not needed",
            "2 from docker.io/library/base:1",
        ],
    ),
    case(
        "FROM knows no numbers",
        "FROM alpine\nFROM 0",
        &[
            "1 from docker.io/library/alpine:latest not needed",
            "2 from docker.io/library/0:latest",
        ],
    ),
    // COPY.
    built(
        "a copy from an image",
        "FROM r.example/base:1\nCOPY --from=r.example/tools /mark /x",
        &["1 from r.example/base:1", "2 copy r.example/tools:latest"],
    ),
    built(
        "a copy with other flags and a list",
        "FROM scratch\nCOPY --chown=1:1 --from=\"r.example/tools:latest\" [\"/mark\", \"/x y\"]",
        &["2 copy r.example/tools:latest"],
    ),
    case(
        "a copy from a number that is no stage",
        "FROM scratch\nCOPY --from=1 a b\nCOPY --from=-1 a b",
        &["2 ?", "3 ?"],
    ),
    case(
        "a copy from a variable",
        "ARG I=alpine\nFROM scratch\nARG I\nCOPY --from=$I a b\nCOPY --from=${I} a b",
        &["4 ?", "5 ?"],
    ),
    case("a copy from scratch", "FROM scratch\nCOPY --from=scratch a b", &[]),
    case(
        "an argument that looks like a flag",
        "FROM scratch\nCOPY a --from=alpine b",
        &[],
    ),
    case("ADD copies from no image", "FROM scratch\nADD --from=alpine a b", &[]),
    case(
        "a copy in a stage that is not needed",
        "FROM a AS x\nCOPY --from=b c d\nFROM e",
        &[
            "1 from docker.io/library/a:latest not needed",
            "2 copy docker.io/library/b:latest not needed",
            "3 from docker.io/library/e:latest",
        ],
    ),
    // Mounts.
    built(
        "a mount from an image",
        "FROM r.example/base:1\nRUN --mount=type=bind,from=r.example/tools,target=/t cat /t/mark",
        &["1 from r.example/base:1", "2 mount r.example/tools:latest"],
    ),
    built(
        "a mount from a stage",
        "FROM r.example/tools AS t\nFROM r.example/base:1\nRUN --mount=from=t,target=/t cat /t/mark",
        &["1 from r.example/tools:latest", "2 from r.example/base:1"],
    ),
    built(
        "several mounts on several lines",
        "FROM r.example/base:1\nRUN --mount=type=tmpfs,target=/a \
        --mount=type=cache,target=/b,from=r.example/base:2 \\\n  --mount=target=/t,from=r.example/tools,source=/ cat /t/mark",
        &[
            "1 from r.example/base:1",
            "2 mount r.example/base:2",
            "2 mount r.example/tools:latest",
        ],
    ),
    case(
        "other flags before a mount",
        "FROM scratch\nRUN --network=none --security=sandbox --mount=from=alpine,target=/x y",
        &["2 mount docker.io/library/alpine:latest"],
    ),
    case(
        "mounts of other kinds stand on nothing",
        "FROM scratch\nRUN --mount=type=secret,id=a --mount=type=tmpfs,from=alpine,target=/x y",
        &[],
    ),
    case(
        "a mount in quotes",
        "FROM scratch\nRUN --mount=\"type=bind,FROM=alpine,target=/x\" y",
        &["2 mount docker.io/library/alpine:latest"],
    ),
    case(
        "a mount from a number is an image",
        "FROM scratch\nFROM scratch\nRUN --mount=from=0,target=/x y",
        &["3 mount docker.io/library/0:latest"],
    ),
    case(
        "a mount from a variable",
        "ARG I=alpine\nFROM scratch\nRUN --mount=from=$I,target=/x y",
        &["3 ?"],
    ),
    // Arguments.
    built(
        "an argument with a default",
        "ARG V=1\nFROM r.example/base:$V\nRUN echo",
        &["2 from r.example/base:1"],
    ),
    built(
        "a build argument wins",
        "ARG V=1\nFROM r.example/base:${V}\nRUN echo",
        &["2 from r.example/base:2"],
    )
    .with(&[("V", "2")]),
    case("a build argument that is not declared", "FROM alpine:$V", &["1 ?"]).with(&[("V", "2")]),
    case(
        "an argument without a value",
        "ARG V\nFROM alpine:${V:-3}",
        &["2 from docker.io/library/alpine:3"],
    ),
    built(
        "an argument without a default is given",
        "ARG IMAGE\nFROM ${IMAGE}\nRUN echo",
        &["2 from r.example/base:2"],
    )
    .with(&[("IMAGE", "r.example/base:2")]),
    case(
        "arguments of arguments",
        "ARG NAME=base V=1\nARG IMAGE=\"r.example/${NAME}:$V\"\nFROM $IMAGE",
        &["3 from r.example/base:1"],
    ),
    case(
        "a later argument wins",
        "ARG V=1\nARG V=2\nFROM alpine:$V",
        &["3 from docker.io/library/alpine:2"],
    ),
    case(
        "an argument that is declared after its use",
        "ARG A=$B\nARG B=1\nFROM alpine:x$A",
        &["3 from docker.io/library/alpine:x"],
    ),
    case("an empty name", "ARG X=\nFROM $X", &["2 ?"]),
    case(
        "a stage's argument is not known to FROM",
        "FROM a AS x\nARG V=1\nFROM alpine:${V:-none}",
        &[
            "1 from docker.io/library/a:latest not needed",
            "3 from docker.io/library/alpine:none",
        ],
    ),
    case(
        "a stage chosen by an argument",
        "ARG KIND=prod\nFROM a AS dev\nFROM b AS prod\nFROM $KIND",
        &[
            "2 from docker.io/library/a:latest not needed",
            "3 from docker.io/library/b:latest",
        ],
    ),
    built(
        "a stage chosen by a build argument",
        "ARG KIND=prod\nFROM r.example/base:1 AS dev\nFROM r.example/base:2 AS prod\nFROM $KIND\nRUN echo",
        &["2 from r.example/base:1", "3 from r.example/base:2 not needed"],
    )
    .with(&[("KIND", "dev")]),
    case("an escaped dollar", "ARG V=1\nFROM alpine:\\$V", &["2 ?"]),
    case(
        "a name with a default",
        "FROM ${BASE:-alpine:3.20}",
        &["1 from docker.io/library/alpine:3.20"],
    ),
    case(
        "a name with an alternative",
        "ARG DEBUG=1\nFROM gcr.io/distroless/static${DEBUG:+:debug}",
        &["2 from gcr.io/distroless/static:debug"],
    ),
    case(
        "a name that must be given",
        "ARG BASE\nFROM ${BASE:?give a base}",
        &["2 ?"],
    ),
    case(
        "a suffix cut off",
        "ARG V=3.20.1\nFROM alpine:${V%.*}",
        &["2 from docker.io/library/alpine:3.20"],
    ),
    case(
        "a prefix cut off",
        "ARG TAG=v1.2\nFROM app:${TAG#v}",
        &["2 from docker.io/library/app:1.2"],
    ),
    case(
        "the longest cut off",
        "ARG T=a/b/c:d\nFROM ${T##*/}\nFROM x:${T%%/*}",
        &[
            "2 from docker.io/library/c:d not needed",
            "3 from docker.io/library/x:a",
        ],
    ),
    case(
        "text replaced",
        "ARG V=1+2+3\nFROM a:${V/+/-}x\nFROM a:${V//+/_}",
        &["2 ?", "3 from docker.io/library/a:1_2_3"],
    ),
    case(
        "what the platform is",
        "FROM a:$TARGETOS-$TARGETARCH-$BUILDARCH$TARGETVARIANT",
        &["1 from docker.io/library/a:linux-arm64-amd64"],
    ),
    case(
        "a platform by build argument",
        "FROM a:$TARGETARCH",
        &["1 from docker.io/library/a:mips"],
    )
    .with(&[("TARGETARCH", "mips")]),
    case("a word that does not end", "FROM ${X", &["1 ?"]),
    // Heredocs.
    case(
        "a heredoc's body is no instruction",
        "FROM a\nRUN <<EOF\nFROM b\nCOPY --from=c d e\nEOF\nCOPY --from=f g h",
        &["1 from docker.io/library/a:latest", "6 copy docker.io/library/f:latest"],
    ),
    case(
        "heredocs in all their forms",
        "FROM a\nCOPY <<-\"E F\" <<G /x/\nFROM b\n\t\tE F\n\tG\nFROM c\nG\nRUN cat \\\n 3<<H\nFROM d\nH\nFROM e",
        &[
            "1 from docker.io/library/a:latest not needed",
            "12 from docker.io/library/e:latest",
        ],
    ),
    case(
        "a heredoc that does not end",
        "FROM a\nRUN <<EOF\nFROM b\n EOF\n",
        &["1 from docker.io/library/a:latest"],
    ),
    case(
        "a heredoc in another instruction is none",
        "FROM a\nCMD <<EOF\nFROM b",
        &[
            "1 from docker.io/library/a:latest not needed",
            "3 from docker.io/library/b:latest",
        ],
    ),
    case(
        "a heredoc's last line in windows style",
        "FROM a\r\nRUN <<EOF\r\nFROM b\r\nEOF\r\nFROM c\r\n",
        &[
            "1 from docker.io/library/a:latest not needed",
            "5 from docker.io/library/c:latest",
        ],
    ),
    // ONBUILD.
    case(
        "ONBUILD is for those that stand on the image",
        "FROM a\nONBUILD COPY --from=b c d",
        &["1 from docker.io/library/a:latest"],
    ),
    case(
        "ONBUILD of a stage that another stands on",
        "FROM r.example/base:1 AS a\nONBUILD COPY --from=r.example/tools /mark /x\nFROM a\nRUN echo",
        &["1 from r.example/base:1", "2 copy r.example/tools:latest"],
    ),
    case(
        "ONBUILD with a heredoc",
        "FROM a AS x\nONBUILD RUN --mount=from=b,target=/c <<E\nFROM d\nE\nFROM x",
        &[
            "1 from docker.io/library/a:latest",
            "2 mount docker.io/library/b:latest",
        ],
    ),
    // What is no Dockerfile.
    case("nothing", "", &[]),
    case("no FROM", "COPY --from=alpine a b\nRUN x", &[]),
    case(
        "unknown instructions",
        "FROM a\nWHAT FROM b\nFROMB c",
        &["1 from docker.io/library/a:latest"],
    ),
];

/// What is found, in the words of the cases.
pub(crate) fn found(case: &Case, every_stage: bool) -> Vec<String> {
    let build_args: BTreeMap<String, String> = case
        .build_args
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let arguments = Arguments {
        build_args: &build_args,
        build_platform: "linux/amd64",
        target_platform: "linux/arm64/v8",
        target: case.target,
        every_stage,
    };
    let used = images(case.dockerfile.as_bytes(), &arguments);
    let images = used.images.iter().map(|image| {
        let role = match image.role {
            Role::From => "from",
            Role::CopyFrom => "copy",
            Role::MountFrom => "mount",
            Role::Syntax => "syntax",
        };
        let needed = if image.needed { "" } else { " not needed" };
        format!("{} {role} {}{needed}", image.line, image.reference)
    });
    let mut words: Vec<(usize, String)> = used.images.iter().map(|image| image.line).zip(images).collect();
    words.extend(
        used.unresolved
            .iter()
            .map(|word| (word.line, format!("{} ?", word.line))),
    );
    words.sort_by_key(|(line, _)| *line);
    words.into_iter().map(|(_, word)| word).collect()
}
