//! Collects samples by case, figure and server; prints medians and ratios as a Markdown table.

use std::fmt::Write;

/// A measured quantity: its name with unit, and which way is better.
pub struct Figure {
    pub name: &'static str,
    pub better: Better,
    pub digits: usize,
}

/// Which of two values of a figure is the better one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Better {
    Higher,
    Lower,
    /// Shown for information; no ratio.
    Neither,
}

const fn lower(name: &'static str, digits: usize) -> Figure {
    Figure {
        name,
        better: Better::Lower,
        digits,
    }
}

pub const RATE: Figure = Figure {
    name: "requests/s",
    better: Better::Higher,
    digits: 0,
};
pub const CPU: Figure = lower("server CPU µs/request", 3);
pub const P50: Figure = lower("p50 µs", 1);
pub const P99: Figure = lower("p99 µs", 1);
pub const P999: Figure = lower("p99.9 µs", 1);
pub const LONGEST: Figure = lower("longest ms", 3);
pub const MEMORY_KEY: Figure = lower("used_memory B/key", 1);
pub const RSS_KEY: Figure = lower("RSS B/key", 1);
pub const MEMORY_ELEMENT: Figure = lower("used_memory B/element", 1);
pub const RSS_ELEMENT: Figure = lower("RSS B/element", 1);
pub const DURATION: Figure = lower("duration s", 3);
pub const CPU_SECONDS: Figure = lower("server CPU s", 3);
pub const EXTRA_MEMORY: Figure = lower("extra memory %", 1);
pub const FILE: Figure = Figure {
    name: "file MB",
    better: Better::Neither,
    digits: 1,
};
pub const PAUSE: Figure = Figure {
    name: "loop's pause µs (INFO)",
    better: Better::Neither,
    digits: 0,
};
pub const FIRST_WRITE: Figure = Figure {
    name: "dearest first write µs (INFO)",
    better: Better::Neither,
    digits: 0,
};
pub const VISIBLE_DBSIZE: Figure = lower("DBSIZE 1 ms after", 0);
pub const VISIBLE_EXISTS: Figure = lower("EXISTS/GET hits of 1,000 after", 0);
pub const RECLAIMED: Figure = lower("until reclaimed s", 3);
pub const KEPT: Figure = lower("memory kept %", 1);

struct Row {
    case: String,
    figure: &'static Figure,
    /// By server, then by round.
    samples: Vec<Vec<f64>>,
}

/// All results of a run. `ours` is the column that ratios are about.
pub struct Report {
    labels: Vec<String>,
    ours: Option<usize>,
    rows: Vec<Row>,
}

impl Report {
    pub fn new(labels: Vec<String>, ours: Option<usize>) -> Report {
        Report {
            labels,
            ours,
            rows: Vec::new(),
        }
    }

    /// Adds one sample of server number `server`.
    pub fn add(&mut self, case: &str, server: usize, figure: &'static Figure, value: f64) {
        let servers = self.labels.len();
        let found = self
            .rows
            .iter()
            .position(|row| row.case == case && row.figure.name == figure.name);
        let index = found.unwrap_or_else(|| {
            self.rows.push(Row {
                case: case.to_string(),
                figure,
                samples: vec![Vec::new(); servers],
            });
            self.rows.len() - 1
        });
        self.rows[index].samples[server].push(value);
    }

    /// The median of the best peer (else of ours) for one figure, once measured.
    pub fn best_peer(&self, case: &str, figure: &Figure) -> Option<f64> {
        let row = self
            .rows
            .iter()
            .find(|row| row.case == case && row.figure.name == figure.name)?;
        let medians: Vec<Option<f64>> = row.samples.iter().map(|samples| median(samples)).collect();
        best(figure.better, &medians, self.ours).or_else(|| best(figure.better, &medians, None))
    }

    /// The whole table: a row for each case and figure, medians by server, ours over the best peer last.
    pub fn markdown(&self) -> String {
        let mut text = String::from("| case | figure |");
        for label in &self.labels {
            let _ = write!(text, " {label} |");
        }
        text.push_str(" ours / best peer |\n|---|---|");
        text.push_str(&"---:|".repeat(self.labels.len() + 1));
        text.push('\n');
        for row in &self.rows {
            let medians: Vec<Option<f64>> =
                row.samples.iter().map(|samples| median(samples)).collect();
            let _ = write!(text, "| {} | {} |", row.case, row.figure.name);
            for value in &medians {
                let _ = match value {
                    Some(value) => write!(text, " {} |", number(*value, row.figure.digits)),
                    None => write!(text, " |"),
                };
            }
            let ours = self.ours.and_then(|ours| medians[ours]);
            let ratio = ours
                .zip(best(row.figure.better, &medians, self.ours))
                .map(|(ours, best)| ours / best);
            let _ = match ratio {
                Some(ratio) if ratio.is_finite() => writeln!(text, " {ratio:.2} |"),
                Some(_) | None => writeln!(text, " |"),
            };
        }
        text
    }
}

fn best(better: Better, medians: &[Option<f64>], without: Option<usize>) -> Option<f64> {
    let values = medians
        .iter()
        .enumerate()
        .filter(|(index, _)| Some(*index) != without)
        .filter_map(|(_, v)| *v);
    match better {
        Better::Higher => values.reduce(f64::max),
        Better::Lower => values.reduce(f64::min),
        Better::Neither => None,
    }
}

fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// A number with thousands separators.
fn number(value: f64, digits: usize) -> String {
    let plain = format!("{value:.digits$}");
    let whole = plain.find('.').unwrap_or(plain.len());
    let mut text = String::new();
    for (index, character) in plain.char_indices() {
        let left = whole.saturating_sub(index);
        if index > 0 && index < whole && left.is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(character);
    }
    text
}
