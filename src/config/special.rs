//! Directives whose value has a syntax of its own: `save`, `client-output-buffer-limit`,
//! `notify-keyspace-events`, `oom-score-adj-values`, `bind`, `replicaof`, …

use std::borrow::Cow;

use super::table::Directive;
use super::value::{Origin, Setting, memory_text, parse_memory, single};
use crate::base::num::parse_i64;

type Outcome = Result<(), Cow<'static, str>>;

/// A number as the C library reads it: a sign, leading zeros and no digits at all are fine.
fn loose_i64(text: &[u8]) -> Option<i64> {
    match std::str::from_utf8(text).ok()? {
        "" => Some(0),
        text => text.parse().ok(),
    }
}

fn joined(words: impl Iterator<Item = String>) -> Vec<u8> {
    words.collect::<Vec<_>>().join(" ").into_bytes()
}

/// One save point: save when `changes` writes happened within `seconds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavePoint {
    /// Seconds since the last save.
    pub seconds: i64,
    /// Writes since the last save.
    pub changes: i64,
}

/// `save`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavePoints(pub Vec<SavePoint>);

impl Default for SavePoints {
    fn default() -> SavePoints {
        SavePoints(
            [(3600, 1), (300, 100), (60, 10000)]
                .map(|(seconds, changes)| SavePoint { seconds, changes })
                .to_vec(),
        )
    }
}

impl Setting for SavePoints {
    /// In a file the first `save` replaces the defaults and each further one adds.
    fn assign(&mut self, _row: &Directive, args: &[Vec<u8>], origin: Origin) -> Outcome {
        let args: &[Vec<u8>] = match args {
            [only] if only.is_empty() => &[],
            _ => args,
        };
        let (pairs, odd) = args.as_chunks::<2>();
        if !odd.is_empty() {
            return Err("Invalid save parameters".into());
        }
        let mut points = Vec::with_capacity(pairs.len());
        for [seconds, changes] in pairs {
            match (loose_i64(seconds), loose_i64(changes)) {
                (Some(seconds), Some(changes)) if seconds >= 1 && changes >= 0 => {
                    points.push(SavePoint { seconds, changes });
                }
                _ => return Err("Invalid save parameters".into()),
            }
        }
        match origin {
            Origin::File { first: false } if !points.is_empty() => self.0.extend(points),
            Origin::File { .. } | Origin::Command => self.0 = points,
        }
        Ok(())
    }

    fn show(&self) -> Vec<u8> {
        joined(
            self.0
                .iter()
                .map(|point| format!("{} {}", point.seconds, point.changes)),
        )
    }

    fn lines(&self, _row: &Directive) -> Vec<Vec<u8>> {
        if self.0.is_empty() {
            return vec![b"save \"\"".to_vec()];
        }
        let line = |point: &SavePoint| format!("save {} {}", point.seconds, point.changes);
        self.0
            .iter()
            .map(|point| line(point).into_bytes())
            .collect()
    }
}

/// Limits of one class of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimit {
    /// Closed at once beyond this many bytes; 0 is no limit.
    pub hard_bytes: u64,
    /// Closed when beyond this many bytes for `soft_seconds`; 0 is no limit.
    pub soft_bytes: u64,
    /// How long the soft limit may be passed.
    pub soft_seconds: i64,
}

/// `client-output-buffer-limit`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    /// Ordinary clients, MONITOR included.
    pub normal: OutputLimit,
    /// Links to replicas.
    pub replica: OutputLimit,
    /// Clients with a subscription.
    pub pubsub: OutputLimit,
}

impl Default for OutputLimits {
    fn default() -> OutputLimits {
        let limit = |hard_bytes, soft_bytes, soft_seconds| OutputLimit {
            hard_bytes,
            soft_bytes,
            soft_seconds,
        };
        OutputLimits {
            normal: limit(0, 0, 0),
            replica: limit(256 << 20, 64 << 20, 60),
            pubsub: limit(32 << 20, 8 << 20, 60),
        }
    }
}

