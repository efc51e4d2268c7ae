//! The command row: everything the server knows of a command besides its handler's body.
//!
//! COMMAND, COMMAND DOCS, ACL categories, cluster key look-up, statistics and propagation derive
//! from it. Rows are constants built with the `const` builder below:
//! `Command::new("get", 2, get).flags(READONLY | FAST).keys(&[KeySpec::first(RO | ACCESS)])…`
//! Source of names and meaning: the replies of COMMAND INFO and COMMAND DOCS of Redis 8.0.

use super::{Args, CommandError, Context};

/// A command's body: reads typed arguments from the cursor, appends the reply to the client.
/// An `Err` becomes the error reply; nothing else of the reply may have been written by then.
pub type Handler = fn(&mut Context<'_>, &mut Args<'_>) -> Result<(), CommandError>;

// Command flags, in the order COMMAND INFO prints them.
/// May change the keyspace.
pub const WRITE: u32 = 1 << 0;
/// Never changes the keyspace.
pub const READONLY: u32 = 1 << 1;
/// Refused when memory is over maxmemory.
pub const DENYOOM: u32 = 1 << 2;
/// Belongs to a module.
pub const MODULE: u32 = 1 << 3;
/// An administrator's command.
pub const ADMIN: u32 = 1 << 4;
/// Of publish/subscribe.
pub const PUBSUB: u32 = 1 << 5;
/// Not allowed in scripts.
pub const NOSCRIPT: u32 = 1 << 6;
/// May block the client.
pub const BLOCKING: u32 = 1 << 7;
/// Served while a data set is loading.
pub const LOADING: u32 = 1 << 8;
/// Served on a replica whose data are stale.
pub const STALE: u32 = 1 << 9;
/// Not shown to MONITOR.
pub const SKIP_MONITOR: u32 = 1 << 10;
/// Not shown in the slow log.
pub const SKIP_SLOWLOG: u32 = 1 << 11;
/// ASKING is implied (cluster).
pub const ASKING: u32 = 1 << 12;
/// O(1) or O(log n): never delays the loop.
pub const FAST: u32 = 1 << 13;
/// Needs no authentication.
pub const NO_AUTH: u32 = 1 << 14;
/// May be replicated though it is not a write. Not shown by COMMAND INFO.
pub const MAY_REPLICATE: u32 = 1 << 15;
/// Only for sentinels.
pub const ONLY_SENTINEL: u32 = 1 << 17;
/// Not allowed in MULTI.
pub const NO_MULTI: u32 = 1 << 18;
/// Keys depend on the arguments.
pub const MOVABLE_KEYS: u32 = 1 << 19;
/// Served while a script is busy.
pub const ALLOW_BUSY: u32 = 1 << 20;
/// Refused while loading even from the busy paths.
pub const NO_ASYNC_LOADING: u32 = 1 << 21;
/// Touches keys that are not among its arguments: what it propagates is not wrapped in MULTI.
/// Not shown by COMMAND INFO.
pub const TOUCHES_ARBITRARY_KEYS: u32 = 1 << 22;
/// Handled by the dispatcher at once inside MULTI instead of being queued.
pub const RUNS_IN_MULTI: u32 = 1 << 23;
/// Needs enable-debug-command (DEBUG) or enable-module-command (subcommands of MODULE); not shown by COMMAND INFO.
pub const PROTECTED: u32 = 1 << 24;

/// For internal use; not shown by COMMAND INFO but by COMMAND DOCS.
pub const SYSCMD: u32 = 1 << 25;

/// Waits for another server, so it cannot be part of a transaction or script, though Redis's can. Not shown by COMMAND
/// INFO.
pub const ALONE: u32 = 1 << 26;

/// Allowed to a client of RESP2 that has subscriptions. Not shown by COMMAND INFO.
pub const WHEN_SUBSCRIBED: u32 = 1 << 27;

/// Flag names as COMMAND INFO prints them, in its order.
pub const FLAG_NAMES: &[(u32, &str)] = &[
    (WRITE, "write"),
    (READONLY, "readonly"),
    (DENYOOM, "denyoom"),
    (MODULE, "module"),
    (ADMIN, "admin"),
    (PUBSUB, "pubsub"),
    (NOSCRIPT, "noscript"),
    (BLOCKING, "blocking"),
    (LOADING, "loading"),
    (STALE, "stale"),
    (SKIP_MONITOR, "skip_monitor"),
    (SKIP_SLOWLOG, "skip_slowlog"),
    (ASKING, "asking"),
    (FAST, "fast"),
    (NO_AUTH, "no_auth"),
    (ONLY_SENTINEL, "only_sentinel"),
    (NO_ASYNC_LOADING, "no_async_loading"),
    (NO_MULTI, "no_multi"),
    (ALLOW_BUSY, "allow_busy"),
    (MOVABLE_KEYS, "movablekeys"),
];

