//! What the apalis board shows: counts, queues, workers and tasks of both transports.
//!
//! apalis brings such numbers with each backend, but on Redis they fail after the first
//! finished job, and on either they forget a job once it is deleted. So [`Board`] asks the
//! transport itself, with reads that are bounded, and answers with apalis-core's types, which
//! are what the board's page parses.
//!
//! A job is, in both transports, exactly one of: *Pending* (waits for its turn), *Queued*
//! (fetched by a worker), *Running*, *Failed* (waits for another attempt, or is out of
//! attempts), *Done*, *Killed*. Finished jobs are deleted after a short while; the totals
//! that [`crate::Queue`] keeps of them are part of every count here. Lists can show only
//! what still exists.
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
