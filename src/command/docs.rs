//! COMMAND DOCS' arguments, derived from a row's syntax line.
//!
//! Notation: `name` an argument; `NAME` a token; `NAME name` a token with its argument; `[…]`
//! optional; `<a | b>` one of; `a [a ...]` repeated. An argument's type follows from its name, or is written behind a
//! hyphen (`value-int`, `increment-float`).

/// One argument as COMMAND DOCS shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Argument {
    /// Lower-case name.
    pub name: String,
    /// The type; [`Kind::OneOf`] and [`Kind::Block`] have arguments.
    pub kind: Kind,
    /// The token before it, or that it is.
    pub token: Option<String>,
    /// Within brackets.
    pub optional: bool,
    /// May be given several times.
    pub multiple: bool,
    /// Its token is repeated as well.
    pub multiple_token: bool,
    /// Parts.
    pub arguments: Vec<Argument>,
}

/// The type of an argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Any string.
    #[default]
    String,
    /// An integer.
    Integer,
    /// A floating-point number.
    Double,
    /// A key.
    Key,
    /// A glob pattern.
    Pattern,
    /// A point in time.
    UnixTime,
    /// A word alone.
    PureToken,
    /// One of its parts.
    OneOf,
    /// All of its parts in order.
    Block,
}

impl Kind {
    /// As COMMAND DOCS prints it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Double => "double",
            Kind::Key => "key",
            Kind::Pattern => "pattern",
            Kind::UnixTime => "unix-time",
            Kind::PureToken => "pure-token",
            Kind::OneOf => "oneof",
            Kind::Block => "block",
        }
    }

    fn of(name: &str) -> Kind {
        match name {
            "key" | "newkey" | "source" | "destination" | "destkey" | "sourcekey" | "key1"
            | "key2" => Kind::Key,
            "pattern" => Kind::Pattern,
            _ if name.ends_with("-float") => Kind::Double,
            _ if name.starts_with("unix-time") => Kind::UnixTime,
            _ if name.ends_with("-int") => Kind::Integer,
            "seconds"
            | "milliseconds"
            | "count"
            | "offset"
            | "increment"
            | "decrement"
            | "bit"
            | "index"
            | "index1"
            | "index2"
            | "start"
            | "end"
            | "cursor"
            | "numkeys"
            | "numfields"
            | "numreplicas"
            | "numlocal"
            | "timeout"
            | "client-id"
            | "maxage"
            | "len"
            | "min-match-len"
            | "db"
            | "destination-db"
            | "port"
            | "protover"
            | "samples"
            | "version"
            | "replicationid-offset"
            | "threshold"
            | "ttl"
            | "frequency" => Kind::Integer,
            _ => Kind::String,
        }
    }
}

/// Parses a syntax line. What it cannot make sense of is a plain argument.
pub fn arguments(syntax: &str) -> Vec<Argument> {
    let spaced = ["[", "]", "<", ">", "|"]
        .iter()
        .fold(syntax.to_string(), |s, p| s.replace(p, &format!(" {p} ")));
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    sequence(&words, &mut at)
}

/// A run of arguments up to a closing bracket, a bar or the end.
fn sequence(words: &[&str], at: &mut usize) -> Vec<Argument> {
    let mut list: Vec<Argument> = Vec::new();
    while let Some(&word) = words.get(*at) {
        match word {
            "]" | ">" | "|" => break,
            "..." => {
                *at += 1;
                if let Some(last) = list.last_mut() {
                    last.multiple = true;
                }
            }
            "[" | "<" => {
                *at += 1;
                let mut group = alternatives(words, at);
                // The closing bracket.
                *at += 1;
                if word == "[" {
                    // `key [key ...]`: the bracket repeats what stands before it.
                    if group.multiple && repeats(list.last(), &group) {
                        if let Some(last) = list.last_mut() {
                            last.multiple = true;
                            last.multiple_token = last.token.is_some();
                        }
                        continue;
                    }
                    group.optional = true;
                }
                list.push(group);
            }
            _ if is_token(word) => {
                *at += 1;
                list.push(token(word, words, at));
            }
            _ => {
                *at += 1;
                // The type may need more than the name says.
                let name = word.strip_suffix("-float").unwrap_or(word);
                let name = name.strip_suffix("-int").unwrap_or(name);
                list.push(Argument {
                    name: name.to_ascii_lowercase(),
                    kind: Kind::of(word),
                    ..Argument::default()
                });
            }
        }
    }
    list
}

