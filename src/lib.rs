//! Registers marketplace stores, imports orders exactly once, retries them in background jobs.

pub mod clock;
pub mod http;
pub mod ids;
pub mod logs;
pub mod marketplace;
pub mod retry;
pub mod timestamp;
