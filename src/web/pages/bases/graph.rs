//! Who stands on whom, as a picture and as a list that says the same.

use askama::Template;
use axum::{Router, extract::State, routing::get};

use super::{
    Tab, TabLink, image_path,
    picture::{Edge, Node, Picture},
    source_in_words, tabs, tags_of,
};
use crate::{
    domain::image::ImageReference,
    web::{
        Web,
        base_images::{self, GraphNode},
        pages::{
            page::{PageResult, render},
            viewer::Viewer,
        },
        parameters::{FromParameters, Parameters, Query},
        problem::FieldError,
    },
};

/// Images that the list shows at most.
const LISTED: usize = 1000;

pub(super) fn routes() -> Router<Web> {
    Router::new().route("/bases/graph", get(page))
}

struct GraphParameters {
    /// Only what stands on this image.
    base: Option<String>,
}

impl FromParameters for GraphParameters {
    const NAMES: &'static [&'static str] = &["base"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        parameters.forget_empty();
        Ok(Self {
            base: parameters.take("base")?,
        })
    }
}

#[derive(Template)]
#[template(path = "bases/graph.html")]
struct GraphPage {
    viewer: Viewer,
    tabs: [TabLink; 4],
    choices: Vec<Choice>,
    /// As it was asked for.
    base: String,
    /// There is nothing to be seen, whatever is asked for.
    is_empty: bool,
    /// None where it would be too big to be read.
    picture: Option<Picture>,
    rows: Vec<Row>,
    /// How many images the list leaves out.
    more: usize,
}

/// An image to ask for.
struct Choice {
    value: String,
    is_current: bool,
}

/// An image, as the list shows it.
struct Row {
    node: Node,
    stands_on: Vec<BaseOfRow>,
}

struct BaseOfRow {
    name: String,
    /// Its line closes a circle.
    is_back: bool,
}

async fn page(State(web): State<Web>, viewer: Viewer, Query(parameters): Query<GraphParameters>) -> PageResult {
    let whole = base_images::graph(&web, &viewer.caller, None).await?;
    let base = parameters.base.unwrap_or_default();
    let asked = base_images::familiar(&base);
    let mut choices: Vec<String> = whole
        .edges
        .iter()
        .filter_map(|edge| Some(whole.nodes.get(edge.base)?.familiar.clone()))
        .collect();
    choices.sort();
    choices.dedup();
    let is_empty = whole.nodes.is_empty();
    let graph = match base.is_empty() {
        true => whole,
        false => base_images::graph(&web, &viewer.caller, Some(&base)).await?,
    };
    let nodes: Vec<Node> = graph.nodes.iter().map(node).collect();
    let edges: Vec<Edge> = graph
        .edges
        .iter()
        .map(|edge| Edge {
            from: edge.base,
            to: edge.standing,
            is_behind: edge.outdated,
        })
        .collect();
    let picture = Picture::new(nodes.clone(), &edges);
    let rows = rows(nodes, &edges, picture.as_ref());
    render(&GraphPage {
        viewer,
        tabs: tabs(Tab::Graph),
        choices: choices
            .into_iter()
            .map(|value| Choice {
                is_current: value == asked,
                value,
            })
            .collect(),
        base,
        is_empty,
        more: rows.len().saturating_sub(LISTED),
        rows: rows.into_iter().take(LISTED).collect(),
        picture,
    })
}

/// By name, each with what it stands on.
fn rows(nodes: Vec<Node>, edges: &[Edge], picture: Option<&Picture>) -> Vec<Row> {
    let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
    let mut rows: Vec<Row> = nodes
        .into_iter()
        .map(|node| Row {
            node,
            stands_on: vec![],
        })
        .collect();
    for (index, edge) in edges.iter().enumerate() {
        rows[edge.to].stands_on.push(BaseOfRow {
            name: names[edge.from].clone(),
            is_back: edge.from == edge.to || picture.is_some_and(|picture| picture.is_back(index)),
        });
    }
    rows.sort_by(|one, other| one.node.name.cmp(&other.node.name));
    rows
}

fn node(node: &GraphNode) -> Node {
    let source = node.source.as_ref().map(|(kind, name)| source_in_words(*kind, name));
    match &node.repository {
        Some(repository) => Node {
            name: format!("{repository}:{}", tags_of(&node.images).join(",")),
            href: format!("/r/{repository}/bases"),
            is_ours: true,
            is_behind: node.outdated,
            detail: match (node.outdated, source) {
                (true, _) => "outdated".to_owned(),
                (false, Some(source)) => format!("from {source}"),
                (false, None) => "built here".to_owned(),
            },
        },
        None => Node {
            name: node.familiar.clone(),
            href: image_path(&node.familiar),
            is_ours: false,
            is_behind: false,
            detail: match (node.gone, registry_of(node)) {
                (true, _) => "gone from its registry".to_owned(),
                (false, Some(registry)) => format!("at {registry}"),
                (false, None) => "from elsewhere".to_owned(),
            },
        },
    }
}

fn registry_of(node: &GraphNode) -> Option<String> {
    Some(ImageReference::parse(node.images.first()?).ok()?.registry)
}