impl OutputLimits {
    fn classes(&self) -> [(&'static str, OutputLimit); 3] {
        [
            ("normal", self.normal),
            ("slave", self.replica),
            ("pubsub", self.pubsub),
        ]
    }
}

impl Setting for OutputLimits {
    fn assign(&mut self, _row: &Directive, args: &[Vec<u8>], _origin: Origin) -> Outcome {
        let (groups, odd) = args.as_chunks::<4>();
        if !odd.is_empty() {
            return Err("Wrong number of arguments in buffer limit configuration.".into());
        }
        let mut changed = *self;
        for [class, hard, soft, seconds] in groups {
            let slot = match class.to_ascii_lowercase().as_slice() {
                b"normal" => &mut changed.normal,
                b"slave" | b"replica" => &mut changed.replica,
                b"pubsub" => &mut changed.pubsub,
                _ => {
                    return Err(
                        "Invalid client class specified in buffer limit configuration.".into(),
                    );
                }
            };
            match (parse_memory(hard), parse_memory(soft), parse_i64(seconds)) {
                (Some(hard_bytes), Some(soft_bytes), Some(soft_seconds)) if soft_seconds >= 0 => {
                    *slot = OutputLimit {
                        hard_bytes,
                        soft_bytes,
                        soft_seconds,
                    };
                }
                _ => {
                    return Err(
                        "Error in hard, soft or soft_seconds setting in buffer limit configuration."
                            .into(),
                    );
                }
            }
        }
        *self = changed;
        Ok(())
    }

    fn show(&self) -> Vec<u8> {
        joined(self.classes().iter().map(|(name, limit)| {
            format!(
                "{name} {} {} {}",
                limit.hard_bytes, limit.soft_bytes, limit.soft_seconds
            )
        }))
    }

    /// One line a class, as Redis writes them.
    fn lines(&self, _row: &Directive) -> Vec<Vec<u8>> {
        let classes = [
            ("normal", self.normal),
            ("replica", self.replica),
            ("pubsub", self.pubsub),
        ];
        let line = |(name, limit): &(&str, OutputLimit)| {
            let (hard, soft) = (memory_text(limit.hard_bytes), memory_text(limit.soft_bytes));
            format!(
                "client-output-buffer-limit {name} {hard} {soft} {}",
                limit.soft_seconds
            )
            .into_bytes()
        };
        classes.iter().map(line).collect()
    }
}

/// `notify-keyspace-events`: the classes of events that are published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotifyEvents(pub u32);

impl NotifyEvents {
    /// `K`: events published to the key's channel.
    pub const KEYSPACE: u32 = 1 << 0;
    /// `E`: events published to the event's channel.
    pub const KEYEVENT: u32 = 1 << 1;
    /// `g`: generic commands.
    pub const GENERIC: u32 = 1 << 2;
    /// `$`: strings.
    pub const STRING: u32 = 1 << 3;
    /// `l`: lists.
    pub const LIST: u32 = 1 << 4;
    /// `s`: sets.
    pub const SET: u32 = 1 << 5;
    /// `h`: hashes.
    pub const HASH: u32 = 1 << 6;
    /// `z`: sorted sets.
    pub const ZSET: u32 = 1 << 7;
    /// `x`: expiry.
    pub const EXPIRED: u32 = 1 << 8;
    /// `e`: eviction.
    pub const EVICTED: u32 = 1 << 9;
    /// `t`: streams.
    pub const STREAM: u32 = 1 << 10;
    /// `m`: a key was missed.
    pub const KEY_MISS: u32 = 1 << 11;
    /// `d`: module types.
    pub const MODULE: u32 = 1 << 13;
    /// `n`: a new key.
    pub const NEW: u32 = 1 << 14;
    /// `A`: all but `m` and `n`.
    pub const ALL: u32 = Self::GENERIC
        | Self::STRING
        | Self::LIST
        | Self::SET
        | Self::HASH
        | Self::ZSET
        | Self::EXPIRED
        | Self::EVICTED
        | Self::STREAM
        | Self::MODULE;

