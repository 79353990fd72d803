//! Reads instructions into stages, and finds which of them a build needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use super::{
    Arguments, Role, Unresolved,
    expand::{Expander, Variables},
    lines::{Lines, Logical, keyword},
    platform,
    words::{Instruction, Part, field_value, fields, part, quoted_words, split_instruction},
};

/// The builder's word for no image at all.
const SCRATCH: &str = "scratch";

/// What a Dockerfile says, before names are told from stages.
#[derive(Default)]
pub(super) struct Stages {
    stages: Vec<Stage>,
    unresolved: Vec<Unresolved>,
    /// The last stage of each name, in small letters.
    by_name: BTreeMap<String, usize>,
}

/// One stage.
#[derive(Default)]
pub(super) struct Stage {
    /// `None`: nothing, or what could not be read.
    pub(super) base: Option<Base>,
    pub(super) uses: Vec<Mention>,
    /// Of its `ONBUILD` instructions: they are carried out in the stages that stand on this one.
    pub(super) on_build: Vec<Mention>,
}

/// What a stage stands on.
pub(super) enum Base {
    Stage(usize),
    Image(Mention),
}

/// A name in a Dockerfile that stands for a stage or an image.
pub(super) struct Mention {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) line: usize,
    pub(super) span: Option<Range<usize>>,
}

/// What a name stands for.
enum Meaning {
    Nothing,
    Stage(usize),
    Image,
}

/// Reads all instructions.
pub(super) fn read(lines: &Lines, arguments: &Arguments<'_>) -> Stages {
    let mut stages = Stages::default();
    let mut expander = Expander::new(lines.escape);
    let mut variables = platform::variables(arguments);
    for logical in &lines.instructions {
        let instruction = split_instruction(&logical.text);
        match keyword(&logical.text).as_slice() {
            b"ARG" if stages.stages.is_empty() => {
                let text = String::from_utf8_lossy(&instruction.arguments()).into_owned();
                for word in quoted_words(&text, char::from(lines.escape)) {
                    if let Err(reason) = declare(&word, &mut variables, &mut expander, arguments) {
                        stages.refuse(logical, word.as_bytes(), reason);
                    }
                }
            }
            b"FROM" => stages.begin(logical, &instruction, &mut expander, &variables),
            b"ONBUILD" => {
                let rest = instruction.rest;
                let trigger = split_instruction(&logical.text[rest.clone()]);
                let mentions = mentions(logical, &trigger, rest.start);
                if let Some(stage) = stages.stages.last_mut() {
                    stage.on_build.extend(mentions);
                }
            }
            _ => {
                let mentions = mentions(logical, &instruction, 0);
                if let Some(stage) = stages.stages.last_mut() {
                    stage.uses.extend(mentions);
                }
            }
        }
    }
    stages
}

/// `ARG name=default`: a build argument of that name wins, and is not expanded.
fn declare(
    word: &str,
    variables: &mut Variables,
    expander: &mut Expander,
    arguments: &Arguments<'_>,
) -> Result<(), String> {
    let (name, default) = match word.split_once('=') {
        Some((name, default)) => (name, Some(default)),
        None => (word, None),
    };
    let value = match (arguments.build_args.get(name), default) {
        (Some(given), _) => given.clone(),
        (None, Some(default)) => expander.expand(default, variables)?,
        (None, None) => return Ok(()),
    };
    variables.insert(name.to_owned(), value);
    Ok(())
}

/// The names behind `COPY --from=` and `RUN --mount=...,from=`. `offset`: where the instruction begins in its line.
fn mentions(logical: &Logical, instruction: &Instruction<'_>, offset: usize) -> Vec<Mention> {
    let flags = instruction.flags();
    let found: Vec<(Role, Part)> = match instruction.keyword.to_ascii_uppercase().as_slice() {
        b"COPY" => flags
            .iter()
            .filter_map(|flag| flag.value("from"))
            .map(|value| (Role::CopyFrom, part(value)))
            .collect(),
        b"RUN" => flags
            .iter()
            .filter_map(|flag| flag.value("mount"))
            .filter_map(|value| {
                let fields = fields(value);
                let last = |key| fields.iter().rev().find_map(|field| field_value(field, key)).map(part);
                let kind = last("type").map_or_else(|| b"bind".to_vec(), |kind| kind.text.to_ascii_lowercase());
                let from = last("from")?;
                matches!(kind.as_slice(), b"bind" | b"cache").then_some((Role::MountFrom, from))
            })
            .collect(),
        _ => Vec::new(),
    };
    found
        .into_iter()
        .filter(|(_, part)| !part.text.is_empty())
        .map(|(role, part)| Mention {
            name: String::from_utf8_lossy(&part.text).into_owned(),
            role,
            line: logical.line,
            span: part
                .range
                .map(|range| logical.span(offset + range.start..offset + range.end)),
        })
        .collect()
}

