//! One job as a transport stores it, and as the board shows it.

use std::sync::Arc;

use apalis_core::task::{ExecutionContext, Task, status::Status, task_id::TaskId};
use serde_json::{Value, json};

/// A stored job, the same for both transports. Times are seconds since 1970.
#[derive(Debug, Default)]
pub(super) struct StoredTask {
    pub(super) id: String,
    pub(super) queue: String,
    pub(super) status: Status,
    pub(super) arguments: Vec<u8>,
    pub(super) attempt: u64,
    pub(super) max_attempts: u64,
    pub(super) run_at: Option<u64>,
    pub(super) lock_at: Option<u64>,
    pub(super) lock_by: Option<String>,
    pub(super) done_at: Option<u64>,
    pub(super) idempotency_key: Option<String>,
    /// `{"Ok":…}` or `{"Err":"…"}`, as apalis writes the outcome of the last attempt.
    pub(super) last_result: Option<String>,
}

impl StoredTask {
    /// The job for the page, which needs id, queue and `run_at`, with its arguments decoded.
    pub(super) fn into_task(self) -> Result<Task<Value>, serde_json::Error> {
        let arguments = serde_json::from_slice(&self.arguments)
            .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&self.arguments)));
        let context: ExecutionContext = serde_json::from_value(json!({
            "task_id": self.id,
            "attempt": self.attempt,
            "status": self.status,
            "run_at": self.run_at.or_else(|| enqueued_at(&self.id)),
            "done_at": self.done_at,
            "lock_at": self.lock_at,
            "lock_by": self.lock_by,
            "idempotency_key": self.idempotency_key,
            "metadata": {},
            "max_attempts": self.max_attempts,
            "priority": null,
            "queue": self.queue,
            "runs": self.failed_run().as_slice(),
        }))?;
        Ok(Task::new_with_ctx(arguments, Arc::new(context)))
    }

    /// The last attempt, when it failed: the page shows its error.
    fn failed_run(&self) -> Option<Value> {
        let result: Result<Value, String> =
            serde_json::from_str(self.last_result.as_deref()?).ok()?;
        let error = result.err()?;
        Some(json!({
            "lock_at": self.lock_at.unwrap_or_default(),
            "lock_by": self.lock_by.as_deref().unwrap_or_default(),
            "done_at": self.done_at,
            "result": {
                "task_id": self.id,
                "attempt": self.attempt,
                "status": self.status,
                "result": { "Err": error },
            },
        }))
    }
}

/// When a job was enqueued, from its id: apalis makes ULIDs, which begin with the time.
pub(super) fn enqueued_at(id: &str) -> Option<u64> {
    let milliseconds = id.parse::<TaskId>().ok()?.as_ulid()?.timestamp_ms();
    Some(milliseconds / 1000)
}
