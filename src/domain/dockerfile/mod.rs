//! The images that a Dockerfile stands on, each with its place in the text, and the text with their digests written in.
//!
//! Read as BuildKit's frontend reads it: directives, comments, continued lines, heredocs, `ARG` before the first `FROM`
//! with the shell's substitutions, stages by name and number. Whatever the builder would refuse is told as unresolved and
//! never refused here: what the builder says of it is better. Any bytes are read in a time that is linear in their
//! number, within fixed bounds. No I/O, and nothing here decides what is built.
//!
//! The crates that parse Dockerfiles (`parse-dockerfile`, `dockerfile-parser`) stop at a tree of instructions: they expand
//! no variable, tell no stage from an image, refuse a file as a whole for one instruction that they do not know, and want
//! UTF-8. What is hard here would be left to do.
//!
//! `ONBUILD` takes effect in what stands on its image. So it counts where a later stage of the same file stands on its
//! stage, and not otherwise; what a base image's own `ONBUILD` brings is not in the file, and only the builder tells it.

mod expand;
mod heredoc;
mod lines;
mod pattern;
mod pin;
mod platform;
mod stages;
mod words;

#[cfg(test)]
pub(crate) mod corpus;

use std::{collections::BTreeMap, ops::Range};

pub use self::pin::{Pinned, pin};
use self::{
    lines::Directive,
    stages::{Base, Mention},
};
use super::image::ImageReference;

/// Longest text of what could not be resolved, in characters.
const MAX_TEXT: usize = 200;

/// What a build gives to its Dockerfile.
#[derive(Debug, Clone, Copy)]
pub struct Arguments<'a> {
    pub build_args: &'a BTreeMap<String, String>,
    /// Where it is built: `linux/amd64`.
    pub build_platform: &'a str,
    /// For what it is built.
    pub target_platform: &'a str,
    /// The stage to stop at; `None`: the last one.
    pub target: Option<&'a str>,
    /// As the classic builder goes: every stage up to the target is built, not only those that it needs.
    pub every_stage: bool,
}

/// The images of a Dockerfile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Used {
    /// Stage by stage.
    pub images: Vec<UsedImage>,
    /// What names no image as it stands. A builder that meets it fails.
    pub unresolved: Vec<Unresolved>,
    /// Which of `images` the target stands on by its `FROM`, through other stages; `None`: `scratch`, or unresolved.
    pub base: Option<usize>,
}

/// An image that a Dockerfile names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedImage {
    /// Completed as Docker does it. With a digest it never moves.
    pub reference: ImageReference,
    pub role: Role,
    /// Where its instruction begins, from 1.
    pub line: usize,
    /// The bytes of the file that name it, variables and all; `None` where quotes begin or end in the midst of it, so that
    /// no other name can be put there.
    pub span: Option<Range<usize>>,
    /// Whether the target is built with it.
    pub needed: bool,
}

/// What an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `FROM image`
    From,
    /// `COPY --from=image`
    CopyFrom,
    /// `RUN --mount=from=image`
    MountFrom,
    /// `# syntax=image`: it reads the Dockerfile.
    Syntax,
}

/// A word that names no image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unresolved {
    /// Where its instruction begins, from 1.
    pub line: usize,
    /// As it stands in the file, cut if it is long.
    pub text: String,
    pub reason: String,
}

impl Unresolved {
    fn new(line: usize, text: &str, reason: String) -> Self {
        Self {
            line,
            text: text.chars().take(MAX_TEXT).collect(),
            reason: reason.chars().take(MAX_TEXT).collect(),
        }
    }
}