// Key-spec flags.
/// Reads the key's value.
pub const RO: u32 = 1 << 0;
/// Reads and writes it.
pub const RW: u32 = 1 << 1;
/// Overwrites it.
pub const OW: u32 = 1 << 2;
/// Removes it.
pub const RM: u32 = 1 << 3;
/// Returns user data.
pub const ACCESS: u32 = 1 << 4;
/// Updates data that depends on the old value.
pub const UPDATE: u32 = 1 << 5;
/// Adds data.
pub const INSERT: u32 = 1 << 6;
/// Removes data.
pub const DELETE: u32 = 1 << 7;
/// Not a key, but handled as one by the cluster.
pub const NOT_KEY: u32 = 1 << 8;
/// The spec may miss keys.
pub const INCOMPLETE: u32 = 1 << 9;
/// The flags depend on the arguments.
pub const VARIABLE_FLAGS: u32 = 1 << 10;

/// Key-spec flag names as COMMAND INFO prints them.
pub const KEY_FLAG_NAMES: &[(u32, &str)] = &[
    (RO, "RO"),
    (RW, "RW"),
    (OW, "OW"),
    (RM, "RM"),
    (ACCESS, "access"),
    (UPDATE, "update"),
    (INSERT, "insert"),
    (DELETE, "delete"),
    (NOT_KEY, "not_key"),
    (INCOMPLETE, "incomplete"),
    (VARIABLE_FLAGS, "variable_flags"),
];

// ACL categories that a row names explicitly; the rest follow from its flags and group.
/// @keyspace
pub const CAT_KEYSPACE: u32 = 1 << 0;
/// @read
pub const CAT_READ: u32 = 1 << 1;
/// @write
pub const CAT_WRITE: u32 = 1 << 2;
/// @set
pub const CAT_SET: u32 = 1 << 3;
/// @sortedset
pub const CAT_SORTEDSET: u32 = 1 << 4;
/// @list
pub const CAT_LIST: u32 = 1 << 5;
/// @hash
pub const CAT_HASH: u32 = 1 << 6;
/// @string
pub const CAT_STRING: u32 = 1 << 7;
/// @bitmap
pub const CAT_BITMAP: u32 = 1 << 8;
/// @hyperloglog
pub const CAT_HYPERLOGLOG: u32 = 1 << 9;
/// @geo
pub const CAT_GEO: u32 = 1 << 10;
/// @stream
pub const CAT_STREAM: u32 = 1 << 11;
/// @pubsub
pub const CAT_PUBSUB: u32 = 1 << 12;
/// @admin
pub const CAT_ADMIN: u32 = 1 << 13;
/// @fast
pub const CAT_FAST: u32 = 1 << 14;
/// @slow
pub const CAT_SLOW: u32 = 1 << 15;
/// @blocking
pub const CAT_BLOCKING: u32 = 1 << 16;
/// @dangerous
pub const CAT_DANGEROUS: u32 = 1 << 17;
/// @connection
pub const CAT_CONNECTION: u32 = 1 << 18;
/// @transaction
pub const CAT_TRANSACTION: u32 = 1 << 19;
/// @scripting
pub const CAT_SCRIPTING: u32 = 1 << 20;

/// Category names in bit order, as ACL CAT and COMMAND INFO print them (there with `@`).
pub const CATEGORY_NAMES: &[(u32, &str)] = &[
    (CAT_KEYSPACE, "keyspace"),
    (CAT_READ, "read"),
    (CAT_WRITE, "write"),
    (CAT_SET, "set"),
    (CAT_SORTEDSET, "sortedset"),
    (CAT_LIST, "list"),
    (CAT_HASH, "hash"),
    (CAT_STRING, "string"),
    (CAT_BITMAP, "bitmap"),
    (CAT_HYPERLOGLOG, "hyperloglog"),
    (CAT_GEO, "geo"),
    (CAT_STREAM, "stream"),
    (CAT_PUBSUB, "pubsub"),
    (CAT_ADMIN, "admin"),
    (CAT_FAST, "fast"),
    (CAT_SLOW, "slow"),
    (CAT_BLOCKING, "blocking"),
    (CAT_DANGEROUS, "dangerous"),
    (CAT_CONNECTION, "connection"),
    (CAT_TRANSACTION, "transaction"),
    (CAT_SCRIPTING, "scripting"),
];

