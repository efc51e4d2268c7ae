//! What needs the operating system or unsafe: signals, fsync, daemonise, affinity, limits, memory statistics.
