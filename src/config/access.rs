//! CONFIG GET and CONFIG SET.

use std::collections::HashSet;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, PathBuf};

use super::table::{
    Config, DENY_LOADING, DIRECTIVES, Effect, HIDDEN, IMMUTABLE, Id, MULTI_ARG, PROTECTED, find,
};
use super::value::{Origin, Text};
use crate::base::glob;

/// What CONFIG SET must know about its caller and the server.
#[derive(Clone, Copy, Debug, Default)]
pub struct SetContext {
    /// The client is connected through the loopback interface or a Unix socket.
    pub local_client: bool,
    /// A data set is being loaded.
    pub loading: bool,
}

/// Why CONFIG SET failed. `Display` is the error reply, its code included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetError {
    /// No such directive.
    Unknown(Vec<u8>),
    /// The value of this argument cannot be used.
    Failed {
        /// The directive.
        name: Vec<u8>,
        /// Why.
        reason: String,
    },
    /// Not while loading.
    Loading,
}

impl SetError {
    /// A failure to apply a directive: the shell's answer when, say, a port cannot be bound.
    pub fn apply(id: Id, reason: impl Into<String>) -> SetError {
        SetError::Failed {
            name: id.name().as_bytes().to_vec(),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetError::Unknown(name) => write!(
                f,
                "ERR Unknown option or number of arguments for CONFIG SET - '{}'",
                String::from_utf8_lossy(name)
            ),
            SetError::Failed { name, reason } => write!(
                f,
                "ERR CONFIG SET failed (possibly related to argument '{}') - {reason}",
                String::from_utf8_lossy(name)
            ),
            SetError::Loading => f.write_str("LOADING Redis is loading the dataset in memory"),
        }
    }
}

impl std::error::Error for SetError {}

/// What a successful [`Config::set`] changed.
#[derive(Debug)]
#[must_use = "apply the changes, or roll back"]
pub struct Change {
    /// The directives whose value is different now, in the order they were given, once each.
    pub ids: Vec<Id>,
    /// The configuration before.
    pub previous: Box<Config>,
}

impl Config {
    /// The value of a directive as CONFIG GET prints it.
    pub fn show(&self, id: Id) -> Vec<u8> {
        (id.row().get)(self).show()
    }

    /// Whether a directive has its default value.
    pub fn is_default(&self, id: Id) -> bool {
        self.show(id) == Config::default().show(id)
    }

    /// CONFIG GET: the names and values that any of the patterns matches. A name without wildcard
    /// is given back as it was written, and reaches hidden directives.
    pub fn get(&self, patterns: &[&[u8]]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut seen: HashSet<Vec<u8>> = HashSet::new();
        let mut add = |name: &[u8], id: Id| {
            if seen.insert(name.to_ascii_lowercase()) {
                found.push((name.to_vec(), self.show(id)));
            }
        };
        for pattern in patterns {
            if !pattern
                .iter()
                .any(|byte| matches!(byte, b'[' | b'*' | b'?'))
            {
                if let Some(row) = find(pattern) {
                    add(pattern, row.id);
                }
                continue;
            }
            for row in DIRECTIVES.iter().filter(|row| row.flags & HIDDEN == 0) {
                for name in [Some(row.name), row.alias].into_iter().flatten() {
                    if glob::matches(pattern, name.as_bytes(), true) {
                        add(name.as_bytes(), row.id);
                    }
                }
            }
        }
        found
    }

