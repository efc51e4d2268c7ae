//! The directive table, the redis.conf syntax, CONFIG GET/SET/REWRITE.
