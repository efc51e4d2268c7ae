//! Random elements of a collection: what SRANDMEMBER, HRANDFIELD and ZRANDMEMBER share.

use std::collections::HashSet;

use super::{Args, CommandError};
use crate::base::num;
use crate::base::prng::Prng;
use crate::types::set::Sample;

/// Elements are drawn while fewer than one in so many are wanted; else all are walked.
const DRAWN_MOST: usize = 3;

/// A collection that elements are drawn from.
pub(super) trait Source {
    /// An element for reading.
    type Item: Copy;

    /// Elements.
    fn len(&self) -> usize;

    /// Whether an element is drawn in O(1): else it is better to list them first.
    fn is_large(&self) -> bool;

    /// An element drawn uniformly.
    fn draw(&self, prng: &mut Prng) -> Option<Self::Item>;

    /// Where the element is kept while the collection is large: no other has the same.
    fn address(item: Self::Item) -> usize;

    /// Visits all elements.
    fn for_each(&self, each: impl FnMut(Self::Item));
}

/// The count of SRANDMEMBER and its like: any but the least integer. Errors: not an integer, out of range.
pub(super) fn count(args: &mut Args<'_>) -> Result<i64, CommandError> {
    match num::parse_i64(args.bytes()?).ok_or(CommandError::NotInteger)? {
        i64::MIN => Err(CommandError::text(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        )),
        count => Ok(count),
    }
}

/// How many elements [`each`] gives for a count: none of an empty collection (a hash all of whose fields are hidden).
pub(super) fn len_of(source: &impl Source, count: i64) -> usize {
    match usize::try_from(count) {
        Ok(count) => count.min(source.len()),
        Err(_) if source.len() == 0 => 0,
        Err(_) => count.unsigned_abs() as usize,
    }
}

/// Gives `count` elements that differ, at most all, or with a negative count so many that may repeat, until `give` says
/// that it is enough.
pub(super) fn each<S: Source>(
    source: &S,
    count: i64,
    prng: &mut Prng,
    mut give: impl FnMut(S::Item) -> bool,
) {
    let (len, wanted) = (source.len(), len_of(source, count));
    if count < 0 && source.is_large() {
        let mut drawn = (0..wanted).map_while(|_| source.draw(prng));
        let _ = drawn.all(give);
    } else if count < 0 {
        let mut all = Vec::with_capacity(len);
        source.for_each(|item| all.push(item));
        let _ = (0..wanted).all(|_| give(all[prng.below(all.len() as u64) as usize]));
    } else if source.is_large() && wanted.saturating_mul(DRAWN_MOST) < len {
        let mut given = HashSet::with_capacity(wanted);
        while given.len() < wanted {
            match source.draw(prng) {
                Some(item) if given.insert(S::address(item)) => {
                    if !give(item) {
                        return;
                    }
                }
                Some(_) => {}
                None => return,
            }
        }
    } else {
        let mut sample = Sample::new(wanted, len);
        source.for_each(|item| {
            if sample.takes(prng) {
                give(item);
            }
        });
    }
}
