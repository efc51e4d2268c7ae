//! HyperLogLog: how many different elements were added, from 16384 registers of 6 bits, in the bytes that Redis keeps.
//!
//! ```text
//! offset 0   "HYLL"
//!        4   u8   encoding: 0 dense, 1 sparse
//!        5   3 bytes unused
//!        8   u64  the cardinality last computed, little-endian; its highest bit says that it is stale
//!       16   registers
//! dense:  register i is the 6 bits from bit 6 × i on, counted from the least significant bit of the first byte
//! sparse: 00llllll           l + 1 registers of 0
//!         01llllll llllllll  l + 1 registers of 0 (high bits first)
//!         1vvvvvll           l + 1 registers of v + 1
//! ```
//! Values are strings that clients can write, so the bytes may be anything: what does not describe exactly 16384 registers
//! is [`Corrupt`], and nothing is read or written outside of them.
//! Sources: Redis documentation of PFADD, PFCOUNT, PFMERGE and its notes on the representation; the estimator by
//! O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017); MurmurHash64A is in the public domain.

/// Bits of the hash that choose a register.
const INDEX_BITS: u32 = 14;
/// The number of registers.
pub const REGISTERS: usize = 1 << INDEX_BITS;
/// Bits of the hash that are left to count zeros in.
const RANK_BITS: usize = 64 - INDEX_BITS as usize;
const HEADER_BYTES: usize = 16;
const DENSE_BYTES: usize = HEADER_BYTES + REGISTERS * 6 / 8;
/// Bytes of the longest sparse form that describes [`REGISTERS`] registers and no more.
const SPARSE_BYTES_MAX: usize = HEADER_BYTES + 2 * REGISTERS;
const MAGIC: &[u8; 4] = b"HYLL";
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
/// In the last byte of the cached cardinality.
const STALE: u8 = 0x80;
/// Registers in the longest runs of each kind, and the highest value of one.
const ZERO_RUN_MAX: usize = 64;
const VALUE_RUN_MAX: usize = 4;
const VALUE_MAX: u8 = 32;
/// Runs looked at, from the one before a change on, to join equal neighbours.
const JOIN_RUNS: usize = 5;

/// Bytes of the longest value that can be one.
pub const BYTES_MAX: usize = SPARSE_BYTES_MAX;

/// The value does not describe 16384 registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Corrupt;

/// All registers, a byte each.
pub type Registers = [u8; REGISTERS];

/// What an element says: this register is at least so high.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hit {
    index: usize,
    rank: u8,
}

impl Hit {
    /// The register of an element.
    #[inline]
    pub fn of(element: &[u8]) -> Hit {
        let hash = murmur_hash_64a(element, 0xadc8_3b19);
        let rest = hash >> INDEX_BITS | 1 << RANK_BITS;
        Hit {
            index: (hash & (REGISTERS as u64 - 1)) as usize,
            rank: rest.trailing_zeros() as u8 + 1,
        }
    }

    /// Raises its register.
    #[inline]
    pub fn raise(self, registers: &mut Registers) {
        let register = &mut registers[self.index];
        *register = self.rank.max(*register);
    }
}

fn murmur_hash_64a(bytes: &[u8], seed: u64) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    const R: u32 = 47;
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(M);
    let (words, rest) = bytes.as_chunks();
    for word in words {
        let mut word = u64::from_le_bytes(*word).wrapping_mul(M);
        word ^= word >> R;
        hash = (hash ^ word.wrapping_mul(M)).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(M);
    }
    hash ^= hash >> R;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> R
}

// ---- reading ---------------------------------------------------------------------------------

/// A value with the header of a HyperLogLog.
#[derive(Clone, Copy, Debug)]
pub struct HyperLogLogRef<'a> {
    bytes: &'a [u8],
}

/// A run of equal registers in the sparse form.
struct Run {
    /// Registers, at least 1.
    len: usize,
    /// 0 for the two kinds without a value.
    value: u8,
    /// Bytes it takes.
    bytes: usize,
}

impl Run {
    /// The run at the beginning of `bytes`, which are not empty.
    #[inline]
    fn first(bytes: &[u8]) -> Run {
        let byte = bytes[0];
        if byte & 0x80 != 0 {
            return Run {
                len: usize::from(byte & 3) + 1,
                value: (byte >> 2 & 31) + 1,
                bytes: 1,
            };
        }
        let low = usize::from(byte & 0x3f);
        match byte & 0x40 {
            0 => Run {
                len: low + 1,
                value: 0,
                bytes: 1,
            },
            _ => Run {
                len: (low << 8 | bytes.get(1).copied().map_or(0, usize::from)) + 1,
                value: 0,
                bytes: 2,
            },
        }
    }
}

