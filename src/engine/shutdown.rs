//! A shutdown that was asked for and is carried out at the end of the round, so that no command runs
//! behind the final save.

use super::LinkId;
use crate::config::ShutdownOptions;

/// What was asked, and who waits for the answer.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// SAVE, NOSAVE, NOW, FORCE.
    pub options: ShutdownOptions,
    /// The log tells of it.
    pub announced: bool,
    /// Until when replicas may catch up first, monotonic milliseconds; set when the wait begins.
    pub deadline_ms: Option<u64>,
    /// Clients that wait in SHUTDOWN; they get a reply only if it fails.
    pub links: Vec<LinkId>,
}
