//! The 80-bit floating-point number of INCRBYFLOAT and HINCRBYFLOAT, in integer arithmetic.
//!
//! Redis adds in the `long double` of x86 (64 bits of mantissa, 15 of exponent, round to nearest even) and
//! prints 17 decimals without trailing zeros. Doing it in integers gives the same digits on every machine.

/// A number `±mantissa × 2^exponent`, or an infinity.
/// Invariant of `Finite`: mantissa 0; or its top bit set; or exponent == EXPONENT_MIN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LongDouble {
    /// A finite number.
    Finite {
        /// Sign; zero has one too.
        negative: bool,
        /// The 64 significant bits.
        mantissa: u64,
        /// The power of two of the lowest bit.
        exponent: i32,
    },
    /// Too large.
    Infinite {
        /// Sign.
        negative: bool,
    },
    /// The sum of opposite infinities.
    Nan,
}

/// The power of two of the lowest bit of the smallest numbers.
const EXPONENT_MIN: i32 = -16445;
/// The power of two of the lowest bit of the largest numbers.
const EXPONENT_MAX: i32 = 16320;
/// Texts of this many bytes or more are refused, as Redis refuses them.
const TEXT_BYTES_MAX: usize = 5 * 1024;

impl LongDouble {
    /// Reads what C's `strtold` reads, whole, without leading white space: decimal or hexadecimal digits with
    /// fraction and exponent, or `inf`/`infinity`. None for anything else, `nan`, what overflows, and what is
    /// not zero but rounds to it.
    pub fn parse(text: &[u8]) -> Option<LongDouble> {
        if text.len() >= TEXT_BYTES_MAX {
            return None;
        }
        let (negative, unsigned) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") {
            return Some(LongDouble::Infinite { negative });
        }
        let value = match unsigned {
            [b'0', b'x' | b'X', hex @ ..] => parse_hex(negative, hex)?,
            decimal => parse_decimal(negative, decimal)?,
        };
        value.is_finite().then_some(value)
    }

    /// From an integer, exactly.
    pub fn from_i64(value: i64) -> LongDouble {
        round(value < 0, u128::from(value.unsigned_abs()), 0)
    }

    /// The largest finite number.
    pub const MAX: LongDouble = LongDouble::Finite {
        negative: false,
        mantissa: u64::MAX,
        exponent: EXPONENT_MAX,
    };

    /// Whether it is less than `other`. A NaN is not.
    pub fn is_below(self, other: LongDouble) -> bool {
        // The sign of a difference is exact: what is not zero is not rounded to it.
        match self + -other {
            LongDouble::Finite {
                negative, mantissa, ..
            } => negative && mantissa != 0,
            LongDouble::Infinite { negative } => negative,
            LongDouble::Nan => false,
        }
    }

    /// Neither infinite nor NaN.
    pub fn is_finite(&self) -> bool {
        matches!(self, LongDouble::Finite { .. })
    }

    /// Not a number.
    pub fn is_nan(&self) -> bool {
        matches!(self, LongDouble::Nan)
    }

    /// Appends the number with up to 17 decimals, without trailing zeros and never as `-0`: `10.5`, `3`, `0.1`.
    /// A number that is not finite prints as `inf`, `-inf` or `nan`.
    pub fn push(&self, out: &mut Vec<u8>) {
        let (negative, mantissa, exponent) = match *self {
            LongDouble::Finite {
                negative,
                mantissa,
                exponent,
            } => (negative, mantissa, exponent),
            LongDouble::Infinite { negative: false } => return out.extend_from_slice(b"inf"),
            LongDouble::Infinite { negative: true } => return out.extend_from_slice(b"-inf"),
            LongDouble::Nan => return out.extend_from_slice(b"nan"),
        };
        let start = out.len();
        if negative {
            out.push(b'-');
        }
        if exponent >= 0 {
            push_big(out, mantissa, exponent as usize);
        } else {
            let shift = exponent.unsigned_abs();
            let mut whole = mantissa.checked_shr(shift).unwrap_or(0);
            let fraction = if shift >= 64 {
                mantissa
            } else {
                mantissa & ((1 << shift) - 1)
            };
            // fraction × 10^17 / 2^shift, to nearest even.
            let scaled = u128::from(fraction) * 10u128.pow(17);
            let mut decimals = scaled.checked_shr(shift).unwrap_or(0);
            if shift < 128 {
                let lost = scaled & ((1 << shift) - 1);
                let half = 1u128 << (shift - 1);
                if lost > half || (lost == half && decimals & 1 == 1) {
                    decimals += 1;
                }
            }
            if decimals == 10u128.pow(17) {
                decimals = 0;
                whole += 1;
            }
            let text = format!("{whole}.{decimals:017}");
            out.extend_from_slice(text.trim_end_matches('0').trim_end_matches('.').as_bytes());
        }
        if out.get(start..) == Some(b"-0") {
            out.remove(start);
        }
    }
}

