//! Start-up: the configuration file, standard input and the command line.
//!
//! As in Redis the command line is turned into lines appended to the file, so that every error
//! carries a line number and the last line that names a directive wins (`save` adds up).
//! Nothing here opens a file: [`Files`] does.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::table::{Config, Effect, Id, MULTI_ARG, find};
use super::value::Origin;
use crate::base::quote::{push_quoted, split_args};

/// Includes inside includes: deeper is taken for a loop.
const INCLUDE_DEPTH_MAX: usize = 64;

/// What loading needs of the outside.
pub trait Files {
    /// The bytes of a file.
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>>;
    /// All of standard input.
    fn read_stdin(&mut self) -> io::Result<Vec<u8>>;
    /// The paths that a pattern with `*`, `?` or `[` matches, sorted.
    fn expand(&mut self, pattern: &Path) -> Vec<PathBuf>;
    /// Makes `path` the working directory.
    fn change_dir(&mut self, path: &Path) -> io::Result<()>;
    /// The absolute path of the working directory.
    fn current_dir(&mut self) -> PathBuf;
    /// Opens `path` for appending, creating it, and closes it again.
    fn try_append(&mut self, path: &Path) -> io::Result<()>;
}

/// A line of configuration, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Counted from 1, command line after the file.
    pub number: usize,
    /// The line without surrounding blanks.
    pub text: Vec<u8>,
}

/// A `rename-command` line. Whether the names exist is checked by whoever owns the command table,
/// with [`LoadError::at`] for the error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    /// The command's name.
    pub from: Vec<u8>,
    /// Its new name; empty disables the command.
    pub to: Vec<u8>,
    /// Where it stands.
    pub line: Line,
}

