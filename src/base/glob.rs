//! Glob patterns as KEYS, SCAN MATCH, PSUBSCRIBE and CONFIG GET read them.
//!
//! Source: the documentation of KEYS, and the replies of redis-server 8.0 to random patterns
//! (`tests/wire/glob.rs`). What the documentation does not say:
//! - every element except `*` takes exactly one byte, so one remembered star is enough and the time is
//!   at most pattern × text;
//! - a class that is not closed ends with the pattern; `[` at the end matches nothing, `[^` any byte;
//! - bounds of a range are compared as signed bytes, in either order; in a class an escaped byte stays
//!   case-sensitive;
//! - a `\` at the very end stands for itself;
//! - an empty text matches the empty pattern only; here also `*`, as KEYS and SCAN take it (PSUBSCRIBE does not);
//! - a pattern with more than 1000 separated stars never gets past the thousandth.

/// Stars after which a pattern stops matching.
const STARS_MAX: u32 = 1000;

/// Whether the whole of `text` matches `pattern`; `nocase` folds ASCII letters.
pub fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty() || pattern == b"*";
    }
    let (mut rest, mut left) = (pattern, text);
    // Where to go on when an element fails: the pattern after the last star, and the text it last tried.
    let mut retry: Option<(&[u8], &[u8])> = None;
    let mut stars = 0;
    loop {
        if let [b'*', after @ ..] = rest {
            let mut after = after;
            while let [b'*', more @ ..] = after {
                after = more;
            }
            if after.is_empty() {
                return true;
            }
            if left.is_empty() {
                return false;
            }
            stars += 1;
            if stars > STARS_MAX {
                return false;
            }
            retry = Some((after, left));
            rest = after;
            continue;
        }
        match left.split_first() {
            None if rest.is_empty() => return true,
            None => return false,
            Some((&byte, more)) => {
                if let Some(after) = element(rest, byte, nocase) {
                    rest = after;
                    left = more;
                    continue;
                }
            }
        }
        // The last star takes one byte more.
        match retry {
            Some((after, [_, longer @ ..])) if !longer.is_empty() => {
                retry = Some((after, longer));
                rest = after;
                left = longer;
            }
            _ => return false,
        }
    }
}

/// Matches one element other than `*` against `byte`; the pattern after it, or None.
#[inline]
fn element(pattern: &[u8], byte: u8, nocase: bool) -> Option<&[u8]> {
    match pattern {
        [] => None,
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => class(rest, byte, nocase),
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => {
            same(*literal, byte, nocase).then_some(rest)
        }
    }
}

/// Matches a class, `pattern` standing just after its `[`; the pattern after its `]`, or None.
fn class(pattern: &[u8], byte: u8, nocase: bool) -> Option<&[u8]> {
    let (negated, mut rest) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, pattern),
    };
    let mut found = false;
    let rest = loop {
        match rest {
            [] => break rest,
            [b'\\', literal, after @ ..] => {
                found |= *literal == byte;
                rest = after;
            }
            [b']', after @ ..] => break after,
            [low, b'-', high, after @ ..] => {
                let (mut low, mut high) = (*low as i8, *high as i8);
                if low > high {
                    (low, high) = (high, low);
                }
                let mut byte = byte as i8;
                if nocase {
                    low = fold(low);
                    high = fold(high);
                    byte = fold(byte);
                }
                found |= (low..=high).contains(&byte);
                rest = after;
            }
            [literal, after @ ..] => {
                found |= same(*literal, byte, nocase);
                rest = after;
            }
        }
    };
    (found != negated).then_some(rest)
}

#[inline]
fn same(a: u8, b: u8, nocase: bool) -> bool {
    a == b || (nocase && a.eq_ignore_ascii_case(&b))
}

#[inline]
fn fold(byte: i8) -> i8 {
    (byte as u8).to_ascii_lowercase() as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[^e]llo", "hello", false),
            ("h[^e]llo", "hallo", true),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hbllo", true),
            ("h\\*llo", "h*llo", true),
            ("h\\*llo", "hello", false),
            ("a\\", "a\\", true),
            ("[abc", "b", true),
            ("a[", "ab", false),
            ("a[^", "ab", true),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*a*b*c", "xxaxxbxx", false),
            ("*?", "", false),
            ("**a**", "a", true),
            ("a*", "a", true),
            ("[\\]]", "]", true),
            ("[]", "a", false),
            ("[^]", "a", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes(), false),
                expected,
                "{pattern} {text}"
            );
        }
        assert!(matches(b"HeL[A-L]o", b"hello", true));
        assert!(!matches(b"[\\A]", b"a", true));
        // Signed: 0x80 is below 'a', so the range takes 'A' in.
        assert!(matches(b"[\x80-a]", b"A", false));
        assert!(!matches(b"[a-\xff]", b"\x80", false) || matches(b"[\x80-\xff]", b"\x80", false));
    }

    #[test]
    fn many_stars_do_not_explode() {
        let text = vec![b'a'; 10_000];
        let mut pattern = b"*a".repeat(500);
        pattern.push(b'b');
        assert!(!matches(&pattern, &text, false));
        assert!(matches(&b"*a".repeat(999), &text, false));
        assert!(!matches(&b"*a".repeat(1001), &text, false));
    }
}