    /// CONFIG SET: all pairs or none.
    ///
    /// The caller applies what changed (listeners, limits, log level, …); where that fails it
    /// calls [`Config::roll_back`] and answers [`SetError::apply`].
    pub fn set(
        &mut self,
        pairs: &[(&[u8], &[u8])],
        context: SetContext,
    ) -> Result<Change, SetError> {
        let mut rows = Vec::with_capacity(pairs.len());
        let mut named: HashSet<&str> = HashSet::new();
        let mut denied = false;
        for (name, value) in pairs {
            let row = find(name).ok_or_else(|| SetError::Unknown(name.to_vec()))?;
            // As in Redis these errors carry the name as written, those of the values as known.
            let failed = |reason: &str| SetError::Failed {
                name: name.to_vec(),
                reason: reason.to_owned(),
            };
            let name = row.spelled(name);
            if row.flags & IMMUTABLE != 0 {
                return Err(failed("can't set immutable config"));
            }
            if row.flags & PROTECTED != 0
                && !self.enable_protected_configs.allows(context.local_client)
            {
                return Err(failed("can't set protected config"));
            }
            denied |= row.flags & DENY_LOADING != 0 && context.loading;
            if !named.insert(name) {
                return Err(failed("duplicate parameter"));
            }
            rows.push((row, name, *value));
        }
        if denied {
            return Err(SetError::Loading);
        }
        let previous = Box::new(self.clone());
        let mut ids: Vec<Id> = Vec::new();
        for (row, name, value) in rows {
            let args: Vec<Vec<u8>> = if row.flags & MULTI_ARG == 0 {
                vec![value.to_vec()]
            } else if value.is_empty() {
                Vec::new()
            } else {
                value
                    .split(|byte| *byte == b' ')
                    .map(<[u8]>::to_vec)
                    .collect()
            };
            let mut outcome = (row.get_mut)(self)
                .assign(row, &args, Origin::Command)
                .map_err(std::borrow::Cow::into_owned);
            if let Effect::Refused(why) = row.effect
                && !self.is_default(row.id)
            {
                outcome = outcome.and(Err(why.to_owned()));
            }
            if row.id == Id::dir {
                self.dir = absolute(&self.dir, &previous.dir);
            }
            if let Err(reason) = outcome {
                *self = *previous;
                return Err(SetError::Failed {
                    name: name.as_bytes().to_vec(),
                    reason,
                });
            }
            if !ids.contains(&row.id) {
                ids.push(row.id);
            }
        }
        ids.retain(|id| self.show(*id) != previous.show(*id));
        Ok(Change { ids, previous })
    }

    /// Undoes a [`Config::set`].
    pub fn roll_back(&mut self, change: Change) {
        *self = *change.previous;
    }
}

/// A directory by its absolute path, when `base` is the one in force; `.` and `..` are resolved by
/// name, without a look at the file system. No path stays none: there is no such directory.
fn absolute(dir: &Text, base: &Text) -> Text {
    if dir.get().is_none() {
        return dir.clone();
    }
    let mut path = PathBuf::new();
    for part in base.path().join(dir.path()).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => path.push(part),
        }
    }
    Text(path.into_os_string().into_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(config: &mut Config, pairs: &[(&str, &str)]) -> Result<Vec<Id>, String> {
        let pairs: Vec<(&[u8], &[u8])> = pairs
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        match config.set(&pairs, SetContext::default()) {
            Ok(change) => Ok(change.ids),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn set_is_all_or_nothing() {
        let mut config = Config::default();
        let error = set(&mut config, &[("maxmemory", "1gb"), ("hz", "x")]).unwrap_err();
        assert_eq!(
            error,
            "ERR CONFIG SET failed (possibly related to argument 'hz') - argument couldn't be \
             parsed into an integer"
        );
        assert_eq!(config.maxmemory, 0);
        let changed = set(&mut config, &[("maxmemory", "1gb"), ("hz", "10")]).unwrap();
        assert_eq!(changed, [Id::maxmemory]);
        assert_eq!(config.maxmemory, 1 << 30);
    }

    #[test]
    fn a_directory_is_shown_by_its_absolute_path() {
        let base = Text::from("/var/lib");
        for (dir, wanted) in [
            ("x", "/var/lib/x"),
            ("./", "/var/lib"),
            ("../a/", "/var/a"),
            ("/", "/"),
        ] {
            assert_eq!(
                absolute(&Text::from(dir), &base),
                Text::from(wanted),
                "{dir}"
            );
        }
    }

    #[test]
    fn a_change_can_be_rolled_back() {
        let mut config = Config::default();
        let change = config
            .set(&[(b"port", b"1")], SetContext::default())
            .unwrap();
        assert_eq!(config.port, 1);
        config.roll_back(change);
        assert_eq!(config.port, 6379);
    }

    #[test]
    fn get_knows_both_names_and_hides_the_hidden() {
        let config = Config::default();
        let names = |pattern: &str| -> Vec<String> {
            let found = config.get(&[pattern.as_bytes()]);
            found
                .into_iter()
                .map(|(name, _)| String::from_utf8(name).unwrap())
                .collect()
        };
        assert_eq!(names("repl*of"), ["replicaof"]);
        assert_eq!(names("SlaveOf"), ["SlaveOf"]);
        assert_eq!(
            names("min-*-to-write"),
            ["min-replicas-to-write", "min-slaves-to-write"]
        );
        assert!(names("watchdog*").is_empty());
        assert_eq!(names("watchdog-period"), ["watchdog-period"]);
    }

    #[test]
    fn a_directive_that_is_not_implemented_and_unsafe_to_ignore_is_refused() {
        let mut config = Config::default();
        assert!(set(&mut config, &[("tls-port", "1")]).is_err());
        assert_eq!(set(&mut config, &[("tls-port", "0")]), Ok(vec![]));
    }
}
