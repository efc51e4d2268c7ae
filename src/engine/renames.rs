//! Names by which `rename-command` lets commands be called instead of their own; none for most servers.

use super::CommandId;

/// What names mean beside, or instead of, what the command table says. They are few: a look-up compares them in turn,
/// without a copy of the name.
#[derive(Default)]
pub struct Renames {
    meanings: Vec<(Vec<u8>, Option<CommandId>)>,
}

impl Renames {
    /// Whether nothing is renamed.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.meanings.is_empty()
    }

    /// Lets a name mean a command, or none unless it means one already.
    pub fn name(&mut self, name: &[u8], command: Option<CommandId>) {
        match self
            .meanings
            .iter_mut()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
        {
            Some((_, meaning)) => *meaning = command.or(*meaning),
            None => self.meanings.push((name.to_ascii_lowercase(), command)),
        }
    }

    /// What a name means: `None` when the renames say nothing about it, `Some(None)` when it means nothing.
    pub fn meaning(&self, name: &[u8]) -> Option<Option<CommandId>> {
        let mut meanings = self.meanings.iter();
        meanings
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, meaning)| *meaning)
    }

    /// A command's new name, in lower case, if it has one.
    pub fn new_name(&self, command: CommandId) -> Option<&[u8]> {
        let mut meanings = self.meanings.iter();
        let found = meanings.find(|(_, meaning)| *meaning == Some(command));
        found.map(|(name, _)| name.as_slice())
    }
}
