//! What can go wrong with a queue.

use redis::{ErrorKind, ServerErrorKind};

use crate::Job;

/// Why a queue could not do what it was asked.
///
/// The messages complete "failed to …".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// Redis did not answer, refused, or answered nonsense.
    #[error("use the Redis job queue: {0}")]
    Redis(#[from] redis::RedisError),
    /// SQLite refused.
    #[error("use the SQLite job queue: {0}")]
    Sqlite(#[from] sqlx::Error),
    /// The tables of the job queue could not be made.
    #[error("migrate the tables of the job queue: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// apalis-redis failed.
    #[error("run jobs from Redis: {0}")]
    ApalisRedis(#[from] apalis_redis::Error),
    /// apalis-sqlite failed.
    #[error("run jobs from SQLite: {0}")]
    ApalisSqlite(#[from] apalis_sqlite::Error),
    /// The queue holds as many waiting jobs as it may; the rest must stay a row for now.
    #[error("push to {queue}: it is full after {accepted} of {offered} jobs")]
    Full {
        /// The queue that is full.
        queue: &'static str,
        /// How many of the offered jobs, from the front, were taken.
        accepted: usize,
        /// How many were offered.
        offered: usize,
    },
    /// A job could not be written as JSON.
    #[error("encode a job: {0}")]
    Encode(#[from] serde_json::Error),
    /// A queue name that is not in [`crate::Queue::queues`].
    #[error("find a queue named {0}")]
    UnknownQueue(String),
    /// Something stored is not what this crate stores there.
    #[error("read {what}: {found:?}")]
    Unreadable {
        /// What was read.
        what: &'static str,
        /// What was found.
        found: String,
    },
    /// The options cannot work.
    #[error("open the job queue: {0}")]
    Options(&'static str),
}

impl QueueError {
    /// Whether Redis may be there by itself in a while: it is away, starts, is full or a replica.
    /// A wrong password or a missing right does not pass.
    pub fn passes(&self) -> bool {
        let Self::Redis(error) = self else {
            return false;
        };
        match error.kind() {
            ErrorKind::Server(kind) => matches!(
                kind,
                ServerErrorKind::BusyLoading
                    | ServerErrorKind::TryAgain
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::ReadOnly
            ),
            // Out of memory, cannot save, busy with a script.
            ErrorKind::Extension => matches!(error.code(), Some("OOM" | "MISCONF" | "BUSY")),
            ErrorKind::Io | ErrorKind::Parse => true,
            _ => false,
        }
    }

    pub(crate) fn full<J: Job>(accepted: usize, offered: usize) -> Self {
        Self::Full {
            queue: J::QUEUE,
            accepted,
            offered,
        }
    }
}
