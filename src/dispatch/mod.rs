//! The machine's entry: look-up, guards, call, MULTI, propagation, cron.
