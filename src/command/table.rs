//! Look-up of commands by name. Built once for the process from [`FAMILIES`](super::FAMILIES).

use std::sync::OnceLock;

use super::{Command, FAMILIES};
use crate::engine::{CommandId, Renames};

/// Longest command name.
const NAME_BYTES_MAX: usize = 32;

/// A row with its place in the table.
#[derive(Debug)]
pub struct Registered {
    /// The row.
    pub command: &'static Command,
    /// Index into [`CommandTable::all`] and the statistics.
    pub id: CommandId,
    /// "get", "client|id".
    pub full_name: String,
    /// The container, of a subcommand.
    pub parent: Option<CommandId>,
    /// Its subcommands.
    pub subcommands: Vec<CommandId>,
}

/// All commands.
pub struct CommandTable {
    all: Vec<Registered>,
    /// Open addressing on (length, first and last bytes); `u16::MAX` is empty. Length a power of two.
    slots: Vec<CommandId>,
}

/// The table of the process.
pub fn table() -> &'static CommandTable {
    static TABLE: OnceLock<CommandTable> = OnceLock::new();
    TABLE.get_or_init(CommandTable::new)
}

impl CommandTable {
    fn new() -> CommandTable {
        let mut all = Vec::new();
        for command in FAMILIES.iter().copied().flatten() {
            register(&mut all, command);
        }
        let mut table = CommandTable {
            slots: vec![CommandId::MAX; (all.len() * 4).next_power_of_two()],
            all,
        };
        for id in 0..table.all.len() {
            let entry = &table.all[id];
            if entry.parent.is_none() {
                let mut slot = table.slot_of(entry.command.name.as_bytes());
                while table.slots[slot] != CommandId::MAX {
                    slot = (slot + 1) & (table.slots.len() - 1);
                }
                table.slots[slot] = id as CommandId;
            }
        }
        table
    }

    /// All commands and subcommands by id.
    pub fn all(&self) -> &[Registered] {
        &self.all
    }

    /// The row with this id. Panics when there is none.
    #[inline]
    pub fn get(&self, id: CommandId) -> &Registered {
        &self.all[id as usize]
    }

    /// Top-level commands.
    pub fn top(&self) -> impl Iterator<Item = &Registered> {
        self.all.iter().filter(|entry| entry.parent.is_none())
    }

    /// A top-level command by name in any case.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<&Registered> {
        if name.len() > NAME_BYTES_MAX {
            return None;
        }
        let mut slot = self.slot_of(name);
        loop {
            let id = self.slots[slot];
            if id == CommandId::MAX {
                return None;
            }
            let entry = &self.all[id as usize];
            if entry.command.name.as_bytes().eq_ignore_ascii_case(name) {
                return Some(entry);
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    /// A top-level command by the name that it has under `rename-command`.
    #[inline]
    pub fn find_as(&self, renames: &Renames, name: &[u8]) -> Option<&Registered> {
        if renames.is_empty() {
            return self.find(name);
        }
        match renames.meaning(name) {
            Some(id) => id.map(|id| self.get(id)),
            None => self.find(name),
        }
    }

    /// The name by which a command is called, in upper case.
    pub fn shown_name(&self, renames: &Renames, entry: &Registered) -> String {
        match renames.new_name(entry.id) {
            Some(name) => String::from_utf8_lossy(name).to_uppercase(),
            None => entry.command.name.to_uppercase(),
        }
    }

    /// Whether a command can be called under `rename-command`, by whatever name.
    pub fn is_callable(&self, renames: &Renames, entry: &Registered) -> bool {
        let top = entry.parent.map_or(entry, |id| self.get(id));
        let own_name = top.command.name.as_bytes();
        renames.is_empty()
            || renames
                .meaning(own_name)
                .is_none_or(|id| id == Some(top.id))
            || renames.new_name(top.id).is_some()
    }

    /// A subcommand of `container` by name in any case.
    pub fn find_sub(&self, container: &Registered, name: &[u8]) -> Option<&Registered> {
        container
            .subcommands
            .iter()
            .map(|&id| self.get(id))
            .find(|entry| entry.command.name.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Looks up "get" or "client|id", as ACL and COMMAND INFO name commands; what stands before the bar can be a new
    /// name.
    pub fn find_full(&self, renames: &Renames, name: &[u8]) -> Option<&Registered> {
        match name.iter().position(|&b| b == b'|') {
            None => self.find_as(renames, name),
            Some(bar) => self.find_sub(self.find_as(renames, &name[..bar])?, &name[bar + 1..]),
        }
    }

    #[inline]
    fn slot_of(&self, name: &[u8]) -> usize {
        // Bit 5 is the case of an ASCII letter.
        let first = *name.first().unwrap_or(&0) as usize | 0x20;
        let last = *name.last().unwrap_or(&0) as usize | 0x20;
        let middle = *name.get(name.len() / 2).unwrap_or(&0) as usize | 0x20;
        let mixed = first
            .wrapping_mul(0x9E37)
            .wrapping_add(last.wrapping_mul(0x79B1))
            .wrapping_add(middle.wrapping_mul(0x1F35))
            .wrapping_add(name.len().wrapping_mul(0x5851));
        (mixed ^ (mixed >> 7)) & (self.slots.len() - 1)
    }
}

fn register(all: &mut Vec<Registered>, command: &'static Command) {
    let id = all.len() as CommandId;
    all.push(Registered {
        command,
        id,
        full_name: command.name.to_string(),
        parent: None,
        subcommands: Vec::new(),
    });
    for sub in command.subcommands {
        let sub_id = all.len() as CommandId;
        let full_name = format!("{}|{}", command.name, sub.name);
        all.push(Registered {
            command: sub,
            id: sub_id,
            full_name,
            parent: Some(id),
            subcommands: Vec::new(),
        });
        all[id as usize].subcommands.push(sub_id);
    }
}

/// Gives `command` the name `to` instead of its own; an empty `to` removes it.
/// Errs when there is no such command or the new name is taken.
pub fn rename(renames: &mut Renames, command: &[u8], to: &[u8]) -> Result<(), &'static str> {
    let Some(entry) = table().find(command) else {
        return Err("No such command in rename-command");
    };
    if !to.is_empty() {
        if table().find_as(renames, to).is_some() {
            return Err("Target command name already exists");
        }
        renames.name(to, Some(entry.id));
    }
    renames.name(command, None);
    Ok(())
}
