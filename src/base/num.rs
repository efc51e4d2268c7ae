//! Numbers as text, read and written exactly as Redis does.

use crate::base::{grisu, long_double};

/// Reads a signed decimal: no white space, no `+`, no leading zero, no `-0`.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let magnitude = parse_u64(digits)?;
    if negative {
        if magnitude == 0 {
            return None;
        }
        0i64.checked_sub_unsigned(magnitude)
    } else {
        i64::try_from(magnitude).ok()
    }
}

/// Reads an unsigned decimal: no white space, no sign, no leading zero.
#[inline]
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    match text {
        [b'0'] => Some(0),
        [b'1'..=b'9', ..] if text.len() <= 20 => {
            let mut value = 0u64;
            for &byte in text {
                let digit = byte.wrapping_sub(b'0');
                if digit > 9 {
                    return None;
                }
                value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
            }
            Some(value)
        }
        _ => None,
    }
}

/// Reads a double: decimal or `0x` hexadecimal with optional sign, fraction and exponent, or `inf`/`infinity` in any case.
/// Refused: white space, `nan`, what overflows to infinity, and what rounds to zero.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let unsigned = match text {
        [b'+' | b'-', rest @ ..] => rest,
        rest => rest,
    };
    let infinite =
        unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity");
    if let [b'0', b'x' | b'X', hex @ ..] = unsigned {
        return parse_hex(text.first() == Some(&b'-'), hex);
    }
    if !infinite && !matches!(unsigned, [b'0'..=b'9' | b'.', ..]) {
        return None;
    }
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    if value == 0.0 {
        // Refused when rounded to zero.
        let digits = unsigned
            .split(|byte| byte.eq_ignore_ascii_case(&b'e'))
            .next();
        let zero =
            digits.is_none_or(|digits| digits.iter().all(|byte| matches!(byte, b'0' | b'.')));
        return zero.then_some(value);
    }
    (infinite || value.is_finite()).then_some(value)
}

/// Reads a hexadecimal double after its `0x`.
fn parse_hex(negative: bool, text: &[u8]) -> Option<f64> {
    let (digits, mut exponent) = long_double::hex_parts(text)?;
    let mut value = digits as f64;
    while exponent != 0 && value != 0.0 && value.is_finite() {
        let step = exponent.clamp(-1000, 1000);
        value *= f64::powi(2.0, step);
        exponent -= step;
    }
    let value = if negative { -value } else { value };
    (value.is_finite() && (value != 0.0 || digits == 0)).then_some(value)
}

/// Appends a signed decimal.
#[inline]
pub fn push_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends an unsigned decimal.
#[inline]
pub fn push_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Whole doubles up to this are written as integers, every digit exact.
const INTEGER_MAX: f64 = (1u64 << 62) as f64;

/// Appends a double as replies carry it: few digits that read back ([`grisu`]), plain up to a length, then with
/// an exponent (`1e+21`); `inf`, `-inf`, `nan`.
pub fn push_f64(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(b"nan");
        return;
    }
    if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"inf" } else { b"-inf" });
        return;
    }
    if value.abs() <= INTEGER_MAX && value.fract() == 0.0 {
        push_i64(out, value as i64);
        return;
    }
    push_digits(out, value);
}

/// As [`push_f64`], whole numbers too by the few digits that read back (`1e+16`), and zero with its sign: how scores are
/// digested.
pub fn push_f64_by_digits(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() && value != 0.0 {
        push_digits(out, value);
    } else {
        if value == 0.0 && value.is_sign_negative() {
            out.push(b'-');
        }
        push_f64(out, value);
    }
}

/// Appends a double as C prints it by `%.17g`: 17 digits without trailing zeros, an exponent of two digits at least.
/// Infinite: as [`push_f64`].
pub fn push_f64_17(out: &mut Vec<u8>, value: f64) {
    if !value.is_finite() {
        return push_f64(out, value);
    }
    let text = format!("{:.16e}", value.abs());
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_digit).collect();
    let kept = digits.iter().rposition(|&digit| digit != b'0').unwrap_or(0) + 1;
    let digits = &digits[..kept];
    if value.is_sign_negative() {
        out.push(b'-');
    }
    match exponent {
        -4..=-1 => {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + exponent.unsigned_abs() as usize - 1, b'0');
            out.extend_from_slice(digits);
        }
        0..=16 => {
            let whole = exponent as usize + 1;
            let (before, after) = digits.split_at(whole.min(kept));
            out.extend_from_slice(before);
            out.resize(out.len() + whole - before.len(), b'0');
            push_fraction(out, after);
        }
        _ => {
            let (first, after) = digits.split_at(1);
            out.extend_from_slice(first);
            push_fraction(out, after);
            out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
            if exponent.abs() < 10 {
                out.push(b'0');
            }
            push_i64(out, i64::from(exponent.abs()));
        }
    }
}