/// The runs of a sparse form.
fn runs(mut bytes: &[u8]) -> impl Iterator<Item = Run> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let run = Run::first(bytes);
        bytes = &bytes[run.bytes.min(bytes.len())..];
        Some(run)
    })
}

impl<'a> HyperLogLogRef<'a> {
    /// Looks at the header alone; `None` when it is not that of a HyperLogLog.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Option<HyperLogLogRef<'a>> {
        let fits = match *bytes.get(MAGIC.len())? {
            DENSE => bytes.len() == DENSE_BYTES,
            SPARSE => bytes.len() >= HEADER_BYTES,
            _ => false,
        };
        (fits && bytes.starts_with(MAGIC)).then_some(HyperLogLogRef { bytes })
    }

    /// Whether every register has its place, rather than runs of them.
    #[inline]
    pub fn is_dense(self) -> bool {
        self.bytes[MAGIC.len()] == DENSE
    }

    fn registers(self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES..]
    }

    /// The cardinality last computed, unless it is stale.
    #[inline]
    pub fn cached(self) -> Option<u64> {
        let cached = self.bytes[8..HEADER_BYTES]
            .try_into()
            .map_or(0, u64::from_le_bytes);
        (cached >> 63 == 0).then_some(cached)
    }

    /// The estimated cardinality.
    pub fn count(self) -> Result<u64, Corrupt> {
        let mut histogram = [0; 64];
        if self.is_dense() {
            for group in self.registers().as_chunks().0 {
                for register in unpack(group) {
                    histogram[usize::from(register)] += 1;
                }
            }
        } else {
            let mut total = 0;
            for run in runs(self.registers()) {
                histogram[usize::from(run.value)] += run.len as u32;
                total += run.len;
                if total > REGISTERS {
                    break;
                }
            }
            if total != REGISTERS {
                return Err(Corrupt);
            }
        }
        Ok(estimate(&histogram))
    }

    /// Raises registers to what they are here.
    pub fn merge_into(self, registers: &mut Registers) -> Result<(), Corrupt> {
        if self.is_dense() {
            let groups = self.registers().as_chunks().0;
            for (group, into) in groups.iter().zip(registers.as_chunks_mut::<8>().0) {
                for (register, into) in unpack(group).into_iter().zip(into) {
                    *into = register.max(*into);
                }
            }
            return Ok(());
        }
        let mut start = 0;
        for run in runs(self.registers()) {
            let into = registers.get_mut(start..start + run.len).ok_or(Corrupt)?;
            if run.value > 0 {
                into.iter_mut()
                    .for_each(|into| *into = run.value.max(*into));
            }
            start += run.len;
        }
        match start {
            REGISTERS => Ok(()),
            _ => Err(Corrupt),
        }
    }

    /// Whether an element would raise its register. The sparse form is looked at as far as the register.
    #[inline]
    pub fn lacks(self, hit: Hit) -> Result<bool, Corrupt> {
        match self.is_dense() {
            true => Ok(dense_register(self.registers(), hit.index) < hit.rank),
            false => Ok(locate(self.bytes, hit.index)?.run.value < hit.rank),
        }
    }

    /// The runs of the sparse form as PFDEBUG DECODE shows them, whatever they add up to; `None` for a dense one.
    pub fn decode(self) -> Option<String> {
        if self.is_dense() {
            return None;
        }
        let mut text = String::new();
        for run in runs(self.registers()) {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&match (run.value, run.bytes) {
                (0, 1) => format!("z:{}", run.len),
                (0, _) => format!("Z:{}", run.len),
                (value, _) => format!("v:{value},{}", run.len),
            });
        }
        Some(text)
    }
}

/// Where a register is in the sparse form.
struct Located {
    /// Where the run before begins, or the run itself when it is the first.
    before: usize,
    /// Where the run begins.
    at: usize,
    /// Its first register.
    start: usize,
    run: Run,
}