/// Why the configuration cannot be used. `Display` is what Redis prints to standard error.
#[derive(Debug)]
pub enum LoadError {
    /// A line, or the whole when there is none, is wrong.
    Invalid {
        /// The line.
        line: Option<Line>,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be read. Redis logs this one as a warning instead.
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

impl LoadError {
    /// An error at a line.
    pub fn at(line: Line, reason: impl Into<String>) -> LoadError {
        LoadError::Invalid {
            line: Some(line),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Invalid { line, reason } => {
                let version = super::REDIS_VERSION;
                writeln!(f, "\n*** FATAL CONFIG FILE ERROR (Redis {version}) ***")?;
                if let Some(line) = line {
                    writeln!(f, "Reading the configuration file, at line {}", line.number)?;
                    writeln!(f, ">>> '{}'", String::from_utf8_lossy(&line.text))?;
                }
                f.write_str(reason)
            }
            LoadError::Open { path, reason } => {
                write!(
                    f,
                    "Fatal error, can't open config file '{}': {reason}",
                    path.display()
                )
            }
        }
    }
}

impl std::error::Error for LoadError {}

/// The text of a system error without Rust's `(os error n)`.
fn system_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

impl Config {
    /// The configuration from the arguments of the program, its own name not included: an optional
    /// file name first, `-` for standard input, `--name value…`.
    ///
    /// A directive that is not implemented and unsafe to ignore is an error when it is set to
    /// anything but its default.
    pub fn load(args: &[OsString], files: &mut dyn Files) -> Result<Config, LoadError> {
        let mut config = Config::default();
        config.dir.0 = files.current_dir().into_os_string().into_vec();
        let command_line = CommandLine::parse(args);
        let mut text = Vec::new();
        if let Some(path) = &command_line.file {
            config.file = Some(files.current_dir().join(path));
            text = read(files, path)?;
        }
        if command_line.stdin {
            let input = files.read_stdin().map_err(|error| LoadError::Open {
                path: PathBuf::from("-"),
                reason: system_text(&error),
            })?;
            text.extend_from_slice(&input);
        }
        text.push(b'\n');
        text.extend_from_slice(&command_line.lines);
        let mut loader = Loader {
            config,
            files,
            seen: HashSet::new(),
            depth: 0,
        };
        loader.text(&text)?;
        let Loader { config, files, .. } = loader;
        if let Some(path) = config.logfile.get().map(|_| config.logfile.path()) {
            files.try_append(path).map_err(|error| LoadError::Invalid {
                line: None,
                reason: format!("Can't open the log file: {}", system_text(&error)),
            })?;
        }
        Ok(config)
    }

    /// The configuration that a text alone gives.
    pub fn parse(text: &[u8], files: &mut dyn Files) -> Result<Config, LoadError> {
        let mut loader = Loader {
            config: Config::default(),
            files,
            seen: HashSet::new(),
            depth: 0,
        };
        loader.text(text)?;
        Ok(loader.config)
    }
}

fn read(files: &mut dyn Files, path: &Path) -> Result<Vec<u8>, LoadError> {
    files.read(path).map_err(|error| LoadError::Open {
        path: path.to_owned(),
        reason: system_text(&error),
    })
}

/// The program's arguments as configuration lines.
#[derive(Default)]
struct CommandLine {
    file: Option<PathBuf>,
    stdin: bool,
    lines: Vec<u8>,
}

impl CommandLine {
    fn parse(args: &[OsString]) -> CommandLine {
        let mut parsed = CommandLine::default();
        let mut rest = args;
        if let [first, others @ ..] = args
            && !first.as_bytes().starts_with(b"-")
        {
            parsed.file = Some(PathBuf::from(first));
            rest = others;
        }
        // An option that stands without a value takes the next argument as its value, even one
        // that begins with `--`.
        let mut wants_value = false;
        for (index, arg) in rest.iter().enumerate() {
            let bytes = arg.as_bytes();
            let next = rest.get(index + 1).map(|next| next.as_bytes());
            let edge = index == 0 || next.is_none();
            if !wants_value && bytes == b"-" && edge {
                parsed.stdin = true;
                continue;
            }
            let name = bytes.strip_prefix(b"--").filter(|_| !wants_value);
            let Some(name) = name else {
                push_quoted(&mut parsed.lines, bytes);
                parsed.lines.push(b' ');
                wants_value = false;
                continue;
            };
            if !parsed.lines.is_empty() {
                parsed.lines.push(b'\n');
            }
            parsed.lines.extend_from_slice(name);
            parsed.lines.push(b' ');
            wants_value = split_args(bytes).is_some_and(|words| words.len() == 1);
            let empty_save = name.eq_ignore_ascii_case(b"save")
                && next.is_none_or(|next| next.starts_with(b"--"));
            if empty_save {
                parsed.lines.extend_from_slice(b"\"\"");
                wants_value = false;
            }
        }
        parsed
    }
}

struct Loader<'a> {
    config: Config,
    files: &'a mut dyn Files,
    /// Directives met so far.
    seen: HashSet<Id>,
    depth: usize,
}

impl Loader<'_> {
    fn text(&mut self, text: &[u8]) -> Result<(), LoadError> {
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = trim(line);
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            self.line(line).map_err(|problem| match problem {
                Problem::Here(reason) => LoadError::at(
                    Line {
                        number: index + 1,
                        text: line.to_vec(),
                    },
                    reason,
                ),
                Problem::Elsewhere(error) => error,
            })?;
            // The line number is known only here.
            if let Some(rename) = self.config.renames.last_mut()
                && rename.line.number == 0
            {
                rename.line = Line {
                    number: index + 1,
                    text: line.to_vec(),
                };
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Problem> {
        let words = split_args(line).ok_or("Unbalanced quotes in configuration line")?;
        let Some((name, args)) = words.split_first() else {
            return Ok(());
        };
        if let Some(row) = find(name) {
            let split;
            let mut args = args;
            if row.flags & MULTI_ARG == 0 && args.len() != 1 {
                return Err("wrong number of arguments".into());
            }
            if row.flags & MULTI_ARG != 0
                && let [only] = args
                && !only.is_empty()
            {
                split = split_args(only).ok_or("Unbalanced quotes in configuration line")?;
                args = &split;
            }
            let first = self.seen.insert(row.id);
            (row.get_mut)(&mut self.config).assign(row, args, Origin::File { first })?;
            if row.id == Id::dir {
                let changed = self.files.change_dir(self.config.dir.path());
                changed.map_err(|error| system_text(&error))?;
                let dir = self.files.current_dir();
                self.config.dir.0 = dir.into_os_string().into_vec();
            }
            return match row.effect {
                Effect::Refused(why) if !self.config.is_default(row.id) => {
                    Err(format!("redoxide refuses this directive: {why}").into())
                }
                Effect::Refused(_) | Effect::Works | Effect::StoredOnly => Ok(()),
            };
        }
        match (name.to_ascii_lowercase().as_slice(), args) {
            (b"include", [pattern]) => {
                self.include(Path::new(std::ffi::OsStr::from_bytes(pattern)))
            }
            (b"rename-command", [from, to]) => {
                let line = Line {
                    number: 0,
                    text: Vec::new(),
                };
                self.config.renames.push(Rename {
                    from: from.clone(),
                    to: to.clone(),
                    line,
                });
                Ok(())
            }
            (
                b"list-max-ziplist-entries"
                | b"list-max-ziplist-value"
                | b"lua-replicate-commands"
                | b"io-threads-do-reads",
                [_],
            ) => Ok(()),
            (b"user", [user, rules @ ..]) => harmless_user(user, rules),
            (b"loadmodule", [_, ..]) => {
                Err("redoxide refuses this directive: modules cannot be loaded".into())
            }
            (b"sentinel", _) => Err("sentinel directive while not in sentinel mode".into()),
            _ => Err("Bad directive or wrong number of arguments".into()),
        }
    }

    fn include(&mut self, pattern: &Path) -> Result<(), Problem> {
        if self.depth >= INCLUDE_DEPTH_MAX {
            return Err("Too many nested includes".into());
        }
        let has_wildcard = pattern
            .as_os_str()
            .as_bytes()
            .iter()
            .any(|byte| matches!(byte, b'*' | b'?' | b'['));
        let paths = if has_wildcard {
            self.files.expand(pattern)
        } else {
            vec![pattern.to_owned()]
        };
        for path in paths {
            let text = read(self.files, &path).map_err(Problem::Elsewhere)?;
            self.depth += 1;
            let outcome = self.text(&text);
            self.depth -= 1;
            outcome.map_err(Problem::Elsewhere)?;
        }
        Ok(())
    }
}

/// An error of the line at hand, or one that already says where it is.
enum Problem {
    Here(String),
    Elsewhere(LoadError),
}

impl From<String> for Problem {
    fn from(reason: String) -> Problem {
        Problem::Here(reason)
    }
}

impl From<&str> for Problem {
    fn from(reason: &str) -> Problem {
        Problem::Here(reason.to_owned())
    }
}

impl From<std::borrow::Cow<'static, str>> for Problem {
    fn from(reason: std::borrow::Cow<'static, str>) -> Problem {
        Problem::Here(reason.into_owned())
    }
}

/// Accepts a `user` line that grants the default user everything without a password, which Redis
/// writes on CONFIG REWRITE; any other would restrict access, and that is not implemented yet.
fn harmless_user(user: &[u8], rules: &[Vec<u8>]) -> Result<(), Problem> {
    let has = |names: &[&[u8]]| {
        rules
            .iter()
            .any(|rule| names.iter().any(|name| rule.eq_ignore_ascii_case(name)))
    };
    const KNOWN: [&[u8]; 11] = [
        b"on",
        b"nopass",
        b"sanitize-payload",
        b"skip-sanitize-payload",
        b"~*",
        b"allkeys",
        b"&*",
        b"allchannels",
        b"+@all",
        b"allcommands",
        b"reset",
    ];
    let known = rules
        .iter()
        .all(|rule| KNOWN.iter().any(|name| rule.eq_ignore_ascii_case(name)));
    let harmless = user == b"default"
        && known
        && has(&[b"on"])
        && has(&[b"nopass"])
        && has(&[b"~*", b"allkeys"])
        && has(&[b"&*", b"allchannels"])
        && has(&[b"+@all", b"allcommands"]);
    if harmless {
        return Ok(());
    }
    Err("redoxide refuses this directive: access control lists are not implemented yet".into())
}

pub(super) fn trim(line: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = line
        .iter()
        .position(|byte| !blank(byte))
        .unwrap_or(line.len());
    let end = line
        .iter()
        .rposition(|byte| !blank(byte))
        .map_or(start, |last| last + 1);
    &line[start..end]
}