    /// Whether an event of `class` is published anywhere.
    #[inline]
    pub fn wants(self, class: u32) -> bool {
        self.0 & class != 0
    }

    const LETTERS: [(u8, u32); 14] = [
        (b'g', Self::GENERIC),
        (b'$', Self::STRING),
        (b'l', Self::LIST),
        (b's', Self::SET),
        (b'h', Self::HASH),
        (b'z', Self::ZSET),
        (b'x', Self::EXPIRED),
        (b'e', Self::EVICTED),
        (b't', Self::STREAM),
        (b'd', Self::MODULE),
        (b'n', Self::NEW),
        (b'K', Self::KEYSPACE),
        (b'E', Self::KEYEVENT),
        (b'm', Self::KEY_MISS),
    ];
}

impl Setting for NotifyEvents {
    fn assign(&mut self, _row: &Directive, args: &[Vec<u8>], _origin: Origin) -> Outcome {
        let mut classes = 0;
        for letter in single(args)? {
            classes |= match Self::LETTERS.iter().find(|(known, _)| known == letter) {
                Some((_, class)) => *class,
                None if *letter == b'A' => Self::ALL,
                None => {
                    return Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into());
                }
            };
        }
        self.0 = classes;
        Ok(())
    }

    fn show(&self) -> Vec<u8> {
        let all = self.0 & Self::ALL == Self::ALL;
        let mut text = if all { b"A".to_vec() } else { Vec::new() };
        for (letter, class) in Self::LETTERS {
            // `A` stands for the classes it has; Redis does not print `n` beside it.
            let covered = all && class & (Self::ALL | Self::NEW) != 0;
            if self.0 & class != 0 && !covered {
                text.push(letter);
            }
        }
        text
    }

    fn lines(&self, row: &Directive) -> Vec<Vec<u8>> {
        let mut line = row.name.as_bytes().to_vec();
        line.push(b' ');
        crate::base::quote::push_quoted(&mut line, &self.show());
        vec![line]
    }
}

/// `oom-score-adj-values`: master, replica, background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OomScores(pub [i64; 3]);

impl Setting for OomScores {
    fn assign(&mut self, _row: &Directive, args: &[Vec<u8>], _origin: Origin) -> Outcome {
        let args: &[Vec<u8>; 3] = args.try_into().map_err(|_| "wrong number of arguments")?;
        let mut values = [0; 3];
        for (value, arg) in values.iter_mut().zip(args) {
            *value = loose_i64(arg)
                .filter(|v| (-2000..=2000).contains(v))
                .ok_or("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")?;
        }
        self.0 = values;
        Ok(())
    }

    fn show(&self) -> Vec<u8> {
        joined(self.0.iter().map(i64::to_string))
    }
}

/// `bind`: addresses as written; a leading `-` means that the address may be absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind(pub Vec<String>);

impl Bind {
    const COUNT_MAX: usize = 16;
}

impl Default for Bind {
    fn default() -> Bind {
        Bind(vec!["*".to_owned(), "-::*".to_owned()])
    }
}

impl Setting for Bind {
    fn assign(&mut self, _row: &Directive, args: &[Vec<u8>], _origin: Origin) -> Outcome {
        let args: &[Vec<u8>] = match args {
            [only] if only.is_empty() => &[],
            _ => args,
        };
        if args.len() > Self::COUNT_MAX {
            return Err("Too many bind addresses specified.".into());
        }
        self.0 = args
            .iter()
            .map(|arg| String::from_utf8_lossy(arg).into_owned())
            .collect();
        Ok(())
    }

