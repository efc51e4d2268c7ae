//! What needs the operating system or unsafe code.
//!
//! | file | what |
//! |---|---|
//! | `alloc` | the global allocator and `used_memory` |
//! | `memory` | resident size, the allocator's statistics |
//! | `clock` | clocks, processor time |
//! | `ticks` | the clock that is read for every command |
//! | `cpu` | affinity, priorities |
//! | `crash` | fatal signals, stack traces, the watchdog's timer |
//! | `symbols` | names of functions by address |
//! | `window` | what the loop shows to a crash report |
//! | `process` | signals, daemonising, pid file, systemd, file limit, names |
//! | `socket` | receiving into memory that was not cleared |
//! | `popcount` | counting bits by the processor's instructions |
//! | `syslog` | the system's log |
//! | `title` | the title that `ps` shows |
//! | `file` | syncing and replacing files |

pub mod alloc;
pub mod clock;
pub mod cpu;
pub mod crash;
pub mod file;
pub mod memory;
pub mod popcount;
pub mod process;
pub mod socket;
pub mod symbols;
pub mod syslog;
pub mod ticks;
pub mod title;
pub mod window;
