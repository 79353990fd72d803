//! The pages that the service has, read from its sources: a page that nobody thought of here is found all the same.

use std::{collections::BTreeSet, fs, path::Path};

/// The paths of all routes under src/web/pages that answer GET.
pub fn of_pages() -> BTreeSet<String> {
    let mut routes = BTreeSet::new();
    collect(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/pages"),
        &mut routes,
    );
    assert!(!routes.is_empty(), "the pages are somewhere else now");
    routes
}

fn collect(directory: &Path, routes: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).expect("the sources of the pages") {
        let path = entry.expect("an entry of the sources").path();
        if path.is_dir() {
            collect(&path, routes);
        } else {
            routes.extend(gets(&fs::read_to_string(&path).expect("a source")));
        }
    }
}

/// The paths in `.route("path", get(...))`.
fn gets(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (begin, call) in source.match_indices(".route(") {
        let arguments = arguments(&source[begin + call.len()..]);
        let (path, handlers) = arguments.split_once(',').expect("a route has a path and a handler");
        if handlers.contains("get(") {
            found.push(text_of(path.trim(), source));
        }
    }
    found
}

/// What a literal says, or a constant of the same file.
fn text_of(expression: &str, source: &str) -> String {
    let literal = match expression.strip_prefix('"') {
        Some(literal) => Some(literal),
        None => source
            .split_once(&format!("const {expression}: &str = \""))
            .map(|(_, literal)| literal),
    };
    let text = literal.and_then(|literal| literal.split('"').next());
    text.unwrap_or_else(|| panic!("{expression} is neither a literal nor a constant of its file"))
        .to_owned()
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
                  .route(\"/c\", post(d)).route(D, get(e))";
    assert_eq!(gets(source), ["/a", "/b/{x}", "/d"]);
}
