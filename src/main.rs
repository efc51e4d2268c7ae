//! The `redoxide-server` binary.

fn main() {}
