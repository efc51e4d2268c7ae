//! The decimal digits of a double by Grisu2 (Florian Loitsch, "Printing floating-point numbers quickly and
//! accurately with integers", 2010), with the table of every eighth power of ten.
//!
//! The digits always read back as the same double. In some 0.1% of cases they are not the shortest that do
//! (`225.23051039999999` for `225.2305104`); Redis prints these, so do we.

use std::sync::LazyLock;

use crate::base::long_double::LongDouble;

/// `frac × 2^exp`.
#[derive(Clone, Copy)]
struct Fp {
    frac: u64,
    exp: i32,
}

/// Powers of ten from 10^FIRST in steps of STEP, with 64 significant bits.
static POWERS: LazyLock<Vec<Fp>> = LazyLock::new(|| {
    let power = |index: i32| {
        let text = format!("1e{}", FIRST + index * STEP);
        match LongDouble::parse(text.as_bytes()) {
            Some(LongDouble::Finite {
                mantissa, exponent, ..
            }) => Fp {
                frac: mantissa,
                exp: exponent,
            },
            _ => unreachable!("a power of ten within the range of a long double"),
        }
    };
    (0..COUNT).map(power).collect()
});

const FIRST: i32 = -348;
const STEP: i32 = 8;
const COUNT: i32 = 87;
/// Where the scaled number's exponent must lie, so that its whole part fits 32 bits.
const EXPONENT: std::ops::RangeInclusive<i32> = -60..=-32;

/// The digits of a positive finite double and the power of ten of the last: `digits × 10^power`.
/// At most 18 digits go into `digits`; the count is returned first.
pub fn digits(value: f64, digits: &mut [u8; 20]) -> (usize, i32) {
    debug_assert!(value > 0.0 && value.is_finite());
    let bits = value.to_bits();
    let (fraction, biased) = (bits & ((1 << 52) - 1), (bits >> 52) as i32 & 0x7ff);
    let w = if biased == 0 {
        Fp {
            frac: fraction,
            exp: -1074,
        }
    } else {
        Fp {
            frac: fraction | 1 << 52,
            exp: biased - 1075,
        }
    };
    // Half way to the neighbours; the lower one is nearer below a power of two.
    let upper = normalized(Fp {
        frac: (w.frac << 1) + 1,
        exp: w.exp - 1,
    });
    let shift = if w.frac == 1 << 52 { 2 } else { 1 };
    let lower = Fp {
        frac: ((w.frac << shift) - 1) << (w.exp - shift - upper.exp),
        exp: upper.exp,
    };
    let (power, power_of_ten) = cached_power(upper.exp);
    let w = multiply(normalized(w), power);
    let mut upper = multiply(upper, power);
    let mut lower = multiply(lower, power);
    // Stay inside the interval whatever the products were rounded by.
    upper.frac -= 1;
    lower.frac += 1;
    generate(w, upper, lower, -power_of_ten, digits)
}

fn normalized(value: Fp) -> Fp {
    let shift = value.frac.leading_zeros();
    Fp {
        frac: value.frac << shift,
        exp: value.exp - shift as i32,
    }
}

/// The product's upper 64 bits, rounded.
fn multiply(a: Fp, b: Fp) -> Fp {
    let wide = u128::from(a.frac) * u128::from(b.frac) + (1 << 63);
    Fp {
        frac: (wide >> 64) as u64,
        exp: a.exp + b.exp + 64,
    }
}

/// A power that scales a number with this exponent into range, and the ten's exponent.
fn cached_power(exp: i32) -> (Fp, i32) {
    const LOG10_2: f64 = 0.301_029_995_663_981_14;
    let estimate = (f64::from(-(exp + COUNT)) * LOG10_2) as i32;
    let mut index = (estimate - FIRST) / STEP;
    loop {
        let power = POWERS[index.clamp(0, COUNT - 1) as usize];
        let scaled = exp + power.exp + 64;
        if scaled < *EXPONENT.start() {
            index += 1;
        } else if scaled > *EXPONENT.end() {
            index -= 1;
        } else {
            return (power, FIRST + index * STEP);
        }
    }
}

/// Generates digits of `upper` until what is left lies within the interval.
fn generate(w: Fp, upper: Fp, lower: Fp, mut power: i32, digits: &mut [u8; 20]) -> (usize, i32) {
    let distance = upper.frac - w.frac;
    let mut delta = upper.frac - lower.frac;
    let shift = upper.exp.unsigned_abs();
    let one = 1u64 << shift;
    let mut whole = upper.frac >> shift;
    let mut fraction = upper.frac & (one - 1);
    let mut count = 0;
    let mut push = |count: &mut usize, digit: u64| {
        if digit > 0 || *count > 0 {
            digits[*count] = b'0' + digit as u8;
            *count += 1;
        }
    };
    let mut left = 10;
    let mut unit = 1_000_000_000u64;
    while left > 0 {
        push(&mut count, whole / unit);
        whole %= unit;
        left -= 1;
        let rest = (whole << shift) + fraction;
        if rest <= delta {
            power += left;
            round_last(&mut digits[..count], delta, rest, unit << shift, distance);
            return (count, power);
        }
        unit /= 10;
    }
    let mut scale = 1u64;
    loop {
        fraction *= 10;
        delta = delta.wrapping_mul(10);
        scale = scale.wrapping_mul(10);
        left -= 1;
        push(&mut count, fraction >> shift);
        fraction &= one - 1;
        if fraction < delta {
            power += left;
            round_last(
                &mut digits[..count],
                delta,
                fraction,
                one,
                distance.wrapping_mul(scale),
            );
            return (count, power);
        }
    }
}

/// Lowers the last digit while that brings the number nearer to the exact value.
fn round_last(digits: &mut [u8], delta: u64, mut rest: u64, unit: u64, distance: u64) {
    let Some(last) = digits.last_mut() else {
        return;
    };
    while rest < distance
        && delta - rest >= unit
        && (rest + unit < distance || distance - rest > rest + unit - distance)
    {
        *last -= 1;
        rest += unit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    #[test]
    fn digits_read_back() {
        let mut prng = Prng::new(5);
        let mut longer = 0;
        for _ in 0..100_000 {
            let value = f64::from_bits(prng.next_u64() >> 1);
            if !value.is_finite() || value == 0.0 {
                continue;
            }
            let mut buffer = [0; 20];
            let (count, power) = digits(value, &mut buffer);
            let text = format!("{}e{power}", std::str::from_utf8(&buffer[..count]).unwrap());
            assert_eq!(text.parse::<f64>(), Ok(value), "{text}");
            let shortest = format!("{value:e}")
                .split('e')
                .next()
                .unwrap()
                .replace('.', "")
                .len();
            assert!(count >= shortest);
            longer += usize::from(count > shortest);
        }
        assert!(longer < 1000, "{longer} of 100000 are longer than need be");
    }
}