impl Stages {
    pub(super) fn all(&self) -> &[Stage] {
        &self.stages
    }

    /// What was met on the way and names nothing.
    pub(super) fn take_unresolved(&mut self) -> Vec<Unresolved> {
        std::mem::take(&mut self.unresolved)
    }

    fn begin(
        &mut self,
        logical: &Logical,
        instruction: &Instruction<'_>,
        expander: &mut Expander,
        variables: &Variables,
    ) {
        let words = instruction.plain_words();
        let text = |range: &Range<usize>| String::from_utf8_lossy(&logical.text[range.clone()]).into_owned();
        let (image, name) = match words.as_slice() {
            [image] => (image, None),
            [image, by, name] if text(by).eq_ignore_ascii_case("as") => (image, Some(text(name).to_lowercase())),
            _ => {
                let reason = "`FROM` takes an image, and `AS` with a name where there is one".to_owned();
                self.refuse(logical, &logical.text, reason);
                self.stages.push(Stage::default());
                return;
            }
        };
        let base = match expander.expand(&text(image), variables) {
            Ok(value) if value.is_empty() => {
                self.refuse(logical, text(image).as_bytes(), "it names no image".to_owned());
                None
            }
            Ok(value) => self.base(value, logical, image),
            Err(reason) => {
                self.refuse(logical, text(image).as_bytes(), reason);
                None
            }
        };
        self.stages.push(Stage {
            base,
            ..Stage::default()
        });
        if let Some(name) = name {
            self.by_name.insert(name, self.stages.len() - 1);
        }
    }

    /// `FROM` knows the stages before it alone.
    fn base(&self, value: String, logical: &Logical, image: &Range<usize>) -> Option<Base> {
        if value == SCRATCH {
            return None;
        }
        Some(match self.by_name.get(&value.to_lowercase()) {
            Some(&stage) => Base::Stage(stage),
            None => Base::Image(Mention {
                name: value,
                role: Role::From,
                line: logical.line,
                span: Some(logical.span(image.clone())),
            }),
        })
    }

    fn refuse(&mut self, logical: &Logical, text: &[u8], reason: String) {
        self.unresolved
            .push(Unresolved::new(logical.line, &String::from_utf8_lossy(text), reason));
    }

    /// A number is a stage's place for `COPY` alone; a name is a stage wherever the stage stands.
    fn meaning(&self, mention: &Mention) -> Result<Meaning, String> {
        if mention.name == SCRATCH {
            return Ok(Meaning::Nothing);
        }
        if mention.role == Role::CopyFrom
            && let Ok(number) = mention.name.parse::<i64>()
        {
            return match usize::try_from(number) {
                Ok(stage) if stage < self.stages.len() => Ok(Meaning::Stage(stage)),
                _ => Err("there is no stage of that number".to_owned()),
            };
        }
        Ok(match self.by_name.get(&mention.name.to_lowercase()) {
            Some(&stage) => Meaning::Stage(stage),
            None => Meaning::Image,
        })
    }

    /// Whether a name stands for an image; an error where it stands for nothing that is there.
    pub(super) fn is_image(&self, mention: &Mention) -> Result<bool, String> {
        self.meaning(mention).map(|meaning| matches!(meaning, Meaning::Image))
    }

    /// The stage that is built; `None` where there is none of that name.
    pub(super) fn target(&self, target: Option<&str>) -> Option<usize> {
        match target {
            None => self.stages.len().checked_sub(1),
            Some(name) => {
                let numbered = || name.parse().ok().filter(|&number: &usize| number < self.stages.len());
                self.by_name.get(&name.to_lowercase()).copied().or_else(numbered)
            }
        }
    }

    /// The stages that are built for the target: those that it needs, or, by a builder that goes through the file from its
    /// beginning, all up to it.
    pub(super) fn needed(&self, target: Option<usize>, from_the_beginning: bool) -> BTreeSet<usize> {
        let Some(target) = target else {
            return BTreeSet::new();
        };
        if from_the_beginning {
            return (0..=target).collect();
        }
        let mut needed = BTreeSet::from([target]);
        let mut triggered = BTreeSet::new();
        let mut todo = vec![target];
        while let Some(at) = todo.pop() {
            let stage = &self.stages[at];
            let base = stage.base_stage();
            let triggers = base
                .filter(|&base| triggered.insert(base))
                .map_or(&[][..], |base| &self.stages[base].on_build);
            let used = stage.uses.iter().chain(triggers);
            let used = used.filter_map(|mention| match self.meaning(mention) {
                Ok(Meaning::Stage(stage)) => Some(stage),
                _ => None,
            });
            todo.extend(base.into_iter().chain(used).filter(|&stage| needed.insert(stage)));
        }
        needed
    }
}

impl Stage {
    /// The stage that it stands on.
    pub(super) fn base_stage(&self) -> Option<usize> {
        match self.base {
            Some(Base::Stage(base)) => Some(base),
            _ => None,
        }
    }
}