impl std::ops::Neg for LongDouble {
    type Output = LongDouble;

    fn neg(mut self) -> LongDouble {
        match &mut self {
            LongDouble::Finite { negative, .. } | LongDouble::Infinite { negative } => {
                *negative = !*negative;
            }
            LongDouble::Nan => {}
        }
        self
    }
}

impl std::ops::Add for LongDouble {
    type Output = LongDouble;

    /// The sum, rounded once to nearest even.
    fn add(self, other: LongDouble) -> LongDouble {
        use LongDouble::{Finite, Infinite, Nan};
        match (self, other) {
            (Nan, _) | (_, Nan) => Nan,
            (Infinite { negative: a }, Infinite { negative: b }) if a != b => Nan,
            (Infinite { negative }, _) | (_, Infinite { negative }) => Infinite { negative },
            (
                Finite {
                    negative: a_negative,
                    mantissa: a,
                    exponent: a_exponent,
                },
                Finite {
                    negative: b_negative,
                    mantissa: b,
                    exponent: b_exponent,
                },
            ) => {
                if a == 0 && b == 0 {
                    return Finite {
                        negative: a_negative && b_negative,
                        mantissa: 0,
                        exponent: EXPONENT_MIN,
                    };
                }
                if a == 0 {
                    return other;
                }
                if b == 0 {
                    return self;
                }
                // `high` has the larger exponent; both get 62 guard bits, and one sticky bit below stands for
                // what `low` loses.
                let ((high_negative, high, high_exponent), (low_negative, low, low_exponent)) =
                    if a_exponent >= b_exponent {
                        ((a_negative, a, a_exponent), (b_negative, b, b_exponent))
                    } else {
                        ((b_negative, b, b_exponent), (a_negative, a, a_exponent))
                    };
                let shift = (high_exponent - low_exponent) as u32;
                let high = u128::from(high) << 62;
                let low = u128::from(low) << 62;
                let kept = low.checked_shr(shift).unwrap_or(0);
                let lost = kept.checked_shl(shift).unwrap_or(0) != low;
                let low = kept | u128::from(lost);
                let exponent = high_exponent - 62;
                if high_negative == low_negative {
                    round(high_negative, high + low, exponent)
                } else if high == low {
                    Finite {
                        negative: false,
                        mantissa: 0,
                        exponent: EXPONENT_MIN,
                    }
                } else if high > low {
                    round(high_negative, high - low, exponent)
                } else {
                    round(low_negative, low - high, exponent)
                }
            }
        }
    }
}

/// `±value × 2^exponent` as the nearest number. A lowest bit that stands for anything lost below it rounds right, as
/// long as at least one bit is dropped.
fn round(negative: bool, value: u128, exponent: i32) -> LongDouble {
    if value == 0 {
        return LongDouble::Finite {
            negative,
            mantissa: 0,
            exponent: EXPONENT_MIN,
        };
    }
    // Bits to drop: what exceeds 64, and what lies below the smallest number.
    let excess = (128 - value.leading_zeros() as i32) - 64;
    let drop = excess.max(EXPONENT_MIN - exponent);
    if drop <= 0 {
        // Shift up as far as the exponent allows.
        let mantissa = (value << -drop) as u64;
        return finite(negative, mantissa, exponent + drop);
    }
    let mut kept = value.checked_shr(drop as u32).unwrap_or(0);
    if drop <= 128 {
        let lost = if drop == 128 {
            value
        } else {
            value & ((1 << drop) - 1)
        };
        let half = 1u128 << (drop - 1);
        if lost > half || (lost == half && kept & 1 == 1) {
            kept += 1;
        }
    }
    let mut exponent = exponent + drop;
    if kept >> 64 != 0 {
        kept >>= 1;
        exponent += 1;
    }
    finite(negative, kept as u64, exponent)
}