/// Finds the run of a register in a sparse value.
fn locate(bytes: &[u8], index: usize) -> Result<Located, Corrupt> {
    let (mut before, mut at, mut start) = (HEADER_BYTES, HEADER_BYTES, 0);
    loop {
        // Eight runs of a byte each at once, as long as they end before the register.
        while let Some(&runs) = bytes.get(at..).and_then(|rest| rest.first_chunk())
            && let Some(len) = eight_runs(runs)
            && start + len <= index
        {
            before = at + 7;
            at += 8;
            start += len;
        }
        if at >= bytes.len() {
            return Err(Corrupt);
        }
        let run = Run::first(&bytes[at..]);
        if index < start + run.len {
            return Ok(Located {
                before,
                at,
                start,
                run,
            });
        }
        before = at;
        at += run.bytes;
        start += run.len;
    }
}

/// The registers in eight runs; `None` when one of them has two bytes.
#[inline]
fn eight_runs(runs: [u8; 8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let runs = u64::from_le_bytes(runs);
    // Bit 6 without bit 7.
    if runs & !(runs >> 1) & (0x40 * ONES) != 0 {
        return None;
    }
    let with_value = (runs >> 7 & ONES) * 0xff;
    let lens = (runs & (0x3f * ONES) & !(with_value & (0x3c * ONES))) + ONES;
    let pairs = (lens & 0x00ff_00ff_00ff_00ff) + (lens >> 8 & 0x00ff_00ff_00ff_00ff);
    Some((pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48) as usize)
}

/// Eight registers of 6 bits, a byte each.
#[inline]
fn unpack(group: &[u8; 6]) -> [u8; 8] {
    let [a, b, c, d, e, f] = *group;
    let bits = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
    // 2 × 24 bits, 4 × 12, 8 × 6, each half moved to the middle of what it lies in.
    let bits = bits & 0xff_ffff | (bits & 0xffff_ff00_0000) << 8;
    let bits = bits & 0x0000_0fff_0000_0fff | (bits & 0x00ff_f000_00ff_f000) << 4;
    let bits = bits & 0x003f_003f_003f_003f | (bits & 0x0fc0_0fc0_0fc0_0fc0) << 2;
    bits.to_le_bytes()
}

/// The inverse of [`unpack`]; registers are below 64.
#[inline]
fn pack(registers: &[u8; 8]) -> [u8; 6] {
    let bits = u64::from_le_bytes(*registers);
    let bits = bits & 0x003f_003f_003f_003f | (bits & 0x3f00_3f00_3f00_3f00) >> 2;
    let bits = bits & 0x0000_0fff_0000_0fff | (bits & 0x0fff_0000_0fff_0000) >> 4;
    let bits = bits & 0xff_ffff | (bits & 0x00ff_ffff_0000_0000) >> 8;
    let [a, b, c, d, e, f, ..] = bits.to_le_bytes();
    [a, b, c, d, e, f]
}

#[inline]
fn dense_register(registers: &[u8], index: usize) -> u8 {
    let (byte, shift) = (index * 6 / 8, index * 6 % 8);
    let high = registers.get(byte + 1).copied().unwrap_or(0);
    (u16::from_le_bytes([registers[byte], high]) >> shift) as u8 & 63
}

#[inline]
fn set_dense_register(registers: &mut [u8], index: usize, value: u8) {
    let (byte, shift) = (index * 6 / 8, index * 6 % 8);
    let high = registers.get(byte + 1).copied().unwrap_or(0);
    let both = u16::from_le_bytes([registers[byte], high]);
    let both = both & !(63 << shift) | u16::from(value) << shift;
    let [low, high] = both.to_le_bytes();
    registers[byte] = low;
    if let Some(byte) = registers.get_mut(byte + 1) {
        *byte = high;
    }
}

/// The cardinality that these registers estimate.
pub fn count(registers: &Registers) -> u64 {
    // Equal neighbours would wait for each other's count.
    let mut histograms = [[0_u32; 64]; 4];
    for group in registers.as_chunks::<4>().0 {
        for (register, histogram) in group.iter().zip(&mut histograms) {
            histogram[usize::from(register & 63)] += 1;
        }
    }
    let [mut sum, rest @ ..] = histograms;
    for histogram in rest {
        for (sum, count) in sum.iter_mut().zip(histogram) {
            *sum += count;
        }
    }
    estimate(&sum)
}

/// Ertl's improved estimator, from how many registers have which value.
fn estimate(histogram: &[u32; 64]) -> u64 {
    const ALPHA_INFINITY: f64 = 0.721_347_520_444_481_7;
    let m = REGISTERS as f64;
    let mut z = m * tau((m - f64::from(histogram[RANK_BITS + 1])) / m);
    for &count in histogram[1..=RANK_BITS].iter().rev() {
        z = (z + f64::from(count)) * 0.5;
    }
    z += m * sigma(f64::from(histogram[0]) / m);
    let estimate = ALPHA_INFINITY * m * m / z;
    match estimate.is_finite() {
        true => estimate.round() as u64,
        // Only registers that no element can have made are so; what Redis makes of it is the least integer.
        false => 1 << 63,
    }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

// ---- writing ---------------------------------------------------------------------------------

/// Marks the cached cardinality of a value stale.
pub fn invalidate(bytes: &mut [u8]) {
    bytes[HEADER_BYTES - 1] |= STALE;
}

/// The eight bytes from offset 8 on that cache a cardinality.
pub fn cache_bytes(cardinality: u64) -> [u8; 8] {
    cardinality.to_le_bytes()
}

/// Where [`cache_bytes`] go.
pub const CACHE_OFFSET: usize = 8;

/// Raises a register of a dense value; whether it was lower.
#[inline]
pub fn raise_dense(bytes: &mut [u8], hit: Hit) -> bool {
    let registers = &mut bytes[HEADER_BYTES..];
    let lower = dense_register(registers, hit.index) < hit.rank;
    if lower {
        set_dense_register(registers, hit.index, hit.rank);
    }
    lower
}

/// A value being changed.
#[derive(Clone, Debug)]
pub struct HyperLogLog {
    /// Invariant: has the header of a HyperLogLog.
    bytes: Vec<u8>,
}

impl Default for HyperLogLog {
    /// One without elements, sparse.
    fn default() -> HyperLogLog {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[..MAGIC.len()].copy_from_slice(MAGIC);
        bytes[MAGIC.len()] = SPARSE;
        push_zeros(&mut bytes, REGISTERS);
        HyperLogLog { bytes }
    }
}

/// Appends a run of zeros of at most [`REGISTERS`].
fn push_zeros(out: &mut Vec<u8>, len: usize) {
    let encoded = len - 1;
    match len > ZERO_RUN_MAX {
        true => out.extend_from_slice(&[0x40 | (encoded >> 8) as u8, encoded as u8]),
        false => out.push(encoded as u8),
    }
}

/// A run of at most [`VALUE_RUN_MAX`] registers of this value, 1 to [`VALUE_MAX`].
fn value_run(value: u8, len: usize) -> u8 {
    0x80 | (value - 1) << 2 | (len - 1) as u8
}

impl HyperLogLog {
    /// A copy of a value.
    pub fn of(value: HyperLogLogRef<'_>) -> HyperLogLog {
        let mut bytes = Vec::with_capacity(value.bytes.len() + 64);
        bytes.extend_from_slice(value.bytes);
        HyperLogLog { bytes }
    }

    /// The value to store.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn view(&self) -> HyperLogLogRef<'_> {
        HyperLogLogRef { bytes: &self.bytes }
    }

    /// Marks the cached cardinality stale.
    pub fn invalidate(&mut self) {
        invalidate(&mut self.bytes);
    }

    /// Raises a register; whether it was lower. A sparse value becomes dense when the register is higher than
    /// [`VALUE_MAX`], or the value would grow above `sparse_bytes_max` bytes (hll-sparse-max-bytes). The sparse form is
    /// looked at as far as the register: what is corrupt behind it stays unseen, as in Redis.
    pub fn raise(&mut self, hit: Hit, sparse_bytes_max: usize) -> Result<bool, Corrupt> {
        if self.view().is_dense() {
            return Ok(raise_dense(&mut self.bytes, hit));
        }
        if hit.rank <= VALUE_MAX
            && let Some(raised) = self.raise_sparse(hit, sparse_bytes_max)?
        {
            return Ok(raised);
        }
        self.make_dense()?;
        Ok(raise_dense(&mut self.bytes, hit))
    }

    /// As [`HyperLogLog::raise`] in the sparse form; `None` when that would grow too long.
    fn raise_sparse(&mut self, hit: Hit, sparse_bytes_max: usize) -> Result<Option<bool>, Corrupt> {
        // 1. The run that has the register.
        let Located {
            before,
            at,
            start,
            run,
        } = locate(&self.bytes, hit.index)?;
        if run.value >= hit.rank {
            return Ok(Some(false));
        }
        // 2. What takes its place: what is left of it on both sides, and the register between.
        let (left, right) = (hit.index - start, start + run.len - 1 - hit.index);
        let mut fresh = Vec::with_capacity(5);
        let push = |fresh: &mut Vec<u8>, len: usize| match (len, run.value) {
            (0, _) => {}
            (_, 0) => push_zeros(fresh, len),
            (_, value) => fresh.push(value_run(value, len)),
        };
        push(&mut fresh, left);
        fresh.push(value_run(hit.rank, 1));
        push(&mut fresh, right);
        let grows = fresh.len() > run.bytes;
        if grows && self.bytes.len() + fresh.len() - run.bytes > sparse_bytes_max {
            return Ok(None);
        }
        let (end, len) = (at + run.bytes, self.bytes.len());
        self.bytes.splice(at..end.min(len), fresh);
        if end > len {
            // A corrupt value, cut off within a run: Redis counts the byte that is missing.
            self.bytes.pop();
        }
        // 3. Equal neighbours become one run.
        self.join(before);
        Ok(Some(true))
    }

    /// Joins runs of the same value, among some from `at` on.
    fn join(&mut self, mut at: usize) {
        for _ in 0..JOIN_RUNS {
            if at >= self.bytes.len() {
                return;
            }
            let run = Run::first(&self.bytes[at..]);
            if run.value > 0 && at + 1 < self.bytes.len() {
                let next = Run::first(&self.bytes[at + 1..]);
                if next.value == run.value && run.len + next.len <= VALUE_RUN_MAX {
                    self.bytes[at] = value_run(run.value, run.len + next.len);
                    self.bytes.remove(at + 1);
                    continue;
                }
            }
            at += run.bytes;
        }
    }

    /// Gives every register its place; false when it was so.
    pub fn make_dense(&mut self) -> Result<bool, Corrupt> {
        if self.view().is_dense() {
            return Ok(false);
        }
        let mut registers = [0; REGISTERS];
        self.view().merge_into(&mut registers)?;
        self.bytes.truncate(HEADER_BYTES);
        self.bytes[MAGIC.len()] = DENSE;
        self.bytes.resize(DENSE_BYTES, 0);
        self.set_registers(&registers);
        Ok(true)
    }

    /// Raises registers to these values, which are not lower than what is there. `dense`: in the dense form.
    pub fn absorb(
        &mut self,
        registers: &Registers,
        dense: bool,
        sparse_bytes_max: usize,
    ) -> Result<(), Corrupt> {
        if dense {
            self.make_dense()?;
        }
        if self.view().is_dense() {
            self.set_registers(registers);
            return Ok(());
        }
        for (index, &rank) in registers.iter().enumerate() {
            if rank > 0 {
                self.raise(Hit { index, rank }, sparse_bytes_max)?;
            }
        }
        Ok(())
    }

    /// Writes all registers of a dense value.
    fn set_registers(&mut self, registers: &Registers) {
        let groups = self.bytes[HEADER_BYTES..].as_chunks_mut().0;
        for (group, registers) in groups.iter_mut().zip(registers.as_chunks().0) {
            *group = pack(registers);
        }
    }
}

/// PFSELFTEST: registers keep what is written, both forms estimate alike, and the estimate errs as little as it should.
/// What failed, if anything did.
pub fn self_test(mut random: impl FnMut() -> u64) -> Result<(), String> {
    // 1. The registers of the dense form against an array.
    let mut dense = HyperLogLog::default();
    let mut twin = [0; REGISTERS];
    dense
        .make_dense()
        .map_err(|_| "corrupt when new".to_string())?;
    for _ in 0..100 {
        for _ in 0..REGISTERS {
            let number = random();
            let index = number as usize % REGISTERS;
            twin[index] = (number >> 32) as u8 & 63;
            set_dense_register(&mut dense.bytes[HEADER_BYTES..], index, twin[index]);
        }
        for (index, &register) in twin.iter().enumerate() {
            let found = dense_register(&dense.bytes[HEADER_BYTES..], index);
            if found != register {
                return Err(format!(
                    "Register {index} should be {register} but is {found}"
                ));
            }
        }
    }
    // 2. Both forms, and the error: 1.04 / sqrt(registers), of which six are more than ever occur.
    let mut dense = HyperLogLog::default();
    let mut either = HyperLogLog::default();
    dense
        .make_dense()
        .map_err(|_| "corrupt when new".to_string())?;
    let seed = random();
    let mut checkpoint = 1;
    for count in 1..=1_000_000_u64 {
        let hit = Hit::of(&(seed ^ count).to_le_bytes());
        let raised = (dense.raise(hit, 0), either.raise(hit, 3000));
        if raised.0 != raised.1 {
            return Err(format!("The forms differ at {count} elements"));
        }
        if count != checkpoint {
            continue;
        }
        checkpoint *= 10;
        let estimates = (dense.view().count(), either.view().count());
        if estimates.0 != estimates.1 {
            return Err(format!("The estimates differ at {count} elements"));
        }
        let estimate = estimates.0.map_err(|_| "corrupt".to_string())?;
        let tolerance = (6.0 * 1.04 / 128.0 * count as f64).ceil() as u64;
        if estimate.abs_diff(count) > tolerance {
            return Err(format!("Too big an error: {estimate} for {count} elements"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    #[test]
    fn the_self_test_holds() {
        let mut prng = Prng::new(3);
        assert_eq!(self_test(|| prng.next_u64()), Ok(()));
    }

    #[test]
    fn registers_are_found_as_one_run_after_the_other_says() {
        for seed in 0..20 {
            let mut prng = Prng::new(seed);
            let mut value = HyperLogLog::default();
            for _ in 0..prng.below(2000) {
                let hit = Hit::of(&prng.next_u64().to_le_bytes());
                value.raise(hit, 1 << 20).expect("whole");
            }
            let (mut at, mut start) = (HEADER_BYTES, 0);
            for run in runs(&value.bytes[HEADER_BYTES..]) {
                for index in [start, start + run.len - 1] {
                    let found = locate(&value.bytes, index).expect("whole");
                    assert_eq!((found.at, found.start, found.run.len), (at, start, run.len));
                    assert!(found.before < at || at == HEADER_BYTES);
                }
                (at, start) = (at + run.bytes, start + run.len);
            }
            assert!(locate(&value.bytes, REGISTERS).is_err());
        }
    }

    #[test]
    fn packing_is_undone() {
        let mut prng = Prng::new(4);
        for _ in 0..1000 {
            let registers: [u8; 8] = std::array::from_fn(|_| prng.next_u64() as u8 & 63);
            let packed = pack(&registers);
            assert_eq!(unpack(&packed), registers);
            for (index, &register) in registers.iter().enumerate() {
                assert_eq!(dense_register(&packed, index), register);
            }
        }
    }

    #[test]
    fn forms_agree_and_merge_to_the_union() {
        for seed in 0..20 {
            let mut prng = Prng::new(seed);
            let mut parts = [HyperLogLog::default(), HyperLogLog::default()];
            let mut all = HyperLogLog::default();
            let (limit, elements) = (prng.below(5000) as usize, prng.below(3000));
            for _ in 0..elements {
                let element = prng.next_u64().to_le_bytes();
                let part = &mut parts[prng.below(2) as usize];
                part.raise(Hit::of(&element), limit).expect("whole");
                all.raise(Hit::of(&element), 3000).expect("whole");
            }
            let mut registers = [0; REGISTERS];
            for part in &parts {
                part.view().merge_into(&mut registers).expect("whole");
            }
            let mut twin = [0; REGISTERS];
            all.view().merge_into(&mut twin).expect("whole");
            assert_eq!(registers, twin);
            assert_eq!(Ok(count(&registers)), all.view().count());
            for dense in [false, true] {
                let mut merged = parts[0].clone();
                merged.absorb(&registers, dense, limit).expect("whole");
                assert_eq!(merged.view().count(), all.view().count());
            }
        }
    }

    #[test]
    fn any_bytes_are_read_within_bounds() {
        for seed in 0..400 {
            let mut prng = Prng::new(seed);
            let mut bytes = HyperLogLog::default().bytes;
            let len = prng.below(300) as usize;
            bytes.resize(HEADER_BYTES + len, 0);
            prng.fill(&mut bytes[HEADER_BYTES..]);
            let Some(value) = HyperLogLogRef::new(&bytes) else {
                panic!("the header is there");
            };
            let mut registers = [0; REGISTERS];
            let merged = value.merge_into(&mut registers);
            assert_eq!(merged.is_err(), value.count().is_err());
            assert_eq!(value.decode().is_none(), value.is_dense());
            let mut changed = HyperLogLog::of(value);
            for _ in 0..50 {
                let hit = Hit {
                    index: prng.below(REGISTERS as u64) as usize,
                    rank: 1 + prng.below(51) as u8,
                };
                if changed.raise(hit, 3000) == Err(Corrupt) {
                    break;
                }
            }
        }
        assert!(HyperLogLogRef::new(b"HYLL").is_none());
        assert!(HyperLogLogRef::new(b"HYLL\x01").is_none());
        assert!(HyperLogLogRef::new(&[b"HYLL\0".as_slice(), &[0; 11]].concat()).is_none());
    }
}
