//! COMMAND DOCS' arguments, derived from a row's syntax line.
//!
//! Notation: `name` an argument; `NAME` a token (so are words without letters); `NAME name` a token with its argument;
//! `NAME <…>` a token with several; `[…]` optional; `<a | b>` one of; `<a b>` a block; `a [a ...]` or `<…> ...` repeated.
//! Behind any of them may stand notes in braces: `=name` the name that COMMAND DOCS gives it, `:type` its type where
//! that does not follow from the word, `@7.0.0` the version since which it is there, `-7.0.0` since which it is deprecated,
//! `#2` its key specification where that does not follow from the order of keys.

/// One argument as COMMAND DOCS shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// How it is shown in a syntax line; of parts only.
    pub display: String,
    /// The type; [`Kind::OneOf`] and [`Kind::Block`] have arguments.
    pub kind: Kind,
    /// The token before it, or that it is.
    pub token: Option<String>,
    /// The version since which it is there, if the command is older.
    pub since: Option<String>,
    /// The version since which it is deprecated.
    pub deprecated_since: Option<String>,
    /// Within brackets.
    pub optional: bool,
    /// May be given several times.
    pub multiple: bool,
    /// Its token is repeated as well.
    pub multiple_token: bool,
    /// The key specification that finds it, if that does not follow from the order.
    pub key_spec: Option<i64>,
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
    const ALL: [Kind; 9] = [
        Kind::String,
        Kind::Integer,
        Kind::Double,
        Kind::Key,
        Kind::Pattern,
        Kind::UnixTime,
        Kind::PureToken,
        Kind::OneOf,
        Kind::Block,
    ];

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

    fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The type of most arguments that are called so.
    fn of(word: &str) -> Kind {
        match word {
            "key" | "newkey" | "source" | "destination" | "destkey" | "sourcekey" | "key1"
            | "key2" => Kind::Key,
            "pattern" => Kind::Pattern,
            _ if word.starts_with("unix-time") => Kind::UnixTime,
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
    let mut line = Line {
        words: words(syntax),
        at: 0,
    };
    line.sequence()
}

/// Punctuation, words and notes.
fn words(syntax: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = syntax.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '[' | ']' | '<' | '>' | '|' => 1,
            '{' => rest.find('}').map_or(rest.len(), |end| end + 1),
            _ => rest
                .find([' ', '[', ']', '<', '>', '|', '{'])
                .unwrap_or(rest.len()),
        };
        let (word, behind) = rest.split_at(end);
        words.push(word);
        rest = behind.trim_start();
    }
    words
}

impl Argument {
    /// Whether a syntax line shows both alike.
    fn is_shown_as(&self, other: &Argument) -> bool {
        self.display == other.display
            && (!self.display.is_empty() || self.arguments == other.arguments)
    }
}

/// A line that is being read.
struct Line<'a> {
    words: Vec<&'a str>,
    at: usize,
}

impl<'a> Line<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).copied()
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        self.at += usize::from(found);
        found
    }

    /// A run of arguments up to a closing bracket, a bar or the end.
    fn sequence(&mut self) -> Vec<Argument> {
        let mut list: Vec<Argument> = Vec::new();
        while let Some(word) = self.peek() {
            if matches!(word, "]" | ">" | "|") {
                break;
            }
            self.at += 1;
            let argument = match word {
                "..." => {
                    if let Some(last) = list.last_mut() {
                        last.multiple = true;
                    }
                    continue;
                }
                "<" => self.group(">"),
                "[" => {
                    let mut group = self.group("]");
                    // `key [key ...]`: the bracket repeats what stands before it.
                    if group.multiple
                        && let Some(last) = list.last_mut()
                        && last.is_shown_as(&group)
                    {
                        last.multiple = true;
                        last.multiple_token = group.token.is_some();
                        continue;
                    }
                    group.optional = true;
                    group
                }
                _ if is_token(word) => self.token(word),
                _ => plain(word),
            };
            list.push(self.noted(argument));
        }
        list
    }

    /// What stands in brackets, the opening one taken.
    fn group(&mut self, closing: &str) -> Argument {
        let mut options = vec![block(self.sequence())];
        while self.take("|") {
            options.push(block(self.sequence()));
        }
        self.take(closing);
        if options.len() == 1 {
            return options.remove(0);
        }
        let names: Vec<&str> = options.iter().map(|option| option.name.as_str()).collect();
        Argument {
            name: names.join("-or-"),
            kind: Kind::OneOf,
            arguments: options,
            ..Argument::default()
        }
    }

    /// A token alone, or with what stands behind it.
    fn token(&mut self, word: &str) -> Argument {
        let mut argument = match self.peek() {
            Some("<") => {
                self.at += 1;
                self.group(">")
            }
            Some(next) if !is_token(next) && !"[]>|{...".contains(&next[..1]) => {
                self.at += 1;
                plain(next)
            }
            Some(_) | None => Argument {
                name: word.to_ascii_lowercase(),
                display: word.to_ascii_lowercase(),
                kind: Kind::PureToken,
                ..Argument::default()
            },
        };
        argument.token = Some(match word {
            "\"\"" => String::new(),
            word => word.to_string(),
        });
        argument
    }

    /// Takes the notes behind an argument.
    fn noted(&mut self, mut argument: Argument) -> Argument {
        let notes = self.peek().and_then(|word| word.strip_prefix('{'));
        let Some(notes) = notes.map(|notes| notes.trim_end_matches('}')) else {
            return argument;
        };
        self.at += 1;
        for note in notes.split_whitespace() {
            let (mark, text) = note.split_at(1);
            match mark {
                "=" => argument.name = text.to_string(),
                ":" => argument.kind = Kind::named(text).unwrap_or_default(),
                "@" => argument.since = Some(text.to_string()),
                "-" => argument.deprecated_since = Some(text.to_string()),
                "#" => argument.key_spec = text.parse().ok(),
                _ => {}
            }
        }
        if argument.kind == Kind::PureToken {
            argument.display.clone_from(&argument.name);
        }
        argument
    }
}

