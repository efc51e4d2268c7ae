//! `Context`, `Args`, and one file per command family.
