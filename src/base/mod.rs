//! What any program might need: numbers as text, glob, checksums, random numbers, hashing, time types.
