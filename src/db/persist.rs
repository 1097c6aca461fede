//! Transactions whose input must not be lost.

use std::time::Duration;

use sqlx::error::DatabaseError;
use tokio::time::sleep;

use super::Trouble;

/// How often a transaction is tried again that failed for a moment's reason.
const TRIES: u32 = 4;

/// Runs a transaction, and again when it failed for a reason that passes: no free connection, a
/// deadlock, a connection that broke. For steps whose input must not be lost; they must be safe
/// to run twice, because a broken connection does not tell whether it had committed.
pub(crate) async fn persist<T, E, F>(mut step: impl FnMut() -> F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
    E: AsTransient,
{
    let mut pause = Duration::from_millis(50);
    for _ in 1..TRIES {
        match step().await {
            Err(error) if error.is_transient() => sleep(pause).await,
            outcome => return outcome,
        }
        pause *= 4;
    }
    step().await
}

/// Whether an error may be gone in a moment.
pub(crate) trait AsTransient {
    /// True if it may.
    fn is_transient(&self) -> bool;
}

impl AsTransient for sqlx::Error {
    fn is_transient(&self) -> bool {
        let code = self.as_database_error().and_then(DatabaseError::code);
        // Deadlock, serialization failure.
        let is_collision = matches!(code.as_deref(), Some("40P01" | "40001"));
        is_collision || Trouble::of(self).is_some_and(|trouble| trouble != Trouble::ReadOnly)
    }
}
