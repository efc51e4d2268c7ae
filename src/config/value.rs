//! The kinds of values a directive can hold: how each is parsed, checked and printed.
//!
//! [`Setting`] is the one interface; the table reaches every field of [`super::Config`] through it.
//! Scalars are here (bool, integers, text, enumerations); values with a syntax of their own are in
//! `special.rs`. The texts of the errors were read off a running Redis 8.0.

use super::table::Directive;

/// Where a new value comes from: some directives behave differently in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A line of the configuration file or of the command line; `first` marks the first line of
    /// this load that names the directive.
    File {
        /// Whether this is the first time the load meets the directive.
        first: bool,
    },
    /// CONFIG SET.
    Command,
}

/// What a directive accepts beyond its type.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// Whatever the type accepts.
    Any,
    /// A plain integer in this inclusive range.
    Range(i64, i64),
    /// A size with an optional unit, in this inclusive range.
    Memory(i64, i64),
    /// Text that the function accepts.
    Check(fn(&[u8]) -> Result<(), &'static str>),
}

/// A value of [`super::Config`] that the table can read and change.
pub(super) trait Setting {
    /// Replaces the value by what `args` says. On error the value is unchanged.
    fn assign(
        &mut self,
        row: &Directive,
        args: &[Vec<u8>],
        origin: Origin,
    ) -> Result<(), std::borrow::Cow<'static, str>>;

    /// The value as CONFIG GET prints it.
    fn show(&self) -> Vec<u8>;

    /// The lines CONFIG REWRITE writes for the value, without line ends.
    fn lines(&self, row: &Directive) -> Vec<Vec<u8>> {
        let mut line = row.name.as_bytes().to_vec();
        line.push(b' ');
        line.extend_from_slice(&self.show());
        vec![line]
    }
}

/// The one argument of a directive that takes one.
pub(super) fn single(args: &[Vec<u8>]) -> Result<&[u8], std::borrow::Cow<'static, str>> {
    match args {
        [one] => Ok(one),
        _ => Err("wrong number of arguments".into()),
    }
}

impl Setting for bool {
    fn assign(
        &mut self,
        row: &Directive,
        args: &[Vec<u8>],
        _origin: Origin,
    ) -> Result<(), std::borrow::Cow<'static, str>> {
        let arg = single(args)?;
        let value = if arg.eq_ignore_ascii_case(b"yes") {
            true
        } else if arg.eq_ignore_ascii_case(b"no") {
            false
        } else {
            return Err("argument must be 'yes' or 'no'".into());
        };
        if row.name == "activedefrag" && value {
            return Err(
                "Active defragmentation cannot be enabled: it requires a Redis server \
                        compiled with a modified Jemalloc like the one shipped by default with \
                        the Redis source distribution"
                    .into(),
            );
        }
        *self = value;
        Ok(())
    }

    fn show(&self) -> Vec<u8> {
        if *self {
            b"yes".to_vec()
        } else {
            b"no".to_vec()
        }
    }
}

impl Setting for i64 {
    fn assign(
        &mut self,
        row: &Directive,
        args: &[Vec<u8>],
        _origin: Origin,
    ) -> Result<(), std::borrow::Cow<'static, str>> {
        let arg = single(args)?;
        let (value, min, max) = match row.rule {
            Rule::Memory(min, max) => {
                let bytes = parse_memory(arg).ok_or("argument must be a memory value")?;
                // A size beyond the signed range wraps, as Redis's does, and fails the range.
                (bytes as i64, min, max)
            }
            Rule::Range(min, max) => (
                crate::base::num::parse_i64(arg)
                    .ok_or("argument couldn't be parsed into an integer")?,
                min,
                max,
            ),
            Rule::Any | Rule::Check(_) => (
                crate::base::num::parse_i64(arg)
                    .ok_or("argument couldn't be parsed into an integer")?,
                i64::MIN,
                i64::MAX,
            ),
        };
        if value < min || value > max {
            return Err(format!("argument must be between {min} and {max} inclusive").into());
        }
        // Some directives are clamped after their range check.
        *self = match row.name {
            "hz" => value.clamp(1, 500),
            "watchdog-period" if value != 0 => value.max(200),
            "repl-backlog-size" => value.max(16 * 1024),
            _ => value,
        };
        Ok(())
    }

    fn show(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }

    fn lines(&self, row: &Directive) -> Vec<Vec<u8>> {
        let mut line = row.name.as_bytes().to_vec();
        line.push(b' ');
        match row.rule {
            Rule::Memory(..) => line.extend_from_slice(memory_text(*self as u64).as_bytes()),
            Rule::Any | Rule::Range(..) | Rule::Check(_) => line.extend_from_slice(&self.show()),
        }
        vec![line]
    }
}

