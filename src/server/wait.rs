//! How the loop waits after a busy round that left nothing to do: a nap, a spin, or neither before it sleeps.
//!
//! **Naps** ([`Gather`]). Many clients that each wait for a reply keep the server waking: it answers a few requests and
//! sleeps, and the next client pays for waking it. While many links are active and the loop works most of the time, it
//! instead closes its eyes for as long as a part of them takes to send, at most `io-nap-us`; nobody needs to wake it
//! then, and it finds them together. It is the interrupt moderation of network cards, for a loop. Measured with
//! redis-benchmark, 50 connections, one request each, in turn, paired with redis-server 7.0, processor time a request and
//! rate: on a machine where a sleep costs 30 µs, 50,000 requests/s, naps of a sixth of the links took 0.884 at 1.00, an
//! eighth 0.887 at 1.03, a tenth 0.891 at 1.02, a thirteenth 0.937 at 1.04; on a quicker one, 120,000 requests/s (GET,
//! SET), an eighth took 0.910, 0.924, a sixth 0.878, 0.913, a quarter 0.843, 0.880 at 1.04 to 1.15, and a half 0.934,
//! 0.957 at 1.02. At half load naps are mostly a delay (on the slow machine p50 130 to 180 µs, without them 40 to 80),
//! which is why they take a busy loop and requests that come quickly; a machine on which a sleep costs much can be busy
//! at half load, though, and then they are taken.
//!
//! **Spins** ([`Spin`]). With few links a nap would be time in which everybody waits. There the loop polls without blocking
//! for up to `io-spin-us`, while such spins lately found work soon: at half load spins that often find something, but late,
//! cost more processor time than sleeping and waking (figures in DESIGN.md, "I/O, measured").

use crate::sys::cpu;

/// A nap gathers the requests of this part of the active links,
const NAP_PART: u64 = 5;
/// or, when that would last too long, of this part at least.
const NAP_PART_LEAST: u64 = 8;
/// With fewer active links a nap would be time in which most of them wait.
const NAP_LINKS: u64 = 12;
/// Naps begin when the loop works for so much of the time, in thousandths: at half load they would only be a delay.
const NAP_WORK: u64 = 500;
/// They end when it works less than that; naps themselves save some of the work.
const NAP_WORK_LEAST: u64 = 400;
/// What the loop works is averaged over so many windows.
const WORK_MEMORY: u64 = 16;
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
    /// What the loop had worked when the window began.
    worked_ns: u64,
    /// The part of the time that it works, in thousandths, on average.
    work: u64,
    /// Links read in this window.
    links: u64,
    /// Reads in this window.
    reads: u64,
    /// The time in which every link sent once in the last window, when there were links and work enough.
    turn_ns: Option<u64>,
}

impl Gather {
    /// A link was read; `seen` is its window of the last time.
    #[inline]
    pub fn read(&mut self, seen: &mut u32) {
        self.reads += 1;
        self.links += u64::from(*seen != self.window);
        *seen = self.window;
    }

    /// How long to nap now, if that is worth it and at most `max_ns`. `worked_ns` is the time that the loop has spent in
    /// its rounds so far.
    pub fn nap_ns(&mut self, now_ns: u64, worked_ns: u64, max_ns: u64) -> Option<u64> {
        let passed_ns = now_ns.saturating_sub(self.start_ns);
        if passed_ns >= WINDOW_NS {
            self.remember(passed_ns, worked_ns.saturating_sub(self.worked_ns));
            let enough = match self.turn_ns {
                Some(_) => NAP_WORK_LEAST,
                None => NAP_WORK,
            };
            self.turn_ns = (self.work >= enough && self.links >= NAP_LINKS)
                .then(|| passed_ns * self.links / self.reads);
            self.window = self.window.wrapping_add(1);
            (self.start_ns, self.worked_ns) = (now_ns, worked_ns);
            (self.links, self.reads) = (0, 0);
        }
        let turn_ns = self
            .turn_ns
            .filter(|turn_ns| turn_ns / NAP_PART_LEAST <= max_ns)?;
        Some((turn_ns / NAP_PART).min(max_ns))
    }

