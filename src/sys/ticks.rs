//! The monotonic clock at the price of the processor's tick counter: what is read for every command.
//!
//! Between two readings of CLOCK_MONOTONIC, at most a millisecond apart, time is the last reading plus counted ticks
//! (9 ns a reading against 25). Their length is measured over the clock's whole life and used from 10 ms on, so an
//! instant is off by some ns. Used where Linux itself keeps time by that counter, which says that it is the same on
//! all processors and never stops; elsewhere every reading is the system's.
#![allow(unsafe_code)]

use super::clock;

/// Ticks are trusted for so long after a reading of the system's clock.
const TRUSTED_NS: u64 = 1_000_000;
/// The length of a tick is known after so long.
const MEASURED_NS: u64 = 10_000_000;
/// Two readings within so many ticks are taken for one moment.
const CLOSE_TICKS: u64 = 1000;

/// A clock of one thread.
#[derive(Debug)]
pub struct TickClock {
    usable: bool,
    first: Reading,
    last: Reading,
    /// Nanoseconds of a tick, times 2^32; 0 until measured.
    tick_ns_q32: u64,
    /// Ticks for which `last` holds; 0 until measured.
    trusted_ticks: u64,
    /// What was answered last: the clock never goes back.
    answered_ns: u64,
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    ns: u64,
    ticks: u64,
}

impl Reading {
    /// The closest of a few tries: the thread may be interrupted between the two clocks.
    fn now() -> Reading {
        let mut best = (u64::MAX, Reading { ns: 0, ticks: 0 });
        for _ in 0..4 {
            let before = ticks();
            let ns = clock::monotonic_ns();
            let apart = ticks().wrapping_sub(before);
            if apart < best.0 {
                let ticks = before + apart / 2;
                best = (apart, Reading { ns, ticks });
            }
            if apart < CLOSE_TICKS {
                break;
            }
        }
        best.1
    }
}

impl Default for TickClock {
    fn default() -> TickClock {
        let first = Reading::now();
        TickClock {
            usable: usable(),
            first,
            last: first,
            tick_ns_q32: 0,
            trusted_ticks: 0,
            answered_ns: first.ns,
        }
    }
}

impl TickClock {
    /// Nanoseconds on the clock of [`clock::monotonic_ns`].
    #[inline]
    pub fn now_ns(&mut self) -> u64 {
        // A counter that went back, on whatever machine, is a distance beyond trust.
        let passed = ticks().wrapping_sub(self.last.ticks);
        let ns = if passed < self.trusted_ticks {
            self.last.ns + ((passed * self.tick_ns_q32) >> 32)
        } else {
            self.read()
        };
        self.answered_ns = self.answered_ns.max(ns);
        self.answered_ns
    }

    #[cold]
    fn read(&mut self) -> u64 {
        self.last = Reading::now();
        let ns = self.last.ns.saturating_sub(self.first.ns);
        let ticks = self.last.ticks.wrapping_sub(self.first.ticks);
        if self.usable && ns >= MEASURED_NS && ticks > 0 {
            let tick_ns_q32 = (u128::from(ns) << 32) / u128::from(ticks);
            // So ticks × length stays below TRUSTED_NS << 32.
            let trusted = (u128::from(TRUSTED_NS) << 32) / tick_ns_q32.max(1);
            self.tick_ns_q32 = tick_ns_q32 as u64;
            self.trusted_ticks = trusted as u64;
        }
        self.last.ns
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and it touches no memory.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn ticks() -> u64 {
    0
}

fn usable() -> bool {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    cfg!(target_arch = "x86_64")
        && std::fs::read_to_string(path).is_ok_and(|name| name.trim() == "tsc")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_system_clocks_time() {
        let mut ticks = TickClock::default();
        let start = clock::monotonic_ns();
        let mut before = 0;
        while before < start + 60_000_000 {
            let low = clock::monotonic_ns();
            let now = ticks.now_ns();
            let high = clock::monotonic_ns();
            assert!(now >= before, "{now} after {before}");
            assert!(
                now + 2_000 >= low && now <= high + 2_000,
                "{low} {now} {high}"
            );
            before = now;
        }
        assert_eq!(ticks.trusted_ticks != 0, ticks.usable);
    }
}
