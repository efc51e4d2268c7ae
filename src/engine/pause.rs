//! Pauses: which commands wait, and until when. Each cause has its own pause, so that CLIENT UNPAUSE does not
//! end the one of a failover or a shutdown; what is in force is the strictest of them.

/// What a pause holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PauseKind {
    /// Commands that write or may propagate.
    Write,
    /// All commands.
    All,
}

/// Why there is a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseCause {
    /// CLIENT PAUSE.
    Client,
    /// A shutdown waits for replicas.
    Shutdown,
    /// FAILOVER.
    Failover,
}

const CAUSES: usize = 3;

/// The pauses in force.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pause {
    /// By cause: what is held back, and until when (monotonic milliseconds).
    by_cause: [Option<(PauseKind, u64)>; CAUSES],
}

impl Pause {
    /// Starts or prolongs the pause of a cause: the stricter kind and the later end win.
    pub fn start(&mut self, cause: PauseCause, kind: PauseKind, until_ms: u64) {
        let current = &mut self.by_cause[cause as usize];
        *current = Some(match *current {
            None => (kind, until_ms),
            Some((old_kind, old_until)) => (kind.max(old_kind), until_ms.max(old_until)),
        });
    }

    /// Ends the pause of a cause.
    pub fn end(&mut self, cause: PauseCause) {
        self.by_cause[cause as usize] = None;
    }

    /// Ends pauses whose time has passed; true when there was one.
    pub fn end_passed(&mut self, now_ms: u64) -> bool {
        let mut any = false;
        for current in &mut self.by_cause {
            any |= current.take_if(|(_, until)| *until <= now_ms).is_some();
        }
        any
    }

    /// Whether a pause was started and not yet ended, even if its time has passed.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.by_cause.iter().any(Option::is_some)
    }

    /// When the next one ends, monotonic milliseconds.
    pub fn until_ms(&self) -> Option<u64> {
        self.by_cause
            .iter()
            .flatten()
            .map(|&(_, until)| until)
            .min()
    }

    /// What is held back at this instant.
    pub fn kind(&self, now_ms: u64) -> Option<PauseKind> {
        let current = self.by_cause.iter().flatten();
        current
            .filter(|&&(_, until)| until > now_ms)
            .map(|&(kind, _)| kind)
            .max()
    }

    /// Whether expiry is held back: during any pause, so that replicas stay equal.
    #[inline]
    pub fn stops_expiry(&self, now_ms: u64) -> bool {
        self.is_set() && self.kind(now_ms).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strictest_of_all_causes_holds() {
        let mut pause = Pause::default();
        pause.start(PauseCause::Failover, PauseKind::Write, u64::MAX);
        pause.start(PauseCause::Client, PauseKind::All, 100);
        assert_eq!(pause.kind(99), Some(PauseKind::All));
        assert_eq!(pause.kind(100), Some(PauseKind::Write));
        assert_eq!(pause.until_ms(), Some(100));
        assert!(pause.end_passed(100) && !pause.end_passed(100));
        pause.end(PauseCause::Client);
        assert_eq!(pause.kind(100), Some(PauseKind::Write));
        pause.end(PauseCause::Failover);
        assert!(!pause.is_set() && !pause.stops_expiry(0));
    }

    #[test]
    fn a_pause_is_only_prolonged() {
        let mut pause = Pause::default();
        pause.start(PauseCause::Client, PauseKind::All, 100);
        pause.start(PauseCause::Client, PauseKind::Write, 50);
        assert_eq!(pause.kind(99), Some(PauseKind::All));
    }
}
