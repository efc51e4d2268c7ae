//! Start-up: the configuration file, standard input and the command line.
//!
//! As in Redis the command line is turned into lines appended to the file, so that every error
//! carries a line number and the last line that names a directive wins (`save` adds up, until an include).
//! Nothing here opens a file: [`Files`] does.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::table::{Config, Effect, Id, MULTI_ARG, find};
use super::value::{Origin, Text};
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
            included: false,
            default_user: None,
        };
        loader.text(&text)?;
        loader.settle_default_user()?;
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
            included: false,
            default_user: None,
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
    /// An include has ended in the text at hand: as in Redis each further `save` replaces those before it.
    included: bool,
    /// A `user default` line.
    default_user: Option<(DefaultUser, Vec<u8>)>,
}

impl Loader<'_> {
    /// Holds the `user default` line against `requirepass`: both say who needs a password.
    fn settle_default_user(&mut self) -> Result<(), LoadError> {
        let Some((user, line)) = self.default_user.take() else {
            return Ok(());
        };
        let wanted = match self.config.requirepass.get() {
            Some(password) => vec![password_hash(password).into_bytes()],
            None => Vec::new(),
        };
        if user.passwords == wanted {
            return Ok(());
        }
        if let (Some(password), None) = (user.clear, self.config.requirepass.get()) {
            self.config.requirepass = password;
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line).into_owned();
        Err(LoadError::Invalid {
            line: None,
            reason: format!(
                "redoxide knows the password of the default user from requirepass alone, which \
                 does not agree with '{text}'"
            ),
        })
    }

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
            let first = self.seen.insert(row.id) || self.included;
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
            (b"user", [user, rules @ ..]) => {
                self.default_user = Some((default_user(user, rules)?, line.to_vec()));
                Ok(())
            }
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
            self.included = false;
            let outcome = self.text(&text);
            self.included = true;
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

/// The passwords of a `user` line that grants the default user everything, which CONFIG REWRITE
/// writes; any other line would restrict access, and that is not implemented yet.
fn default_user(user: &[u8], rules: &[Vec<u8>]) -> Result<DefaultUser, Problem> {
    const REFUSAL: &str =
        "redoxide refuses this directive: access control lists are not implemented yet";
    let mut found = DefaultUser::default();
    let mut granted = [false; 4];
    for rule in rules {
        match rule.to_ascii_lowercase().as_slice() {
            b"on" => granted[0] = true,
            b"~*" | b"allkeys" => granted[1] = true,
            b"&*" | b"allchannels" => granted[2] = true,
            b"+@all" | b"allcommands" => granted[3] = true,
            b"nopass" => found.passwords = Vec::new(),
            b"sanitize-payload" | b"skip-sanitize-payload" | b"reset" => {}
            hash if hash.len() == 65 && hash.starts_with(b"#") => {
                found.passwords.push(hash[1..].to_vec());
            }
            _ if rule.starts_with(b">") => {
                found.passwords.push(password_hash(&rule[1..]).into_bytes());
                found.clear = Some(Text(rule[1..].to_vec()));
            }
            _ => return Err(REFUSAL.into()),
        }
    }
    if user != b"default" || granted != [true; 4] || found.passwords.len() > 1 {
        return Err(REFUSAL.into());
    }
    Ok(found)
}

/// What a `user default` line says.
#[derive(Default)]
struct DefaultUser {
    /// Hashes; none: no password is needed.
    passwords: Vec<Vec<u8>>,
    /// The password, when the line has it in clear.
    clear: Option<Text>,
}

