//! The queue: apalis 1.0 over Redis or SQLite, made safe.
//!
//! [`Queue`] is one transport and all its queues. It promises: a push is atomic and bounded, a
//! job is run at least once as long as the transport keeps its data, a failed job is kept for
//! inspection and never run again, a worker survives any failure of its transport, and what
//! a dead process had taken is handed out again after [`QueueOptions::dead_after`]. It leaves
//! deduplication, retries and exactly-once effects to the rows behind the jobs.
//!
//! apalis runs the jobs, but not as it comes. Each trap, what it would do, and what hides it:
//!
//! | trap of apalis 1.0.0 | hidden by |
//! |---|---|
//! | Redis: a fetch moves all due jobs with one Lua `unpack`; 8,000 of them stop the queue for good | pushes go straight to the list of active jobs and are bounded atomically; a starting worker spreads what others scheduled (`lua/prepare.lua`) |
//! | Redis: `max_attempts` is ignored, a failed job comes back up to 25 times; SQLite: `Failed` is fetched again | a failure is an `AbortError`, which ends as `Killed` on both |
//! | Redis: done ids, data and worker entries are never removed; `vacuum` deletes waiting jobs | [`Queue::purge_finished`] |
//! | Redis: a connection that stays open and carries nothing is never replaced | `redis_connection.rs` |
//! | Redis: a worker name is refused for minutes after a restart | a name a worker and start |
//! | SQLite: `setup()` takes over the migrations table and sets `synchronous = OFF` | migrations under a table of their own (`migrate.rs`) |
//! | SQLite: an acknowledgement scans all rows with the same `lock_by` | the index that misleads the planner is dropped |
//! | both: locking a fetched job is a step of its own that scans all jobs that wait | a fetched job is a running one (`redis_storage.rs`, `sqlite_storage.rs`) |
//! | Redis: an id without data or metadata fails every fetch | a fetch drops it (`lua/fetch.lua`) |
//! | SQLite: a taken idempotency key stays taken | none is set |
//! | both: no heartbeat while a fetched batch is buffered | a fetch takes no more than can start at once |
//! | both: an idle worker looks every 30 s | wake-up by the pusher and a cheap look every [`QueueOptions::poll`] |
//! | both: any backend error, and any job that does not decode, ends the worker | restart with backoff; decoding is the handler's first step |
//! | both: at shutdown nothing drives heartbeat, acknowledgements and the fetch in flight until the running jobs end; on a pool of one connection that is a deadlock, and so are more acknowledgements than their channel holds | `Feed` drains first and stops the worker then |
//! | both: a fetch in flight at shutdown keeps its job until the orphan time-out | it is handed back |
//! | both: a panic passes the layer that sets the status | panics are caught inside it |

mod error;
mod feed;
mod handle;
mod migrate;
mod options;
mod redis;
mod redis_connection;
mod redis_storage;
mod running;
mod sqlite;
mod sqlite_storage;
mod transport;
mod worker;

pub use error::QueueError;
pub use handle::Queue;
pub use options::QueueOptions;
pub(crate) use redis::RedisTransport;
pub(crate) use sqlite::SqliteTransport;
pub(crate) use transport::Transport;
pub(crate) use worker::panic_message;
