//! Counters, latency monitor, slow log.
#[derive(Default)]
pub struct Stats {
    pub keyspace_hits: u64,
    pub keyspace_misses: u64,
    pub expired_keys: u64,
    pub connections_received: u64,
    pub rejected_connections: u64,
    pub net_input_bytes: u64,
    pub net_output_bytes: u64,
    pub errors: Errors,
    pub slowlog: Slow,
    pub latency: Lat,
}
#[derive(Default)]
pub struct Errors;
impl Errors {
    pub fn count(&mut self, _c: &str) {}
}
#[derive(Default)]
pub struct Slow;
impl Slow {
    pub fn push<'a>(
        &mut self,
        _a: impl Iterator<Item = &'a [u8]>,
        _us: i64,
        _s: i64,
        _p: &str,
        _n: &[u8],
        _m: usize,
    ) {
    }
}
#[derive(Default)]
pub struct Lat;
impl Lat {
    pub fn add(&mut self, _e: &str, _s: i64, _ms: u32) {}
}
impl Stats {
    pub fn new() -> Self {
        Self::default()
    }
    pub fn size_commands(&mut self, _n: usize) {}
    pub fn command_done(&mut self, _i: usize, _ns: u64, _f: bool) {}
    pub fn command_rejected(&mut self, _i: usize) {}
    pub fn sample(&mut self, _n: u64, _u: usize) {}
}