/// Finds the images that a Dockerfile stands on.
pub fn images(dockerfile: &[u8], arguments: &Arguments<'_>) -> Used {
    let lines = lines::read(dockerfile);
    let mut stages = stages::read(&lines, arguments);
    let mut used = Used {
        unresolved: stages.take_unresolved(),
        ..Used::default()
    };
    if let Some(directive) = &lines.syntax {
        used.syntax(dockerfile, directive);
    }
    let target = stages.target(arguments.target);
    let needed = stages.needed(target, arguments.every_stage);
    // What `ONBUILD` brings is carried out in the stages that stand on its own; whether one of these is needed.
    let mut triggered: BTreeMap<usize, bool> = BTreeMap::new();
    for (at, stage) in stages.all().iter().enumerate() {
        if let Some(base) = stage.base_stage() {
            *triggered.entry(base).or_default() |= needed.contains(&at);
        }
    }
    // Which image each stage stands on: stages stand on earlier ones alone.
    let mut bases: Vec<Option<usize>> = Vec::new();
    for (at, stage) in stages.all().iter().enumerate() {
        let is_needed = needed.contains(&at);
        bases.push(match &stage.base {
            Some(Base::Stage(base)) => bases.get(*base).copied().flatten(),
            Some(Base::Image(mention)) => used.image(mention, is_needed),
            None => None,
        });
        let own = stage.uses.iter().map(|mention| (mention, is_needed));
        let triggers = triggered
            .get(&at)
            .map(|&needed| stage.on_build.iter().map(move |mention| (mention, needed)));
        for (mention, needed) in own.chain(triggers.into_iter().flatten()) {
            match stages.is_image(mention) {
                Ok(true) => {
                    used.image(mention, needed);
                }
                Ok(false) => {}
                Err(reason) => used.refuse(mention, reason),
            }
        }
    }
    used.base = target.and_then(|target| bases.get(target).copied().flatten());
    used
}

impl Used {
    fn syntax(&mut self, dockerfile: &[u8], directive: &Directive) {
        let value = &dockerfile[directive.span.clone()];
        // What follows the image's name are arguments to the frontend.
        let length = value.iter().take_while(|c| !c.is_ascii_whitespace()).count();
        let begin = directive.span.start;
        let mention = Mention {
            name: String::from_utf8_lossy(&value[..length]).into_owned(),
            role: Role::Syntax,
            line: directive.line,
            span: Some(begin..begin + length),
        };
        self.image(&mention, true);
    }

    /// Notes an image; says which one it is.
    fn image(&mut self, mention: &Mention, needed: bool) -> Option<usize> {
        let reference = match ImageReference::parse(&mention.name) {
            Ok(reference) => reference,
            Err(_) if mention.name.contains('$') && mention.role != Role::From => {
                self.refuse(mention, "variables have no effect here".to_owned());
                return None;
            }
            Err(error) => {
                self.refuse(mention, error.reason.to_owned());
                return None;
            }
        };
        self.images.push(UsedImage {
            reference,
            role: mention.role,
            line: mention.line,
            span: mention.span.clone(),
            needed,
        });
        Some(self.images.len() - 1)
    }

