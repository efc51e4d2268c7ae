//! Incremental RESP2/RESP3 request parser and reply writer.