/// A token alone, or with the argument behind it.
fn token(word: &str, words: &[&str], at: &mut usize) -> Argument {
    let mut argument = match words.get(*at) {
        Some(&"<") => {
            *at += 1;
            let mut group = alternatives(words, at);
            *at += 1;
            group.name = match word {
                "FIELDS" => "fields".to_string(),
                word => format!("{}-block", word.to_ascii_lowercase()),
            };
            group.multiple = false;
            group
        }
        Some(&next) if !matches!(next, "[" | "]" | ">" | "|" | "...") && !is_token(next) => {
            *at += 1;
            Argument {
                name: next.to_ascii_lowercase(),
                kind: Kind::of(next),
                ..Argument::default()
            }
        }
        _ => Argument {
            name: word.to_ascii_lowercase(),
            kind: Kind::PureToken,
            ..Argument::default()
        },
    };
    argument.token = Some(word.to_string());
    argument
}

/// `a | b | c` up to a closing bracket: one argument, a block, or one of several.
fn alternatives(words: &[&str], at: &mut usize) -> Argument {
    let mut options = vec![block(sequence(words, at))];
    while words.get(*at) == Some(&"|") {
        *at += 1;
        options.push(block(sequence(words, at)));
    }
    if options.len() == 1 {
        return options.remove(0);
    }
    Argument {
        name: choice_name(&options),
        kind: Kind::OneOf,
        arguments: options,
        ..Argument::default()
    }
}

fn block(mut list: Vec<Argument>) -> Argument {
    if list.len() == 1 {
        return list.remove(0);
    }
    let names: Vec<&str> = list.iter().map(|part| part.name.as_str()).collect();
    let name = match names.as_slice() {
        ["key" | "field", "value"] => "data".to_string(),
        ["start", "end", ..] | ["start", "end-unit-block"] => "range".to_string(),
        ["end", "unit"] => "end-unit-block".to_string(),
        ["count", "withvalues"] => "options".to_string(),
        ["overflow-block", "write-operation"] => "write".to_string(),
        _ => names.join("-"),
    };
    Argument {
        name,
        kind: Kind::Block,
        multiple: list.last().is_some_and(|last| last.multiple),
        arguments: list,
        ..Argument::default()
    }
}

/// The name of a choice: Redis's for the choices that several commands share, else its options'.
fn choice_name(options: &[Argument]) -> String {
    let first = options.first().and_then(|option| option.token.as_deref());
    match first {
        Some("NX" | "FNX") => "condition".to_string(),
        Some("EX") => "expiration".to_string(),
        Some("BYFLOAT") => "increment".to_string(),
        Some("IFEQ") => "condition".to_string(),
        Some("ASYNC") => "flush-type".to_string(),
        Some("AND" | "GET") => "operation".to_string(),
        Some("BYTE") => "unit".to_string(),
        Some("SET") => "write-operation".to_string(),
        _ => {
            let names: Vec<&str> = options.iter().map(|option| option.name.as_str()).collect();
            names.join("-or-")
        }
    }
}

/// Whether the bracketed group says the same as the run before it.
fn repeats(last: Option<&Argument>, group: &Argument) -> bool {
    last.is_some_and(|last| {
        last.name == group.name || group.arguments.iter().any(|part| part.name == last.name)
    })
}

fn is_token(word: &str) -> bool {
    word.len() > 1
        && word
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'-' || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_notation() {
        let set = arguments("key value [NX | XX] [GET] [EX seconds | PX milliseconds | KEEPTTL]");
        assert_eq!(set.len(), 5);
        assert_eq!((set[0].kind, set[0].name.as_str()), (Kind::Key, "key"));
        assert_eq!(
            (set[2].kind, set[2].optional, set[2].arguments.len()),
            (Kind::OneOf, true, 2)
        );
        assert_eq!(
            (set[3].kind, set[3].token.as_deref()),
            (Kind::PureToken, Some("GET"))
        );
        let expiration = &set[4].arguments;
        assert_eq!(
            (expiration[0].kind, expiration[0].token.as_deref()),
            (Kind::Integer, Some("EX"))
        );
        assert_eq!(expiration[2].kind, Kind::PureToken);
    }

    #[test]
    fn a_bracket_that_repeats_makes_multiple() {
        let del = arguments("key [key ...]");
        assert_eq!(del.len(), 1);
        assert!(del[0].multiple && !del[0].optional);
        let mset = arguments("<key value> [key value ...]");
        assert_eq!(
            (mset.len(), mset[0].kind, mset[0].multiple),
            (1, Kind::Block, true)
        );
    }
}
