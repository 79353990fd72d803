//! The pages that the service has, read from its sources: a page that nobody thought of here is found all the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Sources by their module's name.
type Sources = BTreeMap<String, String>;

/// The paths of all routes under src/web/pages that answer GET.
pub fn of_pages() -> BTreeSet<String> {
    let mut sources = Sources::new();
    collect(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/pages"),
        &mut sources,
    );
    let routes: BTreeSet<String> = sources.values().flat_map(|source| gets(source, &sources)).collect();
    assert!(!routes.is_empty(), "the pages are somewhere else now");
    routes
}

fn collect(directory: &Path, sources: &mut Sources) {
    for entry in fs::read_dir(directory).expect("the sources of the pages") {
        let path = entry.expect("an entry of the sources").path();
        if path.is_dir() {
            collect(&path, sources);
        } else {
            // Each file is looked at by itself; modules of the same name in two directories must not hide each other.
            let module = path
                .file_stem()
                .expect("a source has a name")
                .to_string_lossy()
                .into_owned();
            let module = if sources.contains_key(&module) {
                path.display().to_string()
            } else {
                module
            };
            sources.insert(module, fs::read_to_string(&path).expect("a source"));
        }
    }
}

/// The paths in `.route("path", get(...))`.
fn gets(source: &str, sources: &Sources) -> Vec<String> {
    let mut found = Vec::new();
    for (begin, call) in source.match_indices(".route(") {
        let arguments = arguments(&source[begin + call.len()..]);
        let (path, handlers) = arguments.split_once(',').expect("a route has a path and a handler");
        if handlers.contains("get(") {
            found.push(text_of(path.trim(), source, sources));
        }
    }
    found
}

/// What a literal says, or a constant of the same module or another.
fn text_of(expression: &str, source: &str, sources: &Sources) -> String {
    let literal = match (expression.strip_prefix('"'), expression.rsplit_once("::")) {
        (Some(literal), _) => Some(literal),
        (None, Some((module, name))) => sources.get(module).and_then(|source| constant(name, source)),
        (None, None) => constant(expression, source),
    };
    let text = literal.and_then(|literal| literal.split('"').next());
    text.unwrap_or_else(|| panic!("{expression} is neither a literal nor a constant"))
        .to_owned()
}

fn constant<'a>(name: &str, source: &'a str) -> Option<&'a str> {
    Some(source.split_once(&format!("const {name}: &str = \""))?.1)
}

/// What stands between a parenthesis that is open already and its end.
fn arguments(text: &str) -> &str {
    let mut depth = 1;
    let end = text.bytes().position(|byte| {
        depth += match byte {
            b'(' => 1,
            b')' => -1,
            _ => 0,
        };
        depth == 0
    });
    &text[..end.expect("a call ends")]
}

#[test]
fn routes_are_found_with_the_methods_they_answer() {
    let source = "const D: &str = \"/d\";\n.route(\"/a\", get(a)).route(\n\"/b/{x}\",\npost(b).get(c),\n)\
                  .route(\"/c\", post(d)).route(D, get(e)).route(other::E, get(f))";
    let other = Sources::from([("other".to_owned(), "pub const E: &str = \"/e\";".to_owned())]);
    assert_eq!(gets(source, &other), ["/a", "/b/{x}", "/d", "/e"]);
}