/// The hash of a password as `user` lines carry it: SHA-256 in hexadecimal.
pub(super) fn password_hash(password: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(password)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Files in memory; `*` in a pattern matches anything.
    #[derive(Default)]
    struct Memory(BTreeMap<PathBuf, &'static str>);

    impl Files for Memory {
        fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
            let text = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
            Ok(text.as_bytes().to_vec())
        }
        fn read_stdin(&mut self) -> io::Result<Vec<u8>> {
            Ok(b"timeout 77\n".to_vec())
        }
        fn expand(&mut self, pattern: &Path) -> Vec<PathBuf> {
            let matches = |path: &PathBuf| {
                let (pattern, path) = (pattern.as_os_str(), path.as_os_str());
                crate::base::glob::matches(pattern.as_bytes(), path.as_bytes(), false)
            };
            self.0
                .keys()
                .filter(|path| matches(path))
                .cloned()
                .collect()
        }
        fn change_dir(&mut self, _path: &Path) -> io::Result<()> {
            Ok(())
        }
        fn current_dir(&mut self) -> PathBuf {
            PathBuf::from("/here")
        }
        fn try_append(&mut self, _path: &Path) -> io::Result<()> {
            Ok(())
        }
    }

    fn load(args: &[&str], files: &[(&str, &'static str)]) -> Result<Config, String> {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        let files = files
            .iter()
            .map(|(path, text)| (PathBuf::from(path), *text))
            .collect();
        Config::load(&args, &mut Memory(files)).map_err(|error| error.to_string())
    }

    #[test]
    fn file_then_standard_input_then_command_line() {
        let files = [("a.conf", "timeout 5\nhz 20\nport 1\n")];
        let config = load(&["a.conf", "-", "--port", "3"], &files).unwrap();
        assert_eq!((config.timeout, config.hz, config.port), (77, 20, 3));
        assert_eq!(config.file, Some(PathBuf::from("/here/a.conf")));
        assert_eq!(load(&[], &[]).unwrap().port, 6379);
    }

    #[test]
    fn save_points_add_up_after_the_first() {
        let points =
            |args: &[&str]| String::from_utf8(load(args, &[]).unwrap().show(Id::save)).unwrap();
        assert_eq!(points(&[]), "3600 1 300 100 60 10000");
        assert_eq!(points(&["--save", ""]), "");
        assert_eq!(points(&["--save"]), "");
        assert_eq!(
            points(&["--save", "900", "1", "--save", "300 10"]),
            "900 1 300 10"
        );
        assert_eq!(
            points(&["--save", "900", "1", "--save", "", "--save", "5", "6"]),
            "5 6"
        );
    }

    #[test]
    fn values_may_look_like_options() {
        let config = load(&["--requirepass", "--secret", "--hz", "20"], &[]).unwrap();
        assert_eq!(config.requirepass.get(), Some(&b"--secret"[..]));
        assert_eq!(config.hz, 20);
        let config = load(&["--replicaof", "h 1", "--hz 30"], &[]).unwrap();
        assert_eq!(config.replicaof.0, Some(("h".to_owned(), 1)));
        assert_eq!(config.hz, 30);
    }

    /// As redis-server 8.0 reads these files.
    #[test]
    fn save_points_behind_an_include_replace_each_other() {
        let points = |main: &'static str| {
            let files = [("m.conf", main), ("i.conf", "save 5 5\nsave 6 6")];
            String::from_utf8(load(&["m.conf"], &files).unwrap().show(Id::save)).unwrap()
        };
        assert_eq!(points("save 900 1\ninclude i.conf"), "900 1 5 5 6 6");
        assert_eq!(points("include i.conf\nsave 900 1\nsave 300 10"), "300 10");
    }

    #[test]
    fn includes_follow_patterns_and_end() {
        let files = [
            ("m.conf", "include d/*.conf\nhz 30"),
            ("d/a.conf", "hz 20"),
            ("d/b.conf", "timeout 9"),
        ];
        let config = load(&["m.conf"], &files).unwrap();
        assert_eq!((config.hz, config.timeout), (30, 9));
        assert!(
            load(&["m.conf"], &[("m.conf", "include m.conf")])
                .unwrap_err()
                .contains("nested")
        );
        assert!(
            load(&["m.conf"], &[("m.conf", "include none")])
                .unwrap_err()
                .contains("can't open")
        );
        assert!(load(&["m.conf"], &[("m.conf", "include none*")]).is_ok());
    }

    #[test]
    fn what_would_restrict_access_is_not_ignored() {
        for line in [
            "aclfile x",
            "user alice on",
            "user default off",
            "user default on ~*",
            "tls-port 1",
            "user default on nopass ~* &* -@all",
            "user default on >a >b ~* &* +@all",
            "user default on #00 ~* &* +@all",
            "loadmodule x.so",
            "cluster-enabled yes",
        ] {
            let text: &'static str = Box::leak(line.to_owned().into_boxed_str());
            assert!(
                load(&["a"], &[("a", text)])
                    .unwrap_err()
                    .contains("redoxide"),
                "{line}"
            );
        }
        let text = "user default on nopass sanitize-payload ~* &* +@all\ntls-port 0";
        assert!(load(&["a"], &[("a", text)]).is_ok());
        let config = load(&["a"], &[("a", "user default on >secret ~* &* +@all")]).unwrap();
        assert_eq!(config.requirepass.get(), Some(&b"secret"[..]));
    }

    #[test]
    fn renames_know_their_line() {
        let config = load(
            &["a"],
            &[(
                "a",
                "\nrename-command GET \"\"\nhz 10\nrename-command SET S\n",
            )],
        )
        .unwrap();
        let lines: Vec<usize> = config
            .renames
            .iter()
            .map(|rename| rename.line.number)
            .collect();
        assert_eq!(lines, [2, 4]);
        let error = LoadError::at(
            config.renames[0].line.clone(),
            "No such command in rename-command",
        );
        assert!(
            error
                .to_string()
                .contains("at line 2\n>>> 'rename-command GET \"\"'\nNo such")
        );
    }
}