fn push_fraction(out: &mut Vec<u8>, digits: &[u8]) {
    if !digits.is_empty() {
        out.push(b'.');
        out.extend_from_slice(digits);
    }
}

/// Appends a number that is neither zero nor infinite by the digits of [`grisu`].
fn push_digits(out: &mut Vec<u8>, value: f64) {
    if value < 0.0 {
        out.push(b'-');
    }
    let mut buffer = [0; 20];
    let (count, last) = grisu::digits(value.abs(), &mut buffer);
    let digits = buffer.get(..count).unwrap_or_default();
    push_decimal(out, digits, last);
}

/// Writes `digits × 10^last`.
fn push_decimal(out: &mut Vec<u8>, digits: &[u8], last: i32) {
    let exponent = last + digits.len() as i32 - 1;
    if last >= 0 && exponent.abs() < digits.len() as i32 + 7 {
        out.extend_from_slice(digits);
        out.resize(out.len() + last as usize, b'0');
    } else if last < 0 && (last > -7 || exponent.abs() < 4) {
        let before = digits.len() as i32 + last;
        if before <= 0 {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + before.unsigned_abs() as usize, b'0');
            out.extend_from_slice(digits);
        } else {
            let (whole, fraction) = digits.split_at(before as usize);
            out.extend_from_slice(whole);
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
    } else {
        let (first, fraction) = digits.split_at(1);
        out.extend_from_slice(first);
        push_fraction(out, fraction);
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        push_i64(out, i64::from(exponent.abs()));
    }
}

/// Reads an amount of memory: digits and an optional unit `b k kb m mb g gb` in any case
/// (`k` is 1000, `kb` is 1024, and so on).
pub fn parse_memory(text: &[u8]) -> Option<i64> {
    let unit = text
        .iter()
        .position(|byte| !byte.is_ascii_digit() && *byte != b'-')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let factor: i64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1024,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let (negative, digits) = match number {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    let mut value = 0i64;
    for &byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(i64::from(byte - b'0'))?;
    }
    value.checked_mul(if negative { -factor } else { factor })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_by_digits() {
        let text = |push: fn(&mut Vec<u8>, f64), value: f64| {
            let mut out = Vec::new();
            push(&mut out, value);
            String::from_utf8(out).unwrap()
        };
        // What C's printf gives for %.17g.
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.1, "1.1000000000000001"),
            (0.1, "0.10000000000000001"),
            (1e-4, "0.0001"),
            (1e-7, "9.9999999999999995e-08"),
            (100.0, "100"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
            (-2.5, "-2.5"),
            (5e-324, "4.9406564584124654e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(text(push_f64_17, value), expected);
        }
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1e15, "1e+15"),
            (1e16, "1e+16"),
            (60_174_605_592_790_272.0, "60174605592790270"),
            (1.5, "1.5"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(text(push_f64_by_digits, value), expected);
        }
    }

    #[test]
    fn integers() {
        for text in [
            "0",
            "1",
            "-1",
            "9223372036854775807",
            "-9223372036854775808",
            "10",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), text.parse().ok(), "{text}");
        }
        for text in [
            "",
            "-",
            "-0",
            "+1",
            "01",
            " 1",
            "1 ",
            "9223372036854775808",
            "-9223372036854775809",
            "1a",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
    }

    #[test]
    fn doubles() {
        let print = |value: f64| {
            let mut out = Vec::new();
            push_f64(&mut out, value);
            String::from_utf8(out).unwrap()
        };
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (1.5, "1.5"),
            (0.1, "0.1"),
            (2.71825, "2.71825"),
            (1e20, "1e+20"),
            (1e-7, "1e-7"),
            (f64::INFINITY, "inf"),
            (17179869184.0, "17179869184"),
        ] {
            assert_eq!(print(value), text);
        }
        assert_eq!(parse_f64(b"1e3"), Some(1000.0));
        assert_eq!(parse_f64(b"-Inf"), Some(f64::NEG_INFINITY));
        assert_eq!(parse_f64(b"nan"), None);
        assert_eq!(parse_f64(b" 1"), None);
        assert_eq!(parse_f64(b""), None);
        assert_eq!(parse_f64(b"1e400"), None);
    }

    #[test]
    fn memory() {
        assert_eq!(parse_memory(b"1gb"), Some(1 << 30));
        assert_eq!(parse_memory(b"2K"), Some(2000));
        assert_eq!(parse_memory(b"100mb"), Some(100 << 20));
        assert_eq!(parse_memory(b"1tb"), None);
        assert_eq!(parse_memory(b""), None);
        assert_eq!(parse_memory(b"kb"), None);
    }
}
