//! How the loop waits after a busy round that left nothing to do: a nap, a spin, or neither before it sleeps.
//!
//! **Naps** ([`Gather`]). Many clients that each wait for a reply keep the server waking: it answers a few requests and
//! sleeps, and the next client pays for waking it. While many links send often enough, the loop instead closes its eyes
//! for as long as three requests take to come, at most `io-nap-us`; nobody needs to wake it then, and it finds them
//! together. It is the interrupt moderation of network cards, for a loop. Measured with redis-benchmark, 50 connections,
//! GET, one request each, in turn with the peers, medians of 24 rounds of 20,000: 66,900 requests a second at 11.4 µs of
//! processor time each; without naps 58,500 at 11.9; the best peer 58,900 at 12.8. Naps of two requests gain half as
//! much; naps of six save no more and lose a tenth of the rate.
//!
//! **Spins** ([`Spin`]). With few links a nap would be time in which everybody waits. There the loop polls without blocking
//! for up to `io-spin-us`, while such spins lately found work soon: at half load spins that often find something, but late,
//! cost more processor time than sleeping and waking (figures in DESIGN.md, "I/O, measured").

use crate::sys::cpu;

/// Requests that a nap gathers.
const NAP_REQUESTS: u64 = 3;
/// A nap takes this many active links for each request that it gathers, so that those who wait are few.
const NAP_LINKS: u64 = 4;
/// How long reads are counted before the next nap's length follows from them.
const WINDOW_NS: u64 = 2_000_000;

/// Spins go on while they last at most this part of their limit on average: beyond that a sleep is cheaper.
const SPIN_WORTH: u64 = 4;
/// The average of spins moves by this part of each new one.
const SPIN_MEMORY: u64 = 8;
/// Rounds after which spins that were not worth it get one more try.
const SPIN_RETRY_ROUNDS: u32 = 256;

/// Counts who sends how often, and tells from it how long to nap.
#[derive(Default)]
pub struct Gather {
    /// The number of this window: a link that was not yet read in it has another.
    window: u32,
    start_ns: u64,
    /// Links read in this window.
    links: u64,
    /// Reads in this window.
    reads: u64,
    /// The time in which [`NAP_REQUESTS`] came in the last window, when there were links enough.
    nap_ns: Option<u64>,
}

impl Gather {
    /// A link was read; `seen` is its window of the last time.
    #[inline]
    pub fn read(&mut self, seen: &mut u32) {
        self.reads += 1;
        self.links += u64::from(*seen != self.window);
        *seen = self.window;
    }

    /// How long to nap now, if that is worth it and at most `max_ns`.
    pub fn nap_ns(&mut self, now_ns: u64, max_ns: u64) -> Option<u64> {
        let passed_ns = now_ns.saturating_sub(self.start_ns);
        if passed_ns >= WINDOW_NS {
            let crowded = self.links >= NAP_REQUESTS * NAP_LINKS;
            self.nap_ns = crowded.then(|| NAP_REQUESTS * passed_ns / self.reads);
            self.window = self.window.wrapping_add(1);
            self.start_ns = now_ns;
            (self.links, self.reads) = (0, 0);
        }
        self.nap_ns.filter(|nap_ns| *nap_ns <= max_ns)
    }
}

/// Tells whether spinning is worth it, from what it lately took.
pub struct Spin {
    /// There is a processor left for others while the loop spins.
    possible: bool,
    /// What a spin lately took on average.
    mean_ns: u64,
    rounds_without: u32,
}

impl Spin {
    /// No experience yet.
    pub fn new() -> Spin {
        Spin {
            possible: cpu::may_spin(),
            mean_ns: 0,
            rounds_without: 0,
        }
    }

    /// Whether to spin now for at most `max_ns`.
    pub fn worth_it(&mut self, max_ns: u64) -> bool {
        if !self.possible || max_ns == 0 {
            return false;
        }
        let worth_ns = max_ns / SPIN_WORTH;
        if self.mean_ns <= worth_ns {
            return true;
        }
        self.rounds_without += 1;
        if self.rounds_without < SPIN_RETRY_ROUNDS {
            return false;
        }
        self.rounds_without = 0;
        self.mean_ns = worth_ns;
        true
    }

    /// A spin of at most `max_ns` took so long.
    pub fn took(&mut self, taken_ns: u64, max_ns: u64) {
        let sum_ns = self.mean_ns * (SPIN_MEMORY - 1) + taken_ns.min(2 * max_ns);
        self.mean_ns = sum_ns / SPIN_MEMORY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_NS: u64 = 80_000;

    /// Reads of `links` links in turn, one each `apart_ns`, for three windows; the nap after them.
    fn nap_after(links: usize, apart_ns: u64) -> (Gather, u64, Option<u64>) {
        let mut gather = Gather::default();
        let mut seen = vec![0; links];
        let mut now_ns = 5_000_000_000;
        let mut nap_ns = gather.nap_ns(now_ns, MAX_NS);
        for turn in 0..(3 * WINDOW_NS / apart_ns) as usize {
            gather.read(&mut seen[turn % links]);
            now_ns += apart_ns;
            nap_ns = gather.nap_ns(now_ns, MAX_NS);
        }
        (gather, now_ns, nap_ns)
    }

    #[test]
    fn a_nap_lasts_until_some_requests_are_expected() {
        let (mut gather, now_ns, nap_ns) = nap_after(50, 20_000);
        assert_eq!(nap_ns, Some(60_000));
        assert_eq!(gather.nap_ns(now_ns, 59_999), None, "longer than allowed");
        assert_eq!(gather.nap_ns(now_ns, 0), None, "turned off");
        let (_, _, nap_ns) = nap_after(12, 10_000);
        assert_eq!(nap_ns, Some(30_000));
    }

    #[test]
    fn few_links_or_requests_are_served_at_once() {
        assert_eq!(nap_after(11, 10_000).2, None, "few who would all wait");
        assert_eq!(nap_after(50, 30_000).2, None, "three take 90 µs");
    }

    #[test]
    fn naps_end_with_the_load() {
        let (mut gather, now_ns, nap_ns) = nap_after(50, 10_000);
        assert!(nap_ns.is_some());
        gather.read(&mut 0);
        assert_eq!(gather.nap_ns(now_ns + 10_000_000, MAX_NS), None);
        assert_eq!(gather.nap_ns(now_ns + 1_000_000_000, MAX_NS), None);
    }

    #[test]
    fn spins_stop_when_they_take_long_and_are_tried_again() {
        let mut spin = Spin::new();
        spin.possible = true;
        assert!(!spin.worth_it(0), "turned off");
        assert!(spin.worth_it(20_000));
        while spin.worth_it(20_000) {
            spin.took(20_000, 20_000);
        }
        let tries = (1..=2 * SPIN_RETRY_ROUNDS).find(|_| spin.worth_it(20_000));
        assert_eq!(tries, Some(SPIN_RETRY_ROUNDS - 1));
        (0..100).for_each(|_| spin.took(1_000, 20_000));
        assert!(spin.worth_it(20_000));
        spin.possible = false;
        assert!(!spin.worth_it(20_000));
    }
}
