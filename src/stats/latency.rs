//! The LATENCY monitor: for each event class the last 160 seconds that had a spike.
//!
//! The reports of DOCTOR and GRAPH carry Redis's figures in words of our own; what tools read
//! (LATEST, HISTORY, the first line of GRAPH) is as in Redis.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Seconds kept of an event.
const SAMPLES_MAX: usize = 160;
/// Columns of a graph.
const COLUMNS_MAX: usize = 80;
const ROWS: u64 = 4;
/// Heights that a column can end at in a row, lowest first.
const TOPS: [char; 3] = ['_', 'o', '#'];
/// Heights in all rows.
const STEPS: u64 = ROWS * TOPS.len() as u64;

/// The worst latency of one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Seconds since 1970.
    pub unix_seconds: i64,
    /// Milliseconds.
    pub ms: u32,
}

/// The spikes of an event class.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// Oldest first.
    samples: std::collections::VecDeque<Sample>,
    max_ms: u32,
}

impl Event {
    /// Oldest first.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = &Sample> {
        self.samples.iter()
    }

    /// The newest.
    pub fn latest(&self) -> Option<Sample> {
        self.samples.back().copied()
    }

    /// The worst since the last reset.
    pub fn max_ms(&self) -> u32 {
        self.max_ms
    }
}

/// All event classes.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    events: BTreeMap<&'static str, Event>,
}

impl Latency {
    /// Adds a spike. Within one second the worst counts.
    pub fn add(&mut self, event: &'static str, unix_seconds: i64, ms: u32) {
        let event = self.events.entry(event).or_default();
        event.max_ms = event.max_ms.max(ms);
        match event.samples.back_mut() {
            Some(last) if last.unix_seconds == unix_seconds => last.ms = last.ms.max(ms),
            _ => {
                if event.samples.len() == SAMPLES_MAX {
                    event.samples.pop_front();
                }
                event.samples.push_back(Sample { unix_seconds, ms });
            }
        }
    }

    /// The classes that have samples, by name.
    pub fn events(&self) -> impl ExactSizeIterator<Item = (&'static str, &Event)> {
        self.events.iter().map(|(name, event)| (*name, event))
    }

    /// One class.
    pub fn event(&self, name: &[u8]) -> Option<&Event> {
        self.events.get(std::str::from_utf8(name).ok()?)
    }

    /// Forgets a class, or all; how many were forgotten.
    pub fn reset(&mut self, name: Option<&[u8]>) -> usize {
        let Some(name) = name else {
            return std::mem::take(&mut self.events).len();
        };
        let name = std::str::from_utf8(name).unwrap_or_default();
        usize::from(self.events.remove(name).is_some())
    }

    /// LATENCY GRAPH: a line of figures, then columns of up to four rows, oldest left, below one another when there are
    /// many.
    pub fn graph(&self, name: &[u8], now_seconds: i64) -> Option<String> {
        let event = self.event(name)?;
        let samples: Vec<Sample> = event.samples.iter().copied().collect();
        let high = samples.iter().map(|sample| sample.ms).max()?;
        let low = samples.iter().map(|sample| sample.ms).min()?;
        let mut text = format!(
            "{} - high {high} ms, low {low} ms (all time high {} ms)\n",
            String::from_utf8_lossy(name),
            event.max_ms,
        );
        text.push_str(&"-".repeat(COLUMNS_MAX));
        text.push('\n');
        let span = u64::from(high - low).max(1);
        let step = |ms: u32| (u64::from(ms - low) * STEPS / span).min(STEPS - 1);
        for (index, shown) in samples.chunks(COLUMNS_MAX).enumerate() {
            if index > 0 {
                text.push('\n');
            }
            for row in (0..ROWS).rev() {
                text.extend(shown.iter().map(|sample| cell(step(sample.ms), row)));
                text.push('\n');
            }
            push_ages(&mut text, shown, now_seconds);
        }
        Some(text)
    }