fn finite(negative: bool, mantissa: u64, exponent: i32) -> LongDouble {
    if exponent > EXPONENT_MAX {
        LongDouble::Infinite { negative }
    } else {
        LongDouble::Finite {
            negative,
            mantissa,
            exponent,
        }
    }
}

/// Splits digits, fraction and exponent; the digits without the point, and how many of them follow it.
fn split_number(
    text: &[u8],
    is_digit: fn(&u8) -> bool,
    exponent_mark: u8,
) -> Option<(Vec<u8>, usize, i64)> {
    let end = text
        .iter()
        .position(|byte| !is_digit(byte) && *byte != b'.')
        .unwrap_or(text.len());
    let (number, exponent) = text.split_at(end);
    let mut digits = Vec::with_capacity(number.len());
    let mut fraction = None;
    for &byte in number {
        if byte == b'.' {
            if fraction.is_some() {
                return None;
            }
            fraction = Some(0);
        } else {
            digits.push(byte);
            fraction = fraction.map(|count| count + 1);
        }
    }
    if digits.is_empty() {
        return None;
    }
    let exponent = match exponent {
        [] => 0,
        [mark, rest @ ..] if mark.eq_ignore_ascii_case(&exponent_mark) => {
            let (negative, digits) = match rest {
                [b'-', digits @ ..] => (true, digits),
                [b'+', digits @ ..] => (false, digits),
                digits => (false, digits),
            };
            if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return None;
            }
            let magnitude = digits.iter().fold(0i64, |value, &byte| {
                (value * 10 + i64::from(byte - b'0')).min(1_000_000)
            });
            if negative { -magnitude } else { magnitude }
        }
        _ => return None,
    };
    Some((digits, fraction.unwrap_or(0), exponent))
}

fn parse_decimal(negative: bool, text: &[u8]) -> Option<LongDouble> {
    let (digits, fraction, exponent) = split_number(text, u8::is_ascii_digit, b'e')?;
    let zeros = digits.iter().take_while(|&&byte| byte == b'0').count();
    let mut digits = &digits[zeros..];
    let mut exponent = exponent - fraction as i64;
    while let [rest @ .., b'0'] = digits {
        digits = rest;
        exponent += 1;
    }
    if digits.is_empty() {
        return Some(LongDouble::Finite {
            negative,
            mantissa: 0,
            exponent: EXPONENT_MIN,
        });
    }
    // Outside this range the answer is known, and the integers below stay small.
    let magnitude = exponent + digits.len() as i64;
    if magnitude > 4940 {
        return Some(LongDouble::Infinite { negative });
    }
    if magnitude < -4970 {
        return None;
    }
    // value = numerator / denominator, both integers.
    let mut numerator = Big::from_digits(digits);
    let mut denominator = Big(vec![1]);
    if exponent >= 0 {
        numerator.mul_pow10(exponent as u32);
    } else {
        denominator.mul_pow10(exponent.unsigned_abs() as u32);
    }
    // Scale so that the quotient has 66 or 67 bits.
    let shift = 66 - (numerator.bits() as i32 - denominator.bits() as i32);
    if shift > 0 {
        numerator.shl(shift as usize);
    } else {
        denominator.shl(shift.unsigned_abs() as usize);
    }
    let (quotient, exact) = numerator.div_small_quotient(&denominator);
    // The sticky bit goes below the quotient, so that it survives in `round` whatever is dropped.
    let value = round(negative, quotient << 1 | u128::from(!exact), -shift - 1);
    not_underflowed(value)
}

