//! `hullworks consequences`.

use serde_json::Value;

use super::{
    cause::familiar,
    client::Client,
    failure::Failure,
    output::{Output, note},
    reference::parse_image,
    table::Cell,
};

const HEAD: [&str; 5] = ["ORDER", "REPOSITORY", "SOURCE", "IMAGES", "AFTER"];

/// Show what would be built again if an image moved, in which order, and build nothing
#[derive(Debug, clap::Args)]
pub struct Consequences {
    /// The image, such as `alpine:3.20`
    #[arg(value_name = "IMAGE", value_parser = parse_image)]
    image: String,
    /// Print the API's JSON
    #[arg(long)]
    json: bool,
}

impl Consequences {
    pub async fn run(self, mut out: Output) -> Result<(), Failure> {
        let client = Client::from_environment()?;
        let answer = client.get(&["base-images", &self.image, "consequences"], &[]).await?;
        if self.json {
            out.json(&answer)?;
            return Ok(());
        }
        let items: &[Value] = answer["items"].as_array().map_or(&[], Vec::as_slice);
        if items.is_empty() {
            note(&format!("nothing that you may see stands on {}", familiar(&self.image)));
        }
        let rows = items.iter().enumerate().map(|(index, item)| row(index, item)).collect();
        out.table(&HEAD, rows)?;
        Ok(())
    }
}

/// One that would be built again as a row; they are counted from 1.
fn row(index: usize, item: &Value) -> Vec<Cell> {
    let text = |key: &str| item[key].as_str().unwrap_or_default();
    let images = item["images"].as_array().into_iter().flatten();
    let images: Vec<String> = images.filter_map(Value::as_str).map(familiar).collect();
    let after = item["after"].as_array().into_iter().flatten();
    let after: Vec<String> = after
        .filter_map(Value::as_u64)
        .map(|index| (index + 1).to_string())
        .collect();
    let after = match item["cut"].as_str() {
        Some(image) => format!("not at all: {} stands on it in turn", familiar(image)),
        None => after.join(","),
    };
    vec![
        Cell::new((index + 1).to_string()),
        Cell::new(text("repository")),
        Cell::new(format!("{} {}", text("source_type"), text("source_name"))),
        Cell::new(images.join(",")),
        Cell::new(after),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::table::lines, *};

    #[test]
    fn rows_are_in_order_and_say_what_they_wait_for() {
        let item = |name: &str, after: Value, cut: Value| {
            json!({"repository": name, "source_type": "branch", "source_name": "main",
                "images": [format!("docker.io/{name}:latest")], "after": after, "cut": cut})
        };
        let items = [
            item("team/base", json!([]), Value::Null),
            item("team/app", json!([0]), Value::Null),
            item("team/odd", json!([1]), json!("docker.io/team/app:latest")),
        ];
        let rows: Vec<_> = items.iter().enumerate().map(|(index, item)| row(index, item)).collect();
        assert_eq!(
            lines(&rows, false),
            [
                "1  team/base  branch main  team/base:latest",
                "2  team/app   branch main  team/app:latest   1",
                "3  team/odd   branch main  team/odd:latest   not at all: team/app:latest stands on it in turn",
            ]
        );
    }
}
