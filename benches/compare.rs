//! Compares this server with its peers.

fn main() {}