fn parse_hex(negative: bool, text: &[u8]) -> Option<LongDouble> {
    let (value, exponent) = hex_parts(text)?;
    if value == 0 {
        return Some(LongDouble::Finite {
            negative,
            mantissa: 0,
            exponent: EXPONENT_MIN,
        });
    }
    not_underflowed(round(negative, value, exponent))
}

/// Reads hexadecimal digits with fraction and binary exponent (after `0x`): `value × 2^exponent`. What does not fit
/// 121 bits is kept as a lowest bit that is set.
pub fn hex_parts(text: &[u8]) -> Option<(u128, i32)> {
    let (digits, fraction, exponent) = split_number(text, u8::is_ascii_hexdigit, b'p')?;
    let mut value = 0u128;
    let mut exponent = exponent - 4 * fraction as i64;
    let mut lost = false;
    for byte in digits {
        let digit = u128::from(char::from(byte).to_digit(16)?);
        if value >> 120 == 0 {
            value = value << 4 | digit;
        } else {
            lost |= digit != 0;
            exponent += 4;
        }
    }
    let exponent = exponent.clamp(-1_000_000, 1_000_000) as i32;
    Some((value << 1 | u128::from(lost), exponent - 1))
}

fn not_underflowed(value: LongDouble) -> Option<LongDouble> {
    match value {
        LongDouble::Finite { mantissa: 0, .. } => None,
        value => Some(value),
    }
}

/// Appends `mantissa × 2^shift` in decimal.
fn push_big(out: &mut Vec<u8>, mantissa: u64, shift: usize) {
    let mut value = Big(vec![mantissa]);
    value.shl(shift);
    const CHUNK: u64 = 10u64.pow(19);
    let mut chunks = Vec::new();
    while value.bits() > 0 {
        chunks.push(value.div_rem(CHUNK));
    }
    match chunks.split_last() {
        None => out.push(b'0'),
        Some((first, rest)) => {
            out.extend_from_slice(first.to_string().as_bytes());
            for chunk in rest.iter().rev() {
                out.extend_from_slice(format!("{chunk:019}").as_bytes());
            }
        }
    }
}

/// A natural number in 64-bit limbs, lowest first; at most some hundreds of limbs.
#[derive(Clone)]
struct Big(Vec<u64>);

impl Big {
    fn from_digits(digits: &[u8]) -> Big {
        let mut value = Big(Vec::with_capacity(digits.len() / 19 + 1));
        for chunk in digits.chunks(19) {
            let number = chunk
                .iter()
                .fold(0, |number, &byte| number * 10 + u64::from(byte - b'0'));
            value.mul_add(10u64.pow(chunk.len() as u32), number);
        }
        value
    }

    /// self = self × factor + carry.
    fn mul_add(&mut self, factor: u64, mut carry: u64) {
        for limb in &mut self.0 {
            let wide = u128::from(*limb) * u128::from(factor) + u128::from(carry);
            *limb = wide as u64;
            carry = (wide >> 64) as u64;
        }
        if carry > 0 {
            self.0.push(carry);
        }
    }

    fn mul_pow10(&mut self, mut power: u32) {
        while power > 0 {
            let step = power.min(19);
            self.mul_add(10u64.pow(step), 0);
            power -= step;
        }
    }

    fn bits(&self) -> usize {
        match self.0.iter().rposition(|&limb| limb != 0) {
            None => 0,
            Some(index) => index * 64 + 64 - self.0[index].leading_zeros() as usize,
        }
    }

    fn shl(&mut self, shift: usize) {
        let bits = shift % 64;
        if bits > 0 {
            self.mul_add(1 << bits, 0);
        }
        if shift >= 64 {
            self.0.splice(0..0, std::iter::repeat_n(0, shift / 64));
        }
    }

    /// Divides in place; the remainder.
    fn div_rem(&mut self, divisor: u64) -> u64 {
        let mut rest = 0u64;
        for limb in self.0.iter_mut().rev() {
            let wide = u128::from(rest) << 64 | u128::from(*limb);
            *limb = (wide / u128::from(divisor)) as u64;
            rest = (wide % u128::from(divisor)) as u64;
        }
        rest
    }