    /// Of a window of `passed_ns` the loop has worked `worked_ns`.
    fn remember(&mut self, passed_ns: u64, worked_ns: u64) {
        let part = (1000 * worked_ns / passed_ns).min(1000);
        let weight = (passed_ns / WINDOW_NS).min(WORK_MEMORY);
        self.work = (self.work * (WORK_MEMORY - weight) + part * weight) / WORK_MEMORY;
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

    const MAX_NS: u64 = 150_000;

    /// A loop that works for a part of the time, in thousandths, on reads of `links` links in turn, one each `apart_ns`.
    struct Load {
        links: usize,
        apart_ns: u64,
        work: u64,
    }

    impl Load {
        /// The nap when it has lasted `for_ns`.
        fn nap(&self, gather: &mut Gather, now_ns: &mut u64, for_ns: u64) -> Option<u64> {
            let mut seen = vec![0; self.links];
            let (start_ns, worked_ns) = (*now_ns, gather.worked_ns);
            let mut nap_ns = None;
            for turn in 0..(for_ns / self.apart_ns) as usize {
                gather.read(&mut seen[turn % self.links]);
                *now_ns += self.apart_ns;
                let worked_ns = worked_ns + (*now_ns - start_ns) * self.work / 1000;
                nap_ns = gather.nap_ns(*now_ns, worked_ns, MAX_NS);
            }
            nap_ns
        }

        /// The nap after a tenth of a second of it from the start.
        fn first_nap(&self) -> Option<u64> {
            self.nap(&mut Gather::default(), &mut 5_000_000_000, 100_000_000)
        }
    }

    #[test]
    fn a_nap_lasts_until_a_part_of_the_links_has_sent() {
        let load = |links, apart_ns| Load {
            links,
            apart_ns,
            work: 600,
        };
        assert_eq!(load(50, 10_000).first_nap(), Some(100_000));
        assert_eq!(load(15, 10_000).first_nap(), Some(30_000));
        assert_eq!(load(60, 20_000).first_nap(), Some(MAX_NS), "a part of them");
        assert_eq!(load(64, 20_000).first_nap(), None, "longer than allowed");
        assert_eq!(load(11, 10_000).first_nap(), None, "few who would all wait");
        let mut gather = Gather::default();
        let mut now_ns = 5_000_000_000;
        load(48, 10_000).nap(&mut gather, &mut now_ns, 100_000_000);
        assert_eq!(gather.nap_ns(now_ns, 0, 0), None, "turned off");
    }

    #[test]
    fn naps_begin_and_end_with_the_work() {
        let load = |work| Load {
            links: 50,
            apart_ns: 10_000,
            work,
        };
        let mut gather = Gather::default();
        let mut now_ns = 5_000_000_000;
        let mut nap = |work, ms: u64| load(work).nap(&mut gather, &mut now_ns, ms * 1_000_000);
        assert_eq!(nap(450, 100), None);
        assert_eq!(nap(900, 4), None, "a burst");
        assert!(nap(600, 200).is_some());
        assert!(nap(450, 200).is_some(), "they save some of the work");
        assert_eq!(nap(350, 200), None);
    }

    #[test]
    fn naps_end_with_the_load() {
        let load = Load {
            links: 50,
            apart_ns: 10_000,
            work: 600,
        };
        for silence_ns in [100_000_000, 10_000_000_000] {
            let mut gather = Gather::default();
            let mut now_ns = 5_000_000_000;
            assert!(load.nap(&mut gather, &mut now_ns, 100_000_000).is_some());
            gather.read(&mut 0);
            let worked_ns = gather.worked_ns;
            assert_eq!(gather.nap_ns(now_ns + silence_ns, worked_ns, MAX_NS), None);
        }
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