/// Where a key specification begins.
#[derive(Clone, Copy, Debug)]
pub enum Begin {
    /// At this argument index.
    Index(i32),
    /// Behind this keyword, searched from this index (negative: from the end, backwards).
    Keyword(&'static str, i32),
    /// Not known.
    Unknown,
}

/// How the keys are found from there.
#[derive(Clone, Copy, Debug)]
pub enum Find {
    /// Last key relative to the first (negative: from the end), step, limit divisor.
    Range {
        /// Index of the last key relative to the first; negative counts from the end.
        last: i32,
        /// Distance from key to key.
        step: i32,
        /// Divides the rest of the arguments when `last` is -1.
        limit: i32,
    },
    /// A number of keys stands at `at`, the first key at `first`, both relative to the beginning.
    KeyNum {
        /// Index of the number.
        at: i32,
        /// Index of the first key.
        first: i32,
        /// Distance from key to key.
        step: i32,
    },
    /// Not known.
    Unknown,
}

/// One key specification.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// Where it begins.
    pub begin: Begin,
    /// How the keys are found.
    pub find: Find,
    /// `RO | ACCESS` and so on.
    pub flags: u32,
    /// Notes shown by COMMAND INFO, or empty.
    pub notes: &'static str,
}

impl KeySpec {
    /// The key at argument 1.
    pub const fn first(flags: u32) -> KeySpec {
        KeySpec::range(1, 0, 1, flags)
    }
    /// Keys from index `first` to `last` (relative to `first`; negative: from the end) by `step`.
    pub const fn range(first: i32, last: i32, step: i32, flags: u32) -> KeySpec {
        KeySpec {
            begin: Begin::Index(first),
            find: Find::Range {
                last,
                step,
                limit: 0,
            },
            flags,
            notes: "",
        }
    }
    /// As many keys as argument `index` says, behind it.
    pub const fn numbered(index: i32, flags: u32) -> KeySpec {
        KeySpec {
            begin: Begin::Index(index),
            find: Find::KeyNum {
                at: 0,
                first: 1,
                step: 1,
            },
            flags,
            notes: "",
        }
    }
    /// The same with a note for COMMAND INFO.
    pub const fn notes(mut self, notes: &'static str) -> KeySpec {
        self.notes = notes;
        self
    }
}

/// The group COMMAND DOCS prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// "string"
    String,
    /// "generic"
    Generic,
    /// "hash"
    Hash,
    /// "list"
    List,
    /// "set"
    Set,
    /// "sorted-set"
    SortedSet,
    /// "stream"
    Stream,
    /// "geo"
    Geo,
    /// "connection"
    Connection,
    /// "server"
    Server,
    /// "transactions"
    Transactions,
    /// "pubsub"
    Pubsub,
    /// "bitmap"
    Bitmap,
    /// "hyperloglog"
    HyperLogLog,
    /// "cluster"
    Cluster,
}

impl Group {
    /// The name as COMMAND DOCS prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Group::String => "string",
            Group::Generic => "generic",
            Group::Hash => "hash",
            Group::List => "list",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Stream => "stream",
            Group::Geo => "geo",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Transactions => "transactions",
            Group::Pubsub => "pubsub",
            Group::Bitmap => "bitmap",
            Group::HyperLogLog => "hyperloglog",
            Group::Cluster => "cluster",
        }
    }
}

/// Arguments that MONITOR and SLOWLOG do not show.
#[derive(Clone, Copy, Debug)]
pub enum Secrets {
    /// None.
    None,
    /// All from this index on.
    From(usize),
    /// So many behind each of these words, which are looked for from this index on.
    Behind(usize, &'static [(&'static str, usize)]),
}

impl Secrets {
    /// Whether argument `index` is hidden.
    pub fn hide(self, args: &Args<'_>, index: usize) -> bool {
        match self {
            Secrets::None => false,
            Secrets::From(first) => index >= first,
            Secrets::Behind(first, words) => words.iter().any(|&(word, count)| {
                let mut before = (index.saturating_sub(count)..index).filter(|&at| at >= first);
                before.any(|at| args.at(at).eq_ignore_ascii_case(word.as_bytes()))
            }),
        }
    }
}

