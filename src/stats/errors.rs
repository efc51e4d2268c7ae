//! INFO errorstats: how often each error code was answered.

use std::collections::BTreeMap;

/// More codes than this, and codes are no longer told apart: scripts make up their own.
const CODES_MAX: usize = 128;
const DISABLED: &str = "ERRORSTATS_DISABLED";

/// Counts by error code.
#[derive(Clone, Debug, Default)]
pub struct Errors {
    counts: BTreeMap<String, u64>,
    disabled: bool,
    total: u64,
}

impl Errors {
    /// Counts one error reply; `code` is its first word.
    pub fn count(&mut self, code: &str) {
        self.total += 1;
        if self.disabled {
            return;
        }
        if let Some(count) = self.counts.get_mut(code) {
            *count += 1;
            return;
        }
        if self.counts.len() >= CODES_MAX {
            let codes: Vec<&str> = self.counts.keys().map(String::as_str).collect();
            log::warn!(
                "Errorstats stopped adding new errors because the number of errors reached the \
                 limit, may be misuse of lua error_reply, please check INFO ERRORSTATS, this can \
                 be re-enabled via CONFIG RESETSTAT."
            );
            log::warn!("Current errors code list: {}", codes.join(", "));
            self.counts.clear();
            self.counts.insert(DISABLED.to_owned(), 1);
            self.disabled = true;
            return;
        }
        self.counts.insert(code.to_owned(), 1);
    }

    /// All error replies.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Codes and counts, by code.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counts
            .iter()
            .map(|(code, count)| (code.as_str(), *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_codes_turn_it_off() {
        let mut errors = Errors::default();
        for code in 0..CODES_MAX {
            errors.count(&format!("E{code}"));
        }
        errors.count("E1");
        assert_eq!(errors.iter().count(), CODES_MAX);
        errors.count("ONEMORE");
        assert_eq!(errors.iter().collect::<Vec<_>>(), [(DISABLED, 1)]);
        errors.count("E1");
        assert_eq!(errors.total(), CODES_MAX as u64 + 3);
    }
}
