//! CLIENT PAUSE: which commands wait, and until when.

/// What a pause holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PauseKind {
    /// Commands that write or may propagate.
    Write,
    /// All commands.
    All,
}

/// The pause in force, if any.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pause {
    current: Option<(PauseKind, u64)>,
}

impl Pause {
    /// Starts or prolongs a pause: the stricter kind and the later end win.
    pub fn start(&mut self, kind: PauseKind, until_ms: u64) {
        self.current = Some(match self.current {
            None => (kind, until_ms),
            Some((old_kind, old_until)) => (kind.max(old_kind), until_ms.max(old_until)),
        });
    }

    /// Ends it.
    pub fn end(&mut self) {
        self.current = None;
    }

    /// Whether a pause was started and not yet ended, even if its time has passed.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.current.is_some()
    }

    /// When it ends, monotonic milliseconds.
    pub fn until_ms(&self) -> Option<u64> {
        self.current.map(|(_, until)| until)
    }

    /// What it holds back at this instant.
    pub fn kind(&self, now_ms: u64) -> Option<PauseKind> {
        self.current
            .filter(|&(_, until)| until > now_ms)
            .map(|(kind, _)| kind)
    }

    /// Whether expiry is held back: during any pause, so that replicas stay equal.
    #[inline]
    pub fn stops_expiry(&self, now_ms: u64) -> bool {
        self.kind(now_ms).is_some()
    }
}
