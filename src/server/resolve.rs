//! Names of targets, looked up by a helper thread: the system's resolver may take as long as it likes.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use mio::Waker;

use super::helper::Helper;

/// An address for the migration with this number; none when the host has no more of them.
pub type Resolved = (u64, Option<SocketAddr>);

/// The thread that looks names up, from the first name on, and its answers.
pub struct Resolver {
    helper: Option<Helper>,
    waker: Arc<Waker>,
    sender: Sender<Resolved>,
    answers: Receiver<Resolved>,
    /// Questions whose answers were not taken: without any, a round does not look.
    unanswered: usize,
}

impl Resolver {
    /// Wakes the loop by `waker` when there is an answer.
    pub fn new(waker: Arc<Waker>) -> Resolver {
        let (sender, answers) = channel();
        Resolver {
            helper: None,
            waker,
            sender,
            answers,
            unanswered: 0,
        }
    }

    /// Asks for the address of a host that comes after `attempt` others.
    pub fn ask(&mut self, number: u64, host: String, port: u16, attempt: usize) {
        self.unanswered += 1;
        if let Ok(ip) = host.parse::<IpAddr>() {
            let address = (attempt == 0).then(|| SocketAddr::new(ip, port));
            return self.answer(number, address);
        }
        let (sender, waker) = (self.sender.clone(), Arc::clone(&self.waker));
        let helper = self.helper.get_or_insert_with(|| Helper::start("resolve"));
        let asked = helper.run(move || {
            let found = (host.as_str(), port).to_socket_addrs();
            let address = found.ok().and_then(|mut found| found.nth(attempt));
            let _ = sender.send((number, address));
            let _ = waker.wake();
        });
        if !asked {
            self.answer(number, None);
        }
    }

    fn answer(&self, number: u64, address: Option<SocketAddr>) {
        let _ = self.sender.send((number, address));
    }

    /// The next answer, if there is one.
    pub fn next(&mut self) -> Option<Resolved> {
        if self.unanswered == 0 {
            return None;
        }
        let answer = self.answers.try_recv().ok()?;
        self.unanswered -= 1;
        Some(answer)
    }
}