    fn show(&self) -> Vec<u8> {
        self.0.join(" ").into_bytes()
    }

    fn lines(&self, _row: &Directive) -> Vec<Vec<u8>> {
        if self.0.is_empty() {
            return vec![b"bind \"\"".to_vec()];
        }
        vec![format!("bind {}", self.0.join(" ")).into_bytes()]
    }
}

/// `replicaof`: the master, when there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaOf(pub Option<(String, u16)>);

impl Setting for ReplicaOf {
    fn assign(&mut self, _row: &Directive, args: &[Vec<u8>], _origin: Origin) -> Outcome {
        let [host, port] = args else {
            return Err("wrong number of arguments".into());
        };
        if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
            self.0 = None;
            return Ok(());
        }
        let port = parse_i64(port).and_then(|port| u16::try_from(port).ok());
        let port = port.ok_or("Invalid master port")?;
        self.0 = Some((String::from_utf8_lossy(host).into_owned(), port));
        Ok(())
    }

    fn show(&self) -> Vec<u8> {
        match &self.0 {
            Some((host, port)) => format!("{host} {port}").into_bytes(),
            None => Vec::new(),
        }
    }

    fn lines(&self, row: &Directive) -> Vec<Vec<u8>> {
        match &self.0 {
            Some((host, port)) => vec![format!("{} {host} {port}", row.name).into_bytes()],
            None => Vec::new(),
        }
    }
}

/// `latency-tracking-info-percentiles`
#[derive(Clone, Debug, PartialEq)]
pub struct Percentiles(pub Vec<f64>);

impl Default for Percentiles {
    fn default() -> Percentiles {
        Percentiles(vec![50.0, 99.0, 99.9])
    }
}

/// A percentage with up to six decimals, as CONFIG GET and the fields of INFO latencystats have it.
pub fn percent_text(value: f64) -> String {
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}

impl Setting for Percentiles {
    fn assign(&mut self, _row: &Directive, args: &[Vec<u8>], _origin: Origin) -> Outcome {
        let args: &[Vec<u8>] = match args {
            [only] if only.is_empty() => &[],
            _ => args,
        };
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            let value = crate::base::num::parse_f64(arg)
                .ok_or("Invalid latency-tracking-info-percentiles parameters")?;
            if !(0.0..=100.0).contains(&value) {
                return Err(
                    "latency-tracking-info-percentiles parameters should sit between \
                            [0.0,100.0]"
                        .into(),
                );
            }
            values.push(value);
        }
        self.0 = values;
        Ok(())
    }

    fn show(&self) -> Vec<u8> {
        joined(self.0.iter().map(|value| percent_text(*value)))
    }

    fn lines(&self, row: &Directive) -> Vec<Vec<u8>> {
        let text = if self.0.is_empty() {
            b"\"\"".to_vec()
        } else {
            self.show()
        };
        vec![[row.name.as_bytes(), b" ", &text].concat()]
    }
}

/// `maxmemory-clients`: bytes, or a share of `maxmemory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryOrPercent {
    /// Bytes; 0 is no limit.
    Bytes(u64),
    /// Percent of `maxmemory`, 1 to 100.
    Percent(u8),
}

impl MemoryOrPercent {
    /// The limit in bytes; `None` is no limit.
    pub fn limit(self, maxmemory: u64) -> Option<u64> {
        let bytes = match self {
            MemoryOrPercent::Bytes(bytes) => bytes,
            MemoryOrPercent::Percent(percent) => {
                (u128::from(maxmemory) * u128::from(percent) / 100) as u64
            }
        };
        (bytes != 0).then_some(bytes)
    }
}