    fn at_least(&self, other: &[u64]) -> bool {
        let len = self.0.len().max(other.len());
        for index in (0..len).rev() {
            let a = self.0.get(index).copied().unwrap_or(0);
            let b = other.get(index).copied().unwrap_or(0);
            if a != b {
                return a > b;
            }
        }
        true
    }

    /// self -= other, which is not larger.
    fn sub(&mut self, other: &[u64]) {
        let mut borrow = false;
        for (index, limb) in self.0.iter_mut().enumerate() {
            let (value, under_a) = limb.overflowing_sub(other.get(index).copied().unwrap_or(0));
            let (value, under_b) = value.overflowing_sub(u64::from(borrow));
            *limb = value;
            borrow = under_a || under_b;
        }
    }

    /// The quotient, known to have at most 68 bits, and whether it is exact. Bit by bit.
    fn div_small_quotient(mut self, divisor: &Big) -> (u128, bool) {
        let mut quotient = 0u128;
        let mut shifted = divisor.clone();
        shifted.shl(68);
        for _ in 0..=68 {
            quotient <<= 1;
            if self.at_least(&shifted.0) {
                self.sub(&shifted.0);
                quotient |= 1;
            }
            shifted.halve();
        }
        (quotient, self.bits() == 0)
    }

    fn halve(&mut self) {
        let mut carry = 0;
        for limb in self.0.iter_mut().rev() {
            let low = *limb & 1;
            *limb = *limb >> 1 | carry << 63;
            carry = low;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(value: LongDouble) -> String {
        let mut out = Vec::new();
        value.push(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn sum(a: &str, b: &str) -> String {
        print(LongDouble::parse(a.as_bytes()).unwrap() + LongDouble::parse(b.as_bytes()).unwrap())
    }

    #[test]
    fn numbers_have_an_order() {
        let number = |text: &str| LongDouble::parse(text.as_bytes()).expect("a number");
        let order = [
            "-inf", "-1e4932", "-1", "-0.5", "0", "1e-4931", "0.5", "3", "1e4932", "inf",
        ];
        for (index, low) in order.iter().enumerate() {
            for (other, high) in order.iter().enumerate() {
                let below = number(low).is_below(number(high));
                assert_eq!(below, index < other, "{low} {high}");
            }
        }
        assert!(!number("-0").is_below(number("0")) && !number("0").is_below(number("-0")));
        assert!(number("1e4932").is_below(LongDouble::MAX));
        assert!(!(LongDouble::MAX + LongDouble::MAX).is_finite());
    }

    #[test]
    fn sums_as_redis_prints_them() {
        assert_eq!(sum("10.5", "0.1"), "10.6");
        assert_eq!(sum("5.0e3", "2.0e2"), "5200");
        assert_eq!(sum("3", "-3"), "0");
        assert_eq!(sum("0", "-0.0"), "0");
        assert_eq!(sum("1", "1e-18"), "1");
        assert_eq!(sum("0", "18446744073709551615"), "18446744073709551615");
        assert_eq!(sum("0", "0x1p4"), "16");
        assert_eq!(sum("0.1", "0.2"), "0.3");
    }

    #[test]
    fn what_is_refused() {
        for text in [
            "", " 1", "1 ", "nan", "1e5000", "1e-5000", "0x", "e5", ".", "1e", "1..2", "--1", "1e+",
        ] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text}");
        }
        for text in [
            "1.",
            ".5",
            "+1",
            "inf",
            "-INFINITY",
            "1e4932",
            "0x.8",
            "0x1P-3",
        ] {
            assert!(LongDouble::parse(text.as_bytes()).is_some(), "{text}");
        }
        let infinite = LongDouble::parse(b"inf").unwrap();
        assert!((infinite + LongDouble::parse(b"-inf").unwrap()).is_nan());
        assert!(!(infinite + infinite).is_finite());
    }
}
