//! How a queue behaves.

use std::time::Duration;

use super::QueueError;

/// How a queue behaves; the defaults are right for production.
#[derive(Debug, Clone)]
pub struct QueueOptions {
    /// Stands before every Redis key and queue name; lets several installations (or tests)
    /// share one Redis.
    pub prefix: String,
    /// How many jobs may wait in a queue; the rest waits as rows. Must stay well below 8,000.
    pub max_depth: usize,
    /// About how many jobs of a queue a purge leaves for the board, of those that ended well and
    /// of those that failed, however young they are.
    pub max_finished: u64,
    /// How often a worker says that it lives; at least one second.
    pub heartbeat: Duration,
    /// After how long a silence a worker is dead and its jobs are handed out again; at least
    /// two seconds more than `heartbeat`, because both transports count whole seconds.
    pub dead_after: Duration,
    /// How often an idle worker looks for jobs that another process pushed.
    pub poll: Duration,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            max_depth: 2_000,
            max_finished: 10_000,
            heartbeat: Duration::from_secs(10),
            dead_after: Duration::from_secs(30),
            poll: Duration::from_millis(50),
        }
    }
}

impl QueueOptions {
    pub(crate) fn prefixed(&self, queue: &str) -> String {
        format!("{}{queue}", self.prefix)
    }

    pub(crate) fn missed_heartbeats(&self) -> usize {
        let heartbeats = self
            .dead_after
            .as_millis()
            .div_ceil(self.heartbeat.as_millis().max(1));
        usize::try_from(heartbeats).unwrap_or(usize::MAX)
    }

    /// `dead_after`, rounded up to whole heartbeats: what apalis counts.
    pub(crate) fn orphaned_after(&self) -> Duration {
        self.heartbeat * u32::try_from(self.missed_heartbeats()).unwrap_or(u32::MAX)
    }

    pub(crate) fn check(&self) -> Result<(), QueueError> {
        if self.heartbeat < Duration::from_secs(1) {
            return Err(QueueError::Options("a heartbeat takes at least a second"));
        }
        if self.dead_after < self.heartbeat + Duration::from_secs(2) {
            return Err(QueueError::Options(
                "a worker is dead at least two seconds after a missed heartbeat",
            ));
        }
        if self.poll < Duration::from_millis(1) {
            return Err(QueueError::Options(
                "an idle worker looks at most every millisecond",
            ));
        }
        if self.max_depth > 6_000 {
            return Err(QueueError::Options(
                "at most 6,000 jobs may wait in a queue",
            ));
        }
        Ok(())
    }
}
