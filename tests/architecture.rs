//! Who may stand on whom. Reads the imports of every source file and fails on an arrow that points up, and on a library
//! that is used outside the one module that may know it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Each part, with the parts it may import. What is not listed here does not exist.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    // The rules of the product: no I/O.
    ("domain", &[]),
    // Small shared tools.
    ("clock", &[]),
    ("signals", &[]),
    ("tokens", &["domain"]),
    ("passwords", &[]),
    ("secrets", &[]),
    ("vault", &[]),
    ("layout", &["domain"]),
    ("strict_json", &[]),
    // One outside thing each; they do not know each other.
    ("store", &["domain"]),
    ("forge", &["domain", "strict_json"]),
    ("source", &["domain"]),
    ("engine", &["domain"]),
    ("registry", &["domain", "strict_json"]),
    ("logs", &["domain"]),
    ("mail", &["domain"]),
    ("oidc", &["domain"]),
    // Where logs are, growing or sealed.
    ("build_log", &["domain", "logs", "store"]),
    // The activities. They know each other through the store and the signals; `intake` is the one door by which pages,
    // API and schedules start builds.
    (
        "intake",
        &[
            "clock", "domain", "forge", "registry", "secrets", "signals", "store", "vault",
        ],
    ),
    (
        "reporter",
        &["build_log", "clock", "domain", "logs", "mail", "signals", "store"],
    ),
    ("scheduler", &["clock", "domain", "intake", "signals", "store"]),
    (
        "poller",
        &["clock", "domain", "intake", "secrets", "source", "store", "vault"],
    ),
    ("janitor", &["build_log", "logs", "signals", "store"]),
    (
        "worker",
        &[
            "build_log",
            "clock",
            "domain",
            "engine",
            "logs",
            "registry",
            "secrets",
            "signals",
            "source",
            "store",
            "vault",
        ],
    ),
    (
        "watcher",
        &[
            "clock", "domain", "intake", "registry", "secrets", "signals", "store", "vault",
        ],
    ),
    (
        "web",
        &[
            "build_log",
            "clock",
            "domain",
            "intake",
            "logs",
            "oidc",
            "passwords",
            "secrets",
            "signals",
            "store",
            "tokens",
            "vault",
        ],
    ),
    // Configuration and wiring.
    ("config", &["domain"]),
    ("telemetry", &["config"]),
    (
        "app",
        &[
            "build_log",
            "clock",
            "config",
            "domain",
            "engine",
            "intake",
            "janitor",
            "layout",
            "logs",
            "mail",
            "oidc",
            "poller",
            "registry",
            "reporter",
            "scheduler",
            "signals",
            "source",
            "store",
            "tokens",
            "vault",
            "watcher",
            "web",
            "worker",
        ],
    ),
    (
        "cli",
        &[
            "app",
            "clock",
            "config",
            "domain",
            "layout",
            "passwords",
            "store",
            "telemetry",
            "tokens",
            "vault",
        ],
    ),
];

/// Libraries that one part alone may know.
const ONLY_IN: &[(&str, &str)] = &[
    ("sqlx", "store"),
    ("bollard", "engine"),
    ("bollard_buildkit_proto", "engine"),
    ("tonic", "engine"),
    ("git2", "source"),
    ("lettre", "mail"),
    ("oauth2", "oidc"),
    ("jsonwebtoken", "oidc"),
    ("axum", "web"),
    ("askama", "web"),
    ("utoipa_axum", "web"),
    ("clap", "cli"),
    ("indicatif", "cli"),
];

#[test]
fn arrows_point_down_only() {
    let mut wrong = Vec::new();
    for (part, file, text) in sources() {
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == part) else {
            wrong.push(format!("{}: the part `{part}` is not on the list", file.display()));
            continue;
        };
        for imported in imports_of(&text) {
            if imported != part && !allowed.contains(&imported.as_str()) {
                wrong.push(format!("{}: `{part}` imports `{imported}`", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that must not be:\n{}", wrong.join("\n"));
}

#[test]
fn each_library_is_known_to_one_part() {
    let mut wrong = Vec::new();
    for (part, file, text) in sources() {
        for (library, owner) in ONLY_IN {
            // The configuration's enums are also the command line's.
            let is_exempt = *library == "clap" && part == "config";
            // Tests play servers for the parts that are clients.
            let is_exempt = is_exempt || file.iter().any(|name| name == "tests");
            if part != *owner && !is_exempt && text.contains(&format!("{library}::")) {
                wrong.push(format!("{}: `{library}` belongs to `{owner}`", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "libraries out of their place:\n{}", wrong.join("\n"));
}

#[test]
fn the_domain_does_no_io() {
    for (part, file, text) in sources() {
        for outside in ["std::fs", "std::net::Tcp", "std::process", "tokio::", "reqwest::"] {
            assert!(
                part != "domain" || !text.contains(outside),
                "{} uses {outside}",
                file.display()
            );
        }
    }
}

#[test]
fn every_listed_part_exists() {
    let parts: BTreeSet<String> = sources().into_iter().map(|(part, ..)| part).collect();
    for (part, _) in MAY_IMPORT {
        assert!(parts.contains(*part), "the part `{part}` is listed but not there");
    }
}

/// Part, path and code of every source file but the crate's roots.
fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    collect(&root, &mut files);
    let mut sources = Vec::new();
    for (path, text) in files {
        let relative = path.strip_prefix(&root).expect("below the root").to_owned();
        let first = relative
            .iter()
            .next()
            .expect("has a first component")
            .to_string_lossy()
            .into_owned();
        let part = first.strip_suffix(".rs").unwrap_or(&first).to_owned();
        if !matches!(part.as_str(), "lib" | "main") {
            sources.push((part, relative, without_comments(&text)));
        }
    }
    sources
}

fn collect(directory: &Path, files: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(directory).expect("readable source directory") {
        let path = entry.expect("readable entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("readable source file");
            files.insert(path, text);
        }
    }
}

fn without_comments(text: &str) -> String {
    let code = text
        .lines()
        .map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    code.collect::<Vec<_>>().join("\n")
}

/// The first segments of everything that is named through `crate::`, in groups too.
fn imports_of(text: &str) -> BTreeSet<String> {
    let mut imports = BTreeSet::new();
    for (at, found) in text.match_indices("crate::") {
        let rest = &text[at + found.len()..];
        match rest.strip_prefix('{') {
            Some(group) => imports.extend(first_segments(group)),
            None => imports.extend(identifier(rest)),
        }
    }
    imports
}

/// The first segment of each entry of a `{...}` group whose opening brace was read already.
fn first_segments(group: &str) -> Vec<String> {
    let (mut depth, mut at_entry, mut segments) = (1, true, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => at_entry = true,
            c if at_entry && depth == 1 && !c.is_whitespace() => {
                segments.extend(identifier(&group[at..]));
                at_entry = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    segments
}

fn identifier(text: &str) -> Option<String> {
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}
