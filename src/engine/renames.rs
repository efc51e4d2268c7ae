//! Names by which `rename-command` lets commands be called instead of their own; none for most servers.

use std::collections::HashMap;

use super::CommandId;

/// What names mean beside, or instead of, what the command table says. Names are kept in lower case.
#[derive(Default)]
pub struct Renames {
    by_name: HashMap<Vec<u8>, Option<CommandId>>,
}

impl Renames {
    /// Whether nothing is renamed.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Lets a name mean a command, or none unless it means one already.
    pub fn name(&mut self, name: &[u8], command: Option<CommandId>) {
        let place = self.by_name.entry(name.to_ascii_lowercase()).or_default();
        *place = command.or(*place);
    }

    /// What a name means: `None` when the renames say nothing about it, `Some(None)` when it means nothing.
    pub fn meaning(&self, name: &[u8]) -> Option<Option<CommandId>> {
        self.by_name.get(&name.to_ascii_lowercase()).copied()
    }

    /// A command's new name, if it has one.
    pub fn new_name(&self, command: CommandId) -> Option<&[u8]> {
        let mut names = self.by_name.iter();
        let found = names.find(|(_, meaning)| **meaning == Some(command));
        found.map(|(name, _)| name.as_slice())
    }
}