    /// LATENCY DOCTOR: what was seen, and what may help. `threshold_ms` is
    /// `latency-monitor-threshold`, `slower_than_us` `slowlog-log-slower-than`.
    pub fn doctor(&self, threshold_ms: i64, slower_than_us: i64) -> String {
        if self.events.is_empty() {
            return if threshold_ms == 0 {
                "The latency monitor is off. CONFIG SET latency-monitor-threshold <milliseconds> \
                 turns it on.\n"
                    .to_owned()
            } else {
                "No latency spike was observed since the server started or the last LATENCY \
                 RESET.\n"
                    .to_owned()
            };
        }
        let mut text = String::from("Latency spikes were observed:\n\n");
        for (number, (name, event)) in self.events().enumerate() {
            let figures = Figures::of(event);
            let _ = writeln!(
                text,
                "{}. {name}: {} latency spikes (average {}ms, mean deviation {}ms, period {:.2} \
                 sec). Worst all time event {}ms.",
                number + 1,
                event.samples.len(),
                figures.average_ms,
                figures.deviation_ms,
                figures.period_seconds,
                event.max_ms,
            );
        }
        text.push_str("\nWhat may help:\n\n");
        if self.events.contains_key("command") {
            if slower_than_us < 0 {
                text.push_str(
                    "- The slow log is off: CONFIG SET slowlog-log-slower-than shows which \
                     commands are slow.\n",
                );
            } else if threshold_ms > 0 && slower_than_us > threshold_ms.saturating_mul(1000) {
                let _ = writeln!(
                    text,
                    "- The slow log misses commands that the latency monitor sees: CONFIG SET \
                     slowlog-log-slower-than {}.",
                    threshold_ms * 1000,
                );
            }
            text.push_str("- SLOWLOG GET lists the commands that were slow.\n");
            text.push_str("- Commands that walk large values are slow: cut such values up.\n");
        }
        if self
            .events
            .keys()
            .any(|name| name.starts_with("expire") || name.starts_with("evict"))
        {
            text.push_str("- Large values that expire or are evicted take time to free.\n");
        }
        if self
            .events
            .keys()
            .any(|name| name.starts_with("aof") || name.starts_with("rdb"))
        {
            text.push_str("- The disk is slow or busy: look at what else writes to it.\n");
        }
        text
    }
}

fn age(seconds: i64) -> String {
    match seconds {
        ..0 => "0s".to_owned(),
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// What DOCTOR says of an event.
struct Figures {
    average_ms: u64,
    deviation_ms: u64,
    period_seconds: f64,
}

impl Figures {
    fn of(event: &Event) -> Figures {
        let count = event.samples.len().max(1) as u64;
        let sum: u64 = event
            .samples
            .iter()
            .map(|sample| u64::from(sample.ms))
            .sum();
        let average_ms = sum / count;
        let deviation: u64 = event
            .samples
            .iter()
            .map(|sample| u64::from(sample.ms).abs_diff(average_ms))
            .sum();
        let first = event
            .samples
            .front()
            .map_or(0, |sample| sample.unix_seconds);
        let last = event.samples.back().map_or(0, |sample| sample.unix_seconds);
        Figures {
            average_ms,
            deviation_ms: deviation / count,
            period_seconds: (last - first) as f64 / count as f64,
        }
    }
}

/// What a column of this height shows in a row; the lowest is row 0.
fn cell(step: u64, row: u64) -> char {
    let tops = TOPS.len() as u64;
    match step.checked_sub(row * tops) {
        None => ' ',
        Some(above) => TOPS.get(above as usize).copied().unwrap_or('|'),
    }
}

/// Below each column its age, written downwards behind an empty row.
fn push_ages(text: &mut String, shown: &[Sample], now_seconds: i64) {
    let ages: Vec<String> = shown
        .iter()
        .map(|sample| age(now_seconds - sample.unix_seconds))
        .collect();
    let rows = ages.iter().map(String::len).max().unwrap_or(0);
    text.push_str(&" ".repeat(shown.len()));
    text.push('\n');
    for row in 0..rows {
        let letters = ages
            .iter()
            .map(|age| age.as_bytes().get(row).map_or(' ', |b| *b as char));
        text.extend(letters);
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sample_a_second_and_160_seconds() {
        let mut latency = Latency::default();
        for second in 0..200 {
            latency.add("command", second, 1);
            latency.add("command", second, 5);
            latency.add("command", second, 3);
        }
        latency.add("fork", 7, 90);
        let event = latency.event(b"command").unwrap();
        assert_eq!(event.samples().len(), 160);
        assert_eq!(
            event.samples().next(),
            Some(&Sample {
                unix_seconds: 40,
                ms: 5
            })
        );
        assert_eq!(event.max_ms(), 5);
        assert_eq!(latency.reset(Some(b"nosuch")), 0);
        assert_eq!(latency.reset(Some(b"fork")), 1);
        assert_eq!(latency.reset(None), 1);
    }

    #[test]
    fn reports() {
        let mut latency = Latency::default();
        assert!(latency.doctor(0, 0).contains("off"));
        for (second, ms) in [(1, 20), (2, 5), (3, 50)] {
            latency.add("command", second, ms);
        }
        let graph = latency.graph(b"command", 3).unwrap();
        assert!(graph.starts_with("command - high 50 ms, low 5 ms (all time high 50 ms)\n---"));
        assert!(latency.doctor(1, 10_000).contains(
            "1. command: 3 latency spikes (average 25ms, mean deviation 16ms, period 0.67 sec). \
             Worst all time event 50ms."
        ));
        assert_eq!(latency.graph(b"nosuch", 3), None);
    }
}
