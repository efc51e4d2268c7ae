//! The mio loop, the slab of sockets, helper threads, start-up and shutdown.
