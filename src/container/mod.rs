//! Copy-on-write containers: the epoch domain, `CowTable`, `CowTree`.
