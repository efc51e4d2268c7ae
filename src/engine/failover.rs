//! FAILOVER: a master hands over to one of its replicas without losing a write.
//!
//! 1. Writes are paused, and replicas asked for their offsets.
//! 2. When the target (or any replica, without one) has acknowledged all of the stream, or the
//!    timeout is over and FORCE was given, we become its replica; our PSYNC tells it to take over.
//! 3. It promotes itself and answers `+CONTINUE`: done. If it refuses, we are the master again.
//!
//! Source: the documentation of FAILOVER and the replies of redis-server 8.0.

use super::{Engine, Host, PauseCause, PauseKind};
use crate::replication::source::State;

/// A failover under way.
#[derive(Clone, Debug)]
pub struct Failover {
    /// The replica that was named, or that we hand over to.
    pub target: Option<(String, u16)>,
    /// Hand over after the timeout even to a replica that is behind.
    pub force: bool,
    /// When the wait is over, monotonic milliseconds.
    pub deadline_ms: Option<u64>,
    /// We are a replica already, the new master's answer is awaited.
    handing_over: bool,
}

impl Failover {
    /// One that waits for the target to catch up.
    pub fn new(target: Option<(String, u16)>, force: bool, deadline_ms: Option<u64>) -> Failover {
        Failover {
            target,
            force,
            deadline_ms,
            handing_over: false,
        }
    }
}

impl Engine {
    /// INFO's `master_failover_state`.
    pub fn failover_state(&self) -> &'static str {
        match &self.failover {
            None => "no-failover",
            Some(failover) if failover.handing_over => "failover-in-progress",
            Some(_) => "waiting-for-sync",
        }
    }

    /// Whether the new master must be told to take over.
    pub(super) fn is_handing_over(&self) -> bool {
        self.failover
            .as_ref()
            .is_some_and(|failover| failover.handing_over)
    }

    /// Begins one. The command has checked that it can be done.
    pub fn start_failover(&mut self, failover: Failover) {
        assert!(self.failover.is_none(), "one failover at a time");
        match &failover.target {
            Some((host, port)) => log::info!("FAILOVER requested to {host}:{port}."),
            None => log::info!("FAILOVER requested to any replica."),
        }
        self.failover = Some(failover);
        self.pause
            .start(PauseCause::Failover, PauseKind::Write, u64::MAX);
        self.replication.request_acks();
    }

    /// Gives it up: we are, or become again, the master.
    pub fn abort_failover(&mut self, why: &str, host: &mut dyn Host) {
        let Some(failover) = self.failover.take() else {
            return;
        };
        match &failover.target {
            Some((name, port)) => log::info!("FAILOVER to {name}:{port} aborted: {why}"),
            None => log::info!("FAILOVER to any replica aborted: {why}"),
        }
        if failover.handing_over {
            self.promote(host);
        }
        self.end_pause(PauseCause::Failover);
    }

    /// Takes the next step when its time has come; returns when to look again, monotonic
    /// milliseconds.
    pub(crate) fn run_failover(&mut self, host: &mut dyn Host) -> Option<u64> {
        let failover = self.failover.as_ref()?;
        if failover.handing_over {
            let (done, refused) = match &self.replication.master {
                Some(master) => (
                    master.is_up() || master.is_syncing(),
                    master.refused_failover(),
                ),
                None => (false, true),
            };
            if done {
                log::info!("Failover complete: the new master has taken over.");
                self.failover = None;
                self.end_pause(PauseCause::Failover);
            } else if refused {
                self.abort_failover("Failover target rejected psync request", host);
            }
            return None;
        }
        let offset = self.replication.stream.offset();
        let target = failover.target.as_ref();
        let fits = |ip: &str, port: u16| target.is_none_or(|(host, to)| host == ip && *to == port);
        let ready = self.replication.source.replicas().iter().find(|replica| {
            replica.state == State::Online
                && replica.ack_offset == offset
                && fits(&replica.ip(), replica.announced.port)
        });
        if let Some(replica) = ready {
            let (name, port) = (replica.ip().into_owned(), replica.announced.port);
            log::info!("Failover target {name}:{port} is synced, failing over.");
            self.hand_over(&name, port, host);
            return None;
        }
        let deadline_ms = failover.deadline_ms?;
        if self.clock.mono_ms() < deadline_ms {
            return Some(deadline_ms);
        }
        match (failover.force, failover.target.clone()) {
            (true, Some((name, port))) => {
                log::info!("FAILOVER to {name}:{port} time out exceeded, failing over.");
                self.hand_over(&name, port, host);
            }
            (true, None) | (false, _) => {
                self.abort_failover("Replica never caught up before timeout", host);
            }
        }
        None
    }

    fn hand_over(&mut self, name: &str, port: u16, host: &mut dyn Host) {
        if let Some(failover) = &mut self.failover {
            failover.handing_over = true;
            failover.target = Some((name.to_owned(), port));
        }
        self.follow(name, port, host);
    }
}