fn plain(word: &str) -> Argument {
    Argument {
        name: word.to_ascii_lowercase(),
        display: word.to_ascii_lowercase(),
        kind: Kind::of(word),
        ..Argument::default()
    }
}

fn block(mut list: Vec<Argument>) -> Argument {
    if list.len() == 1 {
        return list.remove(0);
    }
    let names: Vec<&str> = list.iter().map(|part| part.name.as_str()).collect();
    Argument {
        name: names.join("-"),
        kind: Kind::Block,
        arguments: list,
        ..Argument::default()
    }
}

fn is_token(word: &str) -> bool {
    let mut letters = word.bytes().filter(u8::is_ascii_alphabetic);
    letters.all(|letter| letter.is_ascii_uppercase()) && word != "..."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_notation() {
        let set = arguments(
            "key value [NX | XX]{=condition @2.6.12} [GET] [EX seconds | PX milliseconds{@2.6.12} | KEEPTTL]",
        );
        assert_eq!(set.len(), 5);
        assert_eq!((set[0].kind, set[0].name.as_str()), (Kind::Key, "key"));
        assert_eq!(
            (set[2].kind, set[2].optional, set[2].arguments.len()),
            (Kind::OneOf, true, 2)
        );
        assert_eq!(
            (set[2].name.as_str(), set[2].since.as_deref()),
            ("condition", Some("2.6.12"))
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
        assert_eq!(expiration[1].since.as_deref(), Some("2.6.12"));
        assert_eq!(expiration[2].kind, Kind::PureToken);
    }

    #[test]
    fn what_is_repeated_is_multiple() {
        let del = arguments("key [key ...]");
        assert_eq!(del.len(), 1);
        assert!(del[0].multiple && !del[0].optional);
        let mset = arguments("<key value>{=data} ...");
        assert_eq!(
            (mset.len(), mset[0].kind, mset[0].multiple),
            (1, Kind::Block, true)
        );
        let get =
            arguments("[GET pattern{=get-pattern} [GET pattern ...]] [KEYS key{=keys} [key ...]]");
        assert_eq!(get.len(), 2);
        assert!(get[0].multiple && get[0].multiple_token && get[0].optional);
        assert!(get[1].multiple && !get[1].multiple_token && get[1].optional);
        assert_eq!(
            (get[1].name.as_str(), get[1].display.as_str()),
            ("keys", "key")
        );
    }

    #[test]
    fn tokens_take_blocks_and_need_no_letters() {
        let range = arguments("[LIMIT <offset count>{=limit}] <= | ~>{=operator} <\"\"{=empty}>");
        assert_eq!(range[0].token.as_deref(), Some("LIMIT"));
        assert_eq!((range[0].kind, range[0].optional), (Kind::Block, true));
        assert_eq!(range[1].arguments[1].token.as_deref(), Some("~"));
        assert_eq!(
            (range[2].kind, range[2].token.as_deref()),
            (Kind::PureToken, Some(""))
        );
    }
}