    fn refuse(&mut self, mention: &Mention, reason: String) {
        self.unresolved
            .push(Unresolved::new(mention.line, &mention.name, reason));
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{
        corpus::{CASES, found},
        *,
    };

    fn images_of(dockerfile: &[u8]) -> Used {
        let arguments = Arguments {
            build_args: &BTreeMap::new(),
            build_platform: "linux/amd64",
            target_platform: "linux/amd64",
            target: None,
            every_stage: false,
        };
        images(dockerfile, &arguments)
    }

    #[test]
    fn every_dockerfile_of_the_corpus_stands_on_what_docker_says() {
        let wrong: Vec<_> = CASES
            .iter()
            .filter(|case| found(case, false) != case.expected)
            .map(|case| format!("{}: {:?} is not {:?}", case.name, found(case, false), case.expected))
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(CASES.len() >= 60);
    }

    #[test]
    fn a_builder_that_begins_at_the_beginning_needs_all_up_to_the_target() {
        let case = |name| CASES.iter().find(|case| case.name == name).unwrap();
        let unused = case("a stage that nothing needs");
        assert_eq!(
            found(unused, true),
            ["1 from r.example/base:1", "3 from r.example/base:2"]
        );
        let middle = case("a target in the middle");
        assert_eq!(found(middle, true), middle.expected);
    }

    #[test]
    fn a_span_is_the_word_as_it_stands() {
        let file = "\u{feff}# syntax=docker/dockerfile:1\r\nARG A=a\r\nFROM \\\r\n# x\r\n ${A}l\\\r\npine AS x\r\nCOPY \\\r\n \
                    --from='b' / /\r\nRUN --mount=from=c,target=/ x\r\n";
        let words: Vec<_> = images_of(file.as_bytes())
            .images
            .into_iter()
            .map(|image| file[image.span.unwrap()].to_owned())
            .collect();
        assert_eq!(words, ["docker/dockerfile:1", "${A}l\\\r\npine", "b", "c"]);
    }

    #[test]
    fn the_base_is_the_image_at_the_end_of_the_targets_stages() {
        let base = |file: &str| {
            let used = images_of(file.as_bytes());
            used.base.map(|base| used.images[base].reference.to_string())
        };
        let file = "FROM x\nFROM a AS one\nCOPY --from=b / /\nFROM one AS two\nFROM two";
        assert_eq!(base(file).as_deref(), Some("docker.io/library/a:latest"));
        assert_eq!(base("FROM a\nFROM scratch"), None);
        assert_eq!(
            base("# syntax=docker/dockerfile\nFROM a").as_deref(),
            Some("docker.io/library/a:latest")
        );
        assert_eq!(base(""), None);
    }

    #[test]
    fn bytes_that_are_no_text_are_read_around() {
        let used = images_of(b"FROM alpine\nRUN \xff\xfe\nCOPY --from=\xff / /\nCOPY --from=busybox \xff /\n");
        assert_eq!(used.images.len(), 2);
        assert_eq!(used.unresolved.len(), 1);
    }

    #[test]
    fn a_mebibyte_of_anything_takes_bounded_time() {
        let size = 1 << 20;
        let fill = |unit: &str| unit.repeat(size / unit.len());
        let growing = (0..20_000).fold("ARG A0=aaaaaaaaaaaaaaaaaaaaaaaa\n".to_owned(), |text, n| {
            text + &format!("ARG A{}=$A{n}$A{n}\n", n + 1)
        });
        for hostile in [
            fill("FROM a\n"),
            fill("FROM a AS b\nFROM b\n"),
            format!("FROM {}", fill("$")),
            format!("FROM {}", fill("${a:-")),
            format!("FROM {}", fill("${a/*/")),
            fill("ARG A=\"$A$A$A$A\"\n"),
            format!("ARG A=x\n{}", fill("ARG A=$A$A\n")),
            format!("ARG A={}\n{}", "a".repeat(9000), fill("ARG B=${A%%a*a*a*a*a*b}\n")),
            format!("ARG A={}\n{}", "a".repeat(9000), fill("ARG B=${A//a/bbbb}\n")),
            growing,
            fill("\\\n"),
            fill("RUN \\\n#\n"),
            format!("FROM a\n{}", fill("RUN <<A <<B\n")),
            format!("FROM a\nRUN {}", fill("<<A ")),
            format!("FROM a\nRUN {}", fill("--mount=from=b ")),
            format!("FROM a\nCOPY {}", fill("--from=b ")),
            format!("FROM a AS a\n{}", fill("ONBUILD COPY --from=b c d\n")),
            format!(
                "FROM a AS a\n{}{}",
                fill("ONBUILD COPY --from=b c d\n"),
                "FROM a\n".repeat(1000)
            ),
            fill("'\n\""),
        ] {
            let started = Instant::now();
            images_of(hostile.as_bytes());
            let took = started.elapsed();
            assert!(took < Duration::from_secs(15), "{took:?}: {:?}", &hostile[..60]);
        }
    }
}
