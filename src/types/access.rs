//! The 24-bit access word: when (LRU) or how often (LFU) a key was read.
//!
//! LRU: the clock in seconds, modulo 2^24 (194 days), as Redis keeps it. LFU: 16 bits of minutes
//! at which the counter last decayed and an 8-bit counter that grows logarithmically. Which of the two a word
//! means depends on maxmemory-policy alone. Source of the behaviour: Redis documentation on key
//! eviction; OBJECT IDLETIME and OBJECT FREQ of a running server.

use crate::base::prng::Prng;
use crate::base::time::UnixMs;

/// The bits of an access word.
pub const ACCESS_MASK: u32 = 0x00ff_ffff;
/// What the counter of a new key starts with, so that it is not the first to go.
pub const LFU_INITIAL: u8 = 5;

/// The LRU word for `now`.
#[inline]
pub fn lru_word(now: UnixMs) -> u32 {
    (now / 1000) as u32 & ACCESS_MASK
}

/// Seconds since the access that `word` records; wrong after 194 days, as in Redis.
pub fn lru_idle_seconds(word: u32, now: UnixMs) -> u64 {
    u64::from(lru_word(now).wrapping_sub(word) & ACCESS_MASK)
}

/// The LRU word of a key that has been idle for `seconds` (RESTORE IDLETIME, RDB).
pub fn lru_word_of_idle(seconds: u64, now: UnixMs) -> u32 {
    let seconds = seconds.min(u64::from(ACCESS_MASK)) as u32;
    lru_word(now).wrapping_sub(seconds) & ACCESS_MASK
}

/// LFU's clock: minutes modulo 2^16.
fn minutes(now: UnixMs) -> u32 {
    (now / 60_000) as u32 & 0xffff
}

/// The LFU word with this counter, decayed last at `now`.
pub fn lfu_word(counter: u8, now: UnixMs) -> u32 {
    minutes(now) << 8 | u32::from(counter)
}

/// The counter as it is at `now`: one less for every `decay_minutes` (lfu-decay-time) gone by; 0 = never.
pub fn lfu_counter(word: u32, now: UnixMs, decay_minutes: u32) -> u8 {
    let counter = (word & 0xff) as u8;
    let elapsed = minutes(now).wrapping_sub(word >> 8) & 0xffff;
    match elapsed.checked_div(decay_minutes) {
        Some(periods) => counter.saturating_sub(periods.min(255) as u8),
        None => counter,
    }
}

/// The LFU word after an access: decayed, then incremented with probability
/// 1 / ((counter - 5) × `log_factor` + 1) (lfu-log-factor).
pub fn lfu_touch(
    word: u32,
    now: UnixMs,
    log_factor: u32,
    decay_minutes: u32,
    prng: &mut Prng,
) -> u32 {
    let counter = lfu_counter(word, now, decay_minutes);
    lfu_word(lfu_increment(counter, log_factor, prng), now)
}

fn lfu_increment(counter: u8, log_factor: u32, prng: &mut Prng) -> u8 {
    if counter == u8::MAX {
        return counter;
    }
    let above = u64::from(counter.saturating_sub(LFU_INITIAL));
    let chance = above
        .saturating_mul(u64::from(log_factor))
        .saturating_add(1);
    counter + u8::from(prng.below(chance) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lru_idle_survives_the_wrap() {
        let wrap = i64::from(ACCESS_MASK) * 1000 + 1000;
        let word = lru_word(wrap - 5000);
        assert_eq!(lru_idle_seconds(word, wrap + 5000), 10);
        let now = 1_790_000_000_000;
        assert_eq!(lru_idle_seconds(lru_word_of_idle(1234, now), now), 1234);
    }

    #[test]
    fn lfu_grows_slowly_and_decays() {
        let (mut prng, now) = (Prng::new(3), 1_790_000_000_000);
        let mut word = lfu_word(LFU_INITIAL, now);
        for _ in 0..1000 {
            word = lfu_touch(word, now, 10, 1, &mut prng);
        }
        // The documentation's table: about 18 after a thousand hits with factor 10.
        let counter = lfu_counter(word, now, 1);
        assert!((13..=24).contains(&counter), "{counter}");
        assert_eq!(lfu_counter(word, now + 3 * 60_000, 1), counter - 3);
        assert_eq!(lfu_counter(word, now + 3 * 60_000, 0), counter);
        assert_eq!(lfu_counter(word, now + 1000 * 60_000, 1), 0);
        for _ in 0..300_000 {
            word = lfu_touch(word, now, 0, 1, &mut prng);
        }
        assert_eq!(lfu_counter(word, now, 1), 255);
    }
}
