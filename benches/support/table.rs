//! The table of figures: what was measured, ours, the peer's or the limit, and the ratio.

use std::{fmt::Display, io::Write, time::Duration};

/// Rows in the order in which they were measured.
#[derive(Default)]
pub struct Table(Vec<[String; 4]>);

impl Table {
    /// A row of two rates, in `unit` per second; the ratio is ours in percent of the other.
    pub fn rates(&mut self, what: impl Into<String>, unit: &str, ours: f64, limit: f64, limit_name: &str) {
        self.add([
            what.into(),
            format!("{ours:.0} {unit}/s"),
            format!("{limit:.0}/s {limit_name}"),
            format!("{:.0} %", 100.0 * ours / limit),
        ]);
    }

    /// A row of two durations; the ratio is how many times as long the other takes.
    pub fn durations(&mut self, what: impl Into<String>, ours: Duration, peer: Duration, peer_name: &str) {
        self.add([
            what.into(),
            seconds(ours),
            format!("{} {peer_name}", seconds(peer)),
            format!("{:.2} x", peer.as_secs_f64() / ours.as_secs_f64()),
        ]);
    }

    /// A row of two sizes in bytes; the ratio is ours in percent of the other.
    pub fn sizes(&mut self, what: impl Into<String>, ours: u64, limit: u64, limit_name: &str) {
        let kibibytes = |bytes: u64| format!("{:.1} KiB", bytes as f64 / 1024.0);
        self.add([
            what.into(),
            kibibytes(ours),
            format!("{} {limit_name}", kibibytes(limit)),
            format!("{:.0} %", 100.0 * ours as f64 / limit as f64),
        ]);
    }

    /// A row without anything to hold it against.
    pub fn alone(&mut self, what: impl Into<String>, ours: impl Display) {
        self.add([what.into(), ours.to_string(), String::new(), String::new()]);
    }

    /// Shows the row at once as a sign of life; the table comes at the end.
    fn add(&mut self, row: [String; 4]) {
        let _ = writeln!(std::io::stderr(), "{}: {} | {} | {}", row[0], row[1], row[2], row[3]);
        self.0.push(row);
    }

    /// Prints everything, as Markdown, under the machine's cores and memory.
    pub fn print(self) {
        let header = ["what", "ours", "peer or limit", "ratio"].map(str::to_owned);
        let widths: [usize; 4] = std::array::from_fn(|column| {
            self.0
                .iter()
                .chain([&header])
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or_default()
        });
        let line = |row: &[String; 4]| {
            let cells: Vec<String> = row
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let mut text = format!("\n{}\n\n{}", machine(), line(&header));
        text.push_str(&line(&widths.map(|width| "-".repeat(width))));
        for row in &self.0 {
            text.push_str(&line(row));
        }
        std::io::stdout()
            .write_all(text.as_bytes())
            .expect("the table can be printed");
    }
}

/// A duration with as many digits as mean something.
pub fn seconds(duration: Duration) -> String {
    match duration.as_secs_f64() {
        short if short < 0.1 => format!("{:.1} ms", 1000.0 * short),
        long => format!("{long:.2} s"),
    }
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kibibytes: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap_or_default();
    format!(
        "Measured on {cores} cores and {} GiB of memory.",
        kibibytes.div_ceil(1 << 20)
    )
}
