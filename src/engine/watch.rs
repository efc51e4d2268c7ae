//! WATCH: which clients watch which keys.
//!
//! Invariant: a (db, key) is present only while at least one client watches it.

use std::collections::HashMap;

use super::LinkId;

/// One watched key of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Watch {
    db: usize,
    key: Box<[u8]>,
    /// The key was due already when the watch began: its deletion is no change.
    was_due: bool,
}

/// All watches.
#[derive(Default)]
pub struct Watched {
    by_key: HashMap<(usize, Box<[u8]>), Vec<LinkId>>,
    by_client: HashMap<LinkId, Vec<Watch>>,
    /// Running clients whose watches were hit: their flags are out of reach.
    spoiled: Vec<LinkId>,
}

impl Watched {
    /// Whether nobody watches anything.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Adds a watch, once a client and key.
    pub fn watch(&mut self, link: LinkId, db: usize, key: &[u8], was_due: bool) {
        let watches = self.by_client.entry(link).or_default();
        if watches
            .iter()
            .any(|watch| watch.db == db && *watch.key == *key)
        {
            return;
        }
        watches.push(Watch {
            db,
            key: key.into(),
            was_due,
        });
        self.by_key.entry((db, key.into())).or_default().push(link);
    }

    /// Drops all watches of a client.
    pub fn unwatch_all(&mut self, link: LinkId) {
        for watch in self.by_client.remove(&link).unwrap_or_default() {
            let place = (watch.db, watch.key);
            if let Some(links) = self.by_key.get_mut(&place) {
                links.retain(|&other| other != link);
                if links.is_empty() {
                    self.by_key.remove(&place);
                }
            }
        }
    }

    /// The clients that watch a key.
    pub fn clients_of(&self, db: usize, key: &[u8]) -> Vec<LinkId> {
        // A tuple key cannot be looked up by its borrowed parts; watches are few and this is off the hot path.
        self.by_key
            .get(&(db, Box::from(key)))
            .cloned()
            .unwrap_or_default()
    }

    /// The watches of a client: (db, key, was due when watched).
    pub fn of_client(&self, link: LinkId) -> impl Iterator<Item = (usize, &[u8], bool)> {
        self.by_client
            .get(&link)
            .into_iter()
            .flatten()
            .map(|w| (w.db, &*w.key, w.was_due))
    }

    /// Number of keys a client watches.
    pub fn count_of(&self, link: LinkId) -> usize {
        self.by_client.get(&link).map_or(0, Vec::len)
    }

    /// Number of watched keys, of all clients (INFO watched_keys counts each once).
    pub fn keys(&self) -> usize {
        self.by_key.len()
    }

    /// Number of clients that watch something.
    pub fn clients(&self) -> usize {
        self.by_client.len()
    }

    /// All watched places: (db, key, clients). For FLUSHALL and SWAPDB.
    pub fn places(&self) -> impl Iterator<Item = (usize, &[u8], &[LinkId])> {
        self.by_key
            .iter()
            .map(|((db, key), links)| (*db, &**key, &**links))
    }

    /// Whether a key was due when this client began to watch it; forgets it.
    pub fn take_due(&mut self, link: LinkId, db: usize, key: &[u8]) -> bool {
        let mut watches = self.by_client.get_mut(&link).into_iter().flatten();
        watches
            .find(|watch| watch.db == db && *watch.key == *key)
            .is_some_and(|watch| std::mem::take(&mut watch.was_due))
    }

    /// Notes that a key is due, as if it had been when this client began to watch it; true if it watches it.
    pub fn set_due(&mut self, link: LinkId, db: usize, key: &[u8]) -> bool {
        let mut watches = self.by_client.get_mut(&link).into_iter().flatten();
        let watch = watches.find(|watch| watch.db == db && *watch.key == *key);
        watch.map(|watch| watch.was_due = true).is_some()
    }

    /// Whether a key was due when this client began to watch it.
    pub fn was_due(&self, link: LinkId, db: usize, key: &[u8]) -> bool {
        self.of_client(link)
            .any(|(watched_db, watched, was_due)| was_due && watched_db == db && watched == key)
    }

    /// Notes that a watch of a running client was hit.
    pub fn spoil_running(&mut self, link: LinkId) {
        self.spoiled.push(link);
    }

    /// Whether a watch of this client was hit while it ran, since the last call.
    #[inline]
    pub fn take_spoiled(&mut self, link: LinkId) -> bool {
        !self.spoiled.is_empty() && self.forget_spoiled(link)
    }

    #[cold]
    fn forget_spoiled(&mut self, link: LinkId) -> bool {
        let count = self.spoiled.len();
        self.spoiled.retain(|&other| other != link);
        self.spoiled.len() != count
    }
}
