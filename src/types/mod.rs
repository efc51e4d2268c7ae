//! Values and their encodings; no protocol, no I/O.
