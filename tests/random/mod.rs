//! Random commands from tables of templates: what the differential tests and the simulation draw from.
//!
//! A template is a command's words: `?x` perhaps x, `x*` x up to three times, `[a|b]` one of them. What a word then stands
//! for is the table's own: as a rule single small letters are keys, values and numbers, and the rest is literal.

use redoxide::base::prng::Prng;

/// One of the choices.
pub fn one_of<'a, T: ?Sized>(prng: &mut Prng, choices: &[&'a T]) -> &'a T {
    choices[prng.below(choices.len() as u64) as usize]
}

/// A template, each as often as its weight says.
pub fn draw<'t>(prng: &mut Prng, templates: &[(u64, &'t str)]) -> &'t str {
    let total = templates.iter().map(|(weight, _)| weight).sum();
    let mut left = prng.below(total);
    for (weight, template) in templates {
        match left.checked_sub(*weight) {
            None => return template,
            Some(rest) => left = rest,
        }
    }
    unreachable!("the weights' sum is above what was drawn")
}

/// The words of a template; `fill` says what one stands for.
pub fn expand(
    prng: &mut Prng,
    template: &str,
    fill: &mut dyn FnMut(&mut Prng, &str) -> Vec<u8>,
) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    for part in template.split(' ') {
        expand_word(prng, part, fill, &mut words);
    }
    words
}

fn expand_word(
    prng: &mut Prng,
    word: &str,
    fill: &mut dyn FnMut(&mut Prng, &str) -> Vec<u8>,
    out: &mut Vec<Vec<u8>>,
) {
    if let Some(optional) = word.strip_prefix('?') {
        if prng.below(2) == 0 {
            expand_word(prng, optional, fill, out);
        }
        return;
    }
    if let Some(repeated) = word.strip_suffix('*').filter(|word| !word.is_empty()) {
        for _ in 0..prng.below(4) {
            expand_word(prng, repeated, fill, out);
        }
        return;
    }
    if let Some(choices) = word
        .strip_prefix('[')
        .and_then(|word| word.strip_suffix(']'))
    {
        let choices: Vec<&str> = choices.split('|').collect();
        let choice = one_of(prng, &choices);
        return expand_word(prng, choice, fill, out);
    }
    out.push(fill(prng, word));
}