impl Setting for MemoryOrPercent {
    fn assign(&mut self, _row: &Directive, args: &[Vec<u8>], _origin: Origin) -> Outcome {
        const BAD: &str = "argument must be a memory or percent value";
        let arg = single(args)?;
        *self = match arg.strip_suffix(b"%") {
            Some(number) => {
                let number = parse_i64(number).filter(|n| *n >= 0).ok_or(BAD)?;
                match u8::try_from(number) {
                    Ok(0) => MemoryOrPercent::Bytes(0),
                    Ok(percent) if percent <= 100 => MemoryOrPercent::Percent(percent),
                    _ => return Err("percentage argument must be less or equal to 100".into()),
                }
            }
            None => match parse_memory(arg).ok_or(BAD)? {
                // Redis keeps the value signed and reads a negative one as a share.
                bytes if (bytes as i64) < 0 => {
                    let percent = (bytes as i64).unsigned_abs();
                    match u8::try_from(percent) {
                        Ok(percent) if percent <= 100 => MemoryOrPercent::Percent(percent),
                        _ => {
                            return Err("percentage argument must be less or equal to 100".into());
                        }
                    }
                }
                bytes => MemoryOrPercent::Bytes(bytes),
            },
        };
        Ok(())
    }

    fn show(&self) -> Vec<u8> {
        match self {
            MemoryOrPercent::Bytes(bytes) => bytes.to_string().into_bytes(),
            MemoryOrPercent::Percent(percent) => format!("{percent}%").into_bytes(),
        }
    }

    fn lines(&self, row: &Directive) -> Vec<Vec<u8>> {
        let text = match self {
            MemoryOrPercent::Bytes(bytes) => memory_text(*bytes),
            MemoryOrPercent::Percent(percent) => format!("{percent}%"),
        };
        vec![format!("{} {text}", row.name).into_bytes()]
    }
}

/// `unixsocketperm`: permission bits, written in octal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OctalMode(pub u32);

impl Setting for OctalMode {
    fn assign(&mut self, _row: &Directive, args: &[Vec<u8>], _origin: Origin) -> Outcome {
        let arg = single(args)?;
        let text = String::from_utf8_lossy(arg);
        let mode = i64::from_str_radix(&text, 8)
            .map_err(|_| "argument couldn't be parsed as an octal number")?;
        match u32::try_from(mode) {
            Ok(mode) if mode <= 0o777 => self.0 = mode,
            _ => return Err("argument must be between 0 and 777 inclusive".into()),
        }
        Ok(())
    }

    fn show(&self) -> Vec<u8> {
        format!("{:o}", self.0).into_bytes()
    }
}

/// `shutdown-on-sigterm`, `shutdown-on-sigint`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownOptions {
    /// Save even without save points.
    pub save: bool,
    /// Do not save even with save points.
    pub nosave: bool,
    /// Do not wait for lagging replicas.
    pub now: bool,
    /// Ignore errors that would prevent the shutdown.
    pub force: bool,
}

impl Setting for ShutdownOptions {
    fn assign(&mut self, _row: &Directive, args: &[Vec<u8>], _origin: Origin) -> Outcome {
        const BAD: &str =
            "argument(s) must be one of the following: default, save, nosave, now, force";
        if args.is_empty() {
            return Err(BAD.into());
        }
        let mut options = ShutdownOptions::default();
        for arg in args {
            match arg.to_ascii_lowercase().as_slice() {
                b"default" => {}
                b"save" => options.save = true,
                b"nosave" => options.nosave = true,
                b"now" => options.now = true,
                b"force" => options.force = true,
                _ => {
                    return Err(BAD.into());
                }
            }
        }
        if options.save && options.nosave {
            return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".into());
        }
        *self = options;
        Ok(())
    }

    fn show(&self) -> Vec<u8> {
        let words = [
            (self.save, "save"),
            (self.nosave, "nosave"),
            (self.now, "now"),
            (self.force, "force"),
        ];
        let set: Vec<&str> = words
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, word)| *word)
            .collect();
        if set.is_empty() {
            b"default".to_vec()
        } else {
            set.join(" ").into_bytes()
        }
    }
}