/// Sizes with the whole unsigned range: `maxmemory`, `cluster-link-sendbuf-limit`.
impl Setting for u64 {
    fn assign(
        &mut self,
        _row: &Directive,
        args: &[Vec<u8>],
        _origin: Origin,
    ) -> Result<(), std::borrow::Cow<'static, str>> {
        *self = parse_memory(single(args)?).ok_or("argument must be a memory value")?;
        Ok(())
    }

    fn show(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }

    fn lines(&self, row: &Directive) -> Vec<Vec<u8>> {
        vec![format!("{} {}", row.name, memory_text(*self)).into_bytes()]
    }
}

/// A string of any bytes; Redis does not tell an absent string from an empty one.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Text(pub Vec<u8>);

impl Text {
    /// The text, when it is not empty.
    pub fn get(&self) -> Option<&[u8]> {
        (!self.0.is_empty()).then_some(self.0.as_slice())
    }

    /// The text as a path.
    pub fn path(&self) -> &std::path::Path {
        use std::os::unix::ffi::OsStrExt;
        std::path::Path::new(std::ffi::OsStr::from_bytes(&self.0))
    }

    /// The text for a message; bytes that are not UTF-8 are replaced.
    pub fn lossy(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        Text(text.as_bytes().to_vec())
    }
}

impl std::ops::Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.lossy())
    }
}

impl Setting for Text {
    fn assign(
        &mut self,
        row: &Directive,
        args: &[Vec<u8>],
        _origin: Origin,
    ) -> Result<(), std::borrow::Cow<'static, str>> {
        let arg = single(args)?;
        if let Rule::Check(check) = row.rule {
            check(arg)?;
        }
        self.0 = arg.to_vec();
        Ok(())
    }

    fn show(&self) -> Vec<u8> {
        self.0.clone()
    }

    /// No line for an absent string: a line of the old file goes.
    fn lines(&self, row: &Directive) -> Vec<Vec<u8>> {
        if self.0.is_empty() && (row.get)(&super::Config::default()).show().is_empty() {
            return Vec::new();
        }
        let mut line = row.name.as_bytes().to_vec();
        line.push(b' ');
        crate::base::quote::push_quoted(&mut line, &self.0);
        vec![line]
    }
}

/// Declares an enumeration of a directive: variants with the word of each.
///
/// The first variant that carries a value is the one printed: `yes | relative` prints `yes`.
macro_rules! choices {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal $(| $alias:literal)*),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $(#[doc = concat!("`", $word, "`")] $variant),+ }

        impl $name {
            /// The word as CONFIG GET prints it.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl $crate::config::value::Setting for $name {
            fn assign(
                &mut self,
                _row: &$crate::config::table::Directive,
                args: &[Vec<u8>],
                _origin: $crate::config::value::Origin,
            ) -> Result<(), std::borrow::Cow<'static, str>> {
                const WORDS: &[(&str, $name)] = &[$(($word, $name::$variant), $(($alias, $name::$variant),)*)+];
                let arg = $crate::config::value::single(args)?;
                for (word, value) in WORDS {
                    if arg.eq_ignore_ascii_case(word.as_bytes()) {
                        *self = *value;
                        return Ok(());
                    }
                }
                let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
                Err(format!("argument(s) must be one of the following: {}", words.join(", ")).into())
            }

            fn show(&self) -> Vec<u8> {
                self.word().as_bytes().to_vec()
            }
        }
    };
}