/// A command or subcommand.
#[derive(Debug)]
pub struct Command {
    /// Lower-case name; of a subcommand its own part only ("id" of CLIENT ID).
    pub name: &'static str,
    /// Number of arguments with the name; negative: at least. Of a subcommand the parent's name counts too.
    pub arity: i16,
    /// `WRITE | DENYOOM` and so on.
    pub flags: u32,
    /// Categories beyond those that flags and group imply.
    pub categories: u32,
    /// Key specifications.
    pub keys: &'static [KeySpec],
    /// What MONITOR and SLOWLOG do not show.
    pub secrets: Secrets,
    /// Index of the first argument that names an element of the first key's collection, such as a member or field; 0
    /// for none. Only a hint to fetch it ahead.
    pub element: usize,
    /// The body. Of a container with subcommands it is reached only by "unknown subcommand".
    pub handler: Handler,
    /// Subcommands by name.
    pub subcommands: &'static [Command],
    /// COMMAND DOCS group.
    pub group: Group,
    /// First version of Redis that had it.
    pub since: &'static str,
    /// One line.
    pub summary: &'static str,
    /// "O(1)" and so on.
    pub complexity: &'static str,
    /// Arguments in Redis's notation: `key value [NX | XX] [GET] [EX seconds | PX milliseconds]`;
    /// COMMAND DOCS derives its arguments from it.
    pub syntax: &'static str,
    /// (version, change) pairs.
    pub history: &'static [(&'static str, &'static str)],
    /// Hints for clients, as COMMAND INFO prints them.
    pub tips: &'static [&'static str],
    /// Deprecated since this version, in favour of that (text as COMMAND DOCS prints it).
    pub deprecated: Option<(&'static str, &'static str)>,
}

impl Command {
    /// A row with no flags, keys or documentation yet.
    pub const fn new(name: &'static str, arity: i16, handler: Handler) -> Command {
        Command {
            name,
            arity,
            flags: 0,
            categories: 0,
            keys: &[],
            secrets: Secrets::None,
            element: 0,
            handler,
            subcommands: &[],
            group: Group::Generic,
            since: "1.0.0",
            summary: "",
            complexity: "",
            syntax: "",
            history: &[],
            tips: &[],
            deprecated: None,
        }
    }
    /// The same facts under another name with another body.
    pub const fn named(mut self, name: &'static str, handler: Handler) -> Command {
        self.name = name;
        self.handler = handler;
        self
    }
    /// Sets the arity.
    pub const fn arity(mut self, arity: i16) -> Command {
        self.arity = arity;
        self
    }
    /// Sets the flags.
    pub const fn flags(mut self, flags: u32) -> Command {
        self.flags = flags;
        self
    }
    /// Adds categories.
    pub const fn categories(mut self, categories: u32) -> Command {
        self.categories = categories;
        self
    }
    /// Sets the key specifications.
    pub const fn keys(mut self, keys: &'static [KeySpec]) -> Command {
        self.keys = keys;
        self
    }
    /// Sets what MONITOR and SLOWLOG do not show.
    pub const fn secrets(mut self, secrets: Secrets) -> Command {
        self.secrets = secrets;
        self
    }
    /// Sets which argument names an element.
    pub const fn element(mut self, index: usize) -> Command {
        self.element = index;
        self
    }
    /// Sets the subcommands.
    pub const fn subcommands(mut self, subcommands: &'static [Command]) -> Command {
        self.subcommands = subcommands;
        self
    }
    /// Sets the documentation.
    pub const fn doc(
        mut self,
        group: Group,
        since: &'static str,
        complexity: &'static str,
        summary: &'static str,
    ) -> Command {
        self.group = group;
        self.since = since;
        self.complexity = complexity;
        self.summary = summary;
        self
    }
    /// Sets the syntax line.
    pub const fn syntax(mut self, syntax: &'static str) -> Command {
        self.syntax = syntax;
        self
    }
    /// Sets the history.
    pub const fn history(mut self, history: &'static [(&'static str, &'static str)]) -> Command {
        self.history = history;
        self
    }
    /// Sets the tips.
    pub const fn tips(mut self, tips: &'static [&'static str]) -> Command {
        self.tips = tips;
        self
    }
    /// Marks it as deprecated.
    pub const fn deprecated(mut self, since: &'static str, replaced_by: &'static str) -> Command {
        self.deprecated = Some((since, replaced_by));
        self
    }
    /// Whether a flag is set.
    #[inline]
    pub const fn is(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
    /// Whether `argc` (name included) fits the arity.
    #[inline]
    pub const fn arity_fits(&self, argc: usize) -> bool {
        if self.arity >= 0 {
            argc == self.arity as usize
        } else {
            argc >= (-self.arity) as usize
        }
    }
    /// The specifications that find keys.
    pub fn key_specs(&self) -> impl Iterator<Item = &'static KeySpec> {
        self.keys.iter().filter(|spec| spec.flags & NOT_KEY == 0)
    }
    /// The index of the first key by the first specification, when it is fixed.
    #[inline]
    pub fn first_key(&self) -> Option<usize> {
        match self.key_specs().next().map(|spec| spec.begin) {
            Some(Begin::Index(index)) => usize::try_from(index).ok(),
            _ => None,
        }
    }
}
