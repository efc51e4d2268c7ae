//! [`Host`] by the operating system.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

use mio::net::TcpListener;

use super::{jobs, listen, logging, startup};
use crate::config::{Config, Id};
use crate::engine::{Host, MemoryFacts, OpenFile, ProcessFacts, SaveError, SaveJob};
use crate::rdb::encode::Written;
use crate::sys::ticks::TickClock;
use crate::sys::{alloc, clock, crash, file, memory, process};

/// The operating system as the engine sees it.
#[derive(Default)]
pub struct OsHost {
    /// Listeners that a change of `port` or `bind` has opened, for the loop to take over.
    pub listeners: Option<Vec<TcpListener>>,
    /// Handles on the listeners in use.
    pub listening: Vec<socket2::Socket>,
    /// systemd is to be told how we are.
    pub under_systemd: bool,
    /// Highest memory use seen.
    peak: u64,
    ticks: TickClock,
}

impl OsHost {
    fn apply(&mut self, id: Id, config: &Config) -> Result<(), String> {
        match id {
            Id::port | Id::bind => {
                let text = match id {
                    Id::bind => "Failed to bind to specified addresses.",
                    _ => "Unable to listen on this port. Check server logs.",
                };
                let listeners =
                    listen::tcp(config, &self.listening).map_err(|_| text.to_string())?;
                self.listening = listen::handles(&listeners);
                self.listeners = Some(listeners);
                if config.set_proc_title {
                    startup::show_title(config);
                }
            }
            Id::loglevel | Id::logfile => {
                logging::configure(config.loglevel, config.logfile.path())
            }
            Id::maxclients => {
                let fit = logging::raise_file_limit(config.maxclients)?;
                if fit < config.maxclients {
                    return Err(format!(
                        "The operating system is not able to handle the specified number of clients, try with {fit}"
                    ));
                }
            }
            Id::dir => std::env::set_current_dir(config.dir.path())
                .map_err(|error| process::error_text(&error))?,
            Id::jemalloc_bg_thread => memory::set_background_thread(config.jemalloc_bg_thread),
            Id::proc_title_template => startup::show_title(config),
            Id::replicaof => startup::show_role(config),
            Id::crash_log_enabled => crash::catch(config.crash_log_enabled),
            Id::watchdog_period => crash::watchdog(config.watchdog_period.unsigned_abs()),
            Id::oom_score_adj | Id::oom_score_adj_values => startup::adjust_oom_score(config)?,
            _ => {}
        }
        Ok(())
    }
}

impl Host for OsHost {
    #[inline]
    fn monotonic_ns(&mut self) -> u64 {
        self.ticks.now_ns()
    }

    fn thread_cpu_ns(&mut self) -> u64 {
        clock::thread_cpu().as_nanos() as u64
    }

    fn unix_us(&mut self) -> i64 {
        clock::unix_us()
    }

    fn sleep_us(&mut self, us: u64) {
        std::thread::sleep(Duration::from_micros(us));
    }

    fn segfault(&mut self) {
        crash::segfault();
    }

    fn watchdog(&mut self, period_ms: u64) {
        crash::watchdog(period_ms);
    }

    fn used_memory(&mut self) -> usize {
        let used = alloc::used_memory();
        self.peak = self.peak.max(used);
        used as usize
    }

    fn memory(&mut self) -> MemoryFacts {
        let stats = memory::allocator_stats();
        let used = self.used_memory();
        MemoryFacts {
            used,
            peak: self.peak as usize,
            rss: memory::rss() as usize,
            allocated: stats.allocated as usize,
            active: stats.active as usize,
            resident: stats.resident as usize,
            retained: stats.retained as usize,
            system: memory::total_system_memory() as usize,
        }
    }

    fn tell_supervisor(&mut self, message: &str) {
        if self.under_systemd {
            startup::tell_systemd(message);
        }
    }

    fn purge_memory(&mut self) {
        memory::purge();
    }

    fn process(&mut self) -> ProcessFacts {
        let executable = std::env::current_exe()
            .map(|path| path.display().to_string())
            .unwrap_or_default();
        ProcessFacts {
            pid: std::process::id(),
            os: process::os_text(),
            multiplexing: "epoll",
            executable,
            tcp_listeners: self.listening.len(),
            supervised: process::supervisor().unwrap_or("no"),
            allocator: memory::allocator_name(),
            cpu_process: cpu(clock::CpuOf::Process),
            cpu_children: cpu(clock::CpuOf::Children),
            cpu_thread: cpu(clock::CpuOf::Thread),
        }
    }

    fn apply_config(&mut self, changed: &[Id], config: &Config) -> Result<(), (Id, String)> {
        for &id in changed {
            self.apply(id, config).map_err(|text| (id, text))?;
        }
        Ok(())
    }

    fn read_file(&mut self, path: &std::path::Path) -> Result<Option<Vec<u8>>, String> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(process::error_text(&error)),
        }
    }

    fn write_file(&mut self, path: &std::path::Path, bytes: &[u8]) -> Result<(), String> {
        file::replace(path, bytes).map_err(|error| process::error_text(&error))
    }

    fn save(&mut self, job: SaveJob) -> Result<Written, SaveError> {
        let temporary = format!("temp-{}.rdb", std::process::id());
        process::remove_when_interrupted(Some(&job.path.with_file_name(&temporary)));
        let result = jobs::write_snapshot(job, &temporary);
        process::remove_when_interrupted(None);
        result.map(|(written, _)| written)
    }

    fn open(&mut self, path: &std::path::Path) -> Result<Option<OpenFile>, String> {
        let opened = open(path)?;
        Ok(opened.map(|(file, bytes)| (Box::new(file) as Box<dyn Read>, bytes)))
    }

    fn entropy(&mut self) -> u64 {
        u64::from_ne_bytes(process::random_bytes())
    }
}

/// Opens a file and says how long it is.
pub fn open(path: &std::path::Path) -> Result<Option<(File, u64)>, String> {
    match File::open(path) {
        Ok(file) => {
            let bytes = file.metadata().map_or(0, |facts| facts.len());
            Ok(Some((file, bytes)))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(process::error_text(&error)),
    }
}

fn cpu(of: clock::CpuOf) -> (f64, f64) {
    let usage = clock::cpu_usage(of);
    (usage.system.as_secs_f64(), usage.user.as_secs_f64())
}
