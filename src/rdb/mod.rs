//! The RDB format: encode, decode, check.
