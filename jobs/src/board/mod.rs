//! What the apalis board shows: counts, queues, workers and tasks of both transports.
//!
//! apalis brings such numbers with each backend, but on Redis they fail after the first
//! finished job, and on either they forget a job once it is deleted. So [`Board`] asks the
//! transport itself, with reads that are bounded, and answers with apalis-core's types, which
//! are what the board's page parses.
//!
//! A job is exactly one of: *Pending* (waits for its turn), *Queued* (fetched by a worker),
//! *Running*, *Done* or *Failed*. A failed job is what apalis calls killed (see
//! [`crate::queue`]); the board's tab for those stays empty. Finished jobs are deleted after a
//! while, and the totals that are kept of them are part of every count here. Lists show what
//! still exists.
//!
//! Nothing here changes anything.

mod numbers;
mod redis;
mod sqlite;
mod task;
mod view;

pub use apalis_core::{
    backend::{QueueInfo, RunningWorker, StatType, Statistic},
    task::{Task, status::Status},
};
pub use view::{Board, BoardError, TaskFilter};
