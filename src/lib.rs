//! Registers marketplace stores, imports orders exactly once, retries them in background jobs.

pub mod http;
pub mod logs;
