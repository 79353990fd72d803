//! Rows in columns, for people: programs take `--json`.

use super::colour::Colour;

/// A column is made no wider than this; a longer cell only moves the rest of its own row.
const WIDEST: usize = 40;

/// One cell: a single line, whatever the text was.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    colour: Option<Colour>,
}

impl Cell {
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into().replace(char::is_control, " "),
            colour: None,
        }
    }

    /// A state, in its colour.
    pub fn state(text: &str) -> Self {
        Self {
            colour: Colour::of_state(text),
            ..Self::new(text)
        }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }

    fn show(&self, colours: bool) -> String {
        match self.colour {
            Some(colour) if colours => colour.paint(&self.text),
            _ => self.text.clone(),
        }
    }
}

/// The rows as lines, their cells below each other.
pub fn lines(rows: &[Vec<Cell>], colours: bool) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells
                .map(Cell::width)
                .filter(|&width| width <= WIDEST)
                .max()
                .unwrap_or(WIDEST)
        })
        .collect();
    let line = |row: &Vec<Cell>| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&cell.show(colours));
            // Colours take no room.
            line.push_str(&" ".repeat(width.saturating_sub(cell.width()) + 2));
        }
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<Cell>> {
        vec![
            vec![Cell::state("failed"), Cell::new("a\nb"), Cell::new("x")],
            vec![Cell::state("succeeded"), Cell::new("w".repeat(60)), Cell::new("y")],
            vec![Cell::state("queued"), Cell::new("abcd"), Cell::new("")],
        ]
    }

    #[test]
    fn columns_are_aligned_and_one_long_cell_does_not_widen_them() {
        let long = "w".repeat(60);
        assert_eq!(
            lines(&rows(), false),
            [
                "failed     a b   x".to_owned(),
                format!("succeeded  {long}  y"),
                "queued     abcd".to_owned()
            ]
        );
    }

    #[test]
    fn colours_do_not_move_the_columns() {
        let plain = lines(&rows(), false);
        let coloured = lines(&rows(), true);
        assert!(coloured[0].starts_with("\x1b[31mfailed\x1b[0m     a b"), "{coloured:?}");
        for (plain, coloured) in plain.iter().zip(&coloured) {
            let without = ["\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"]
                .iter()
                .fold(coloured.clone(), |line, code| line.replace(code, ""));
            assert_eq!(*plain, without);
        }
    }
}