choices!(/// `appendfsync`
AppendFsync { EverySecond = "everysec", Always = "always", No = "no" });
choices!(/// `acl-pubsub-default`
AclPubsubDefault { AllChannels = "allchannels", ResetChannels = "resetchannels" });
choices!(/// `cluster-preferred-endpoint-type`
EndpointType { Ip = "ip", Hostname = "hostname", UnknownEndpoint = "unknown-endpoint" });
choices!(/// `enable-debug-command`, `enable-module-command`, `enable-protected-configs`
Permit { No = "no", Yes = "yes", Local = "local" });
choices!(/// `loglevel`
LogLevel { Debug = "debug", Verbose = "verbose", Notice = "notice", Warning = "warning", Nothing = "nothing" });
choices!(/// `maxmemory-policy`
MaxmemoryPolicy {
    VolatileLru = "volatile-lru", VolatileLfu = "volatile-lfu", VolatileRandom = "volatile-random",
    VolatileTtl = "volatile-ttl", AllkeysLru = "allkeys-lru", AllkeysLfu = "allkeys-lfu",
    AllkeysRandom = "allkeys-random", NoEviction = "noeviction"
});
choices!(/// `oom-score-adj`
OomScoreAdj { No = "no", Relative = "yes" | "relative", Absolute = "absolute" });
choices!(/// `propagation-error-behavior`; `stop` is ours: a replica stops at a command that it cannot process
PropagationError { Stop = "stop", Ignore = "ignore", Panic = "panic", PanicOnReplicas = "panic-on-replicas" });
choices!(/// `repl-diskless-load`
DisklessLoad { Disabled = "disabled", OnEmptyDb = "on-empty-db", SwapDb = "swapdb" });
choices!(/// `sanitize-dump-payload`
SanitizeDump { No = "no", Yes = "yes", Clients = "clients" });
choices!(/// `supervised`
Supervised { Upstart = "upstart", Systemd = "systemd", Auto = "auto", No = "no" });
choices!(/// `syslog-facility`
SyslogFacility {
    User = "user", Local0 = "local0", Local1 = "local1", Local2 = "local2", Local3 = "local3",
    Local4 = "local4", Local5 = "local5", Local6 = "local6", Local7 = "local7"
});
choices!(/// `tls-auth-clients`
TlsAuthClients { No = "no", Yes = "yes", Optional = "optional" });

impl MaxmemoryPolicy {
    /// Whether access words hold frequencies instead of times.
    pub fn is_lfu(self) -> bool {
        matches!(
            self,
            MaxmemoryPolicy::VolatileLfu | MaxmemoryPolicy::AllkeysLfu
        )
    }
}

impl Permit {
    /// Whether a client may do what the directive guards; `local` says whether it is connected
    /// through the loopback interface or a Unix socket.
    pub fn allows(self, local: bool) -> bool {
        match self {
            Permit::No => false,
            Permit::Yes => true,
            Permit::Local => local,
        }
    }
}

/// Parses a size with an optional unit: `b`, `k` (1000), `kb` (1024), `m`, `mb`, `g`, `gb`.
///
/// As in Redis, no digits at all is 0, and too many digits give the largest number.
pub(super) fn parse_memory(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    if digits > 127 {
        return None;
    }
    let mut value: u64 = 0;
    for byte in number {
        let step = value
            .checked_mul(10)
            .and_then(|v| v.checked_add(u64::from(byte - b'0')));
        value = step.unwrap_or(u64::MAX);
        if value == u64::MAX {
            break;
        }
    }
    Some(value.wrapping_mul(factor))
}

/// A size as CONFIG REWRITE writes it: with the largest unit that divides it.
pub(super) fn memory_text(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "gb"), (1 << 20, "mb"), (1 << 10, "kb")];
    for (unit, name) in UNITS {
        if bytes != 0 && bytes.is_multiple_of(unit) {
            return format!("{}{name}", bytes / unit);
        }
    }
    bytes.to_string()
}
