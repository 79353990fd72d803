//! The form of a repository: its source, rules, links and secrets, as somebody types them. It becomes the same document that
//! the API takes, and passes the same checks; nothing is decided here, and no secret that was typed is ever shown again.

mod document;
mod fields;
mod limits;
mod sheet;

use serde::Deserialize;

pub use self::{
    fields::RepositoryForm,
    sheet::{Preview, Sheet, SheetContext, Times},
};
use crate::web::problem::Problem;

/// A form as it came: names and values, in their order.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct Pairs(Vec<(String, String)>);

/// What the button that sent a form asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    Save,
    /// Show the form again, with what it would build and after rows were added or removed.
    ShowAgain,
}

impl Pairs {
    /// The form, with rows added and removed as its button asks. 422 for what none of our pages sends.
    pub fn read(self) -> Result<(RepositoryForm, Wish), Problem> {
        let mut form = RepositoryForm::default();
        let mut edits = Vec::new();
        let mut wish = Wish::Save;
        for (name, value) in self.0 {
            match name.as_str() {
                "add" | "remove" => edits.push((name, value)),
                "do" if value == "preview" => wish = Wish::ShowAgain,
                _ if form.set(&name, value) => {}
                _ => {
                    return Err(Problem::field(
                        name,
                        "the form is not one of ours: this has no place in it",
                    ));
                }
            }
        }
        for (edit, rows) in edits {
            wish = Wish::ShowAgain;
            let done = match edit.as_str() {
                "add" => form.add(&rows),
                _ => form.remove(&rows),
            };
            if !done {
                return Err(Problem::field(edit, "there are no such rows, or too many already"));
            }
        }
        Ok((form, wish))
    }
}
