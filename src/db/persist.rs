//! Transactions whose input must not be lost.

use std::time::Duration;

use sqlx::error::DatabaseError;
use tokio::time::{Instant, sleep};

use super::Trouble;

/// How often a transaction is tried again that failed for a moment's reason.
const TRIES: u32 = 4;
/// Before it is tried again for the first time, and at most before each further time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Runs a transaction, and again when it failed for a reason that passes: no free connection, a
/// deadlock, a connection that broke. For steps whose input must not be lost; they must be safe
/// to run twice, because a broken connection does not tell whether it had committed.
pub(crate) async fn persist<T, E, F>(mut step: impl FnMut() -> F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
    E: AsTransient,
{
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        match step().await {
            Err(error) if error.is_transient() => sleep(pause).await,
            outcome => return outcome,
        }
        pause *= 4;
    }
    step().await
}

/// The same for as long as `patience` lasts, for steps that nothing waits for but the database:
/// one that is away for some seconds costs no more than these.
pub(crate) async fn persist_within<T, E, F>(
    patience: Duration,
    mut step: impl FnMut() -> F,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
    E: AsTransient,
{
    let ends = Instant::now() + patience;
    let mut pause = FIRST_PAUSE;
    loop {
        match step().await {
            Err(error) if error.is_transient() && Instant::now() + pause < ends => {
                sleep(pause).await;
            }
            outcome => return outcome,
        }
        pause = (pause * 4).min(LONGEST_PAUSE);
    }
}

/// Whether an error may be gone in a moment.
pub(crate) trait AsTransient {
    /// True if it may.
    fn is_transient(&self) -> bool;
}

/// Whether a transaction lost against another one: a deadlock, a serialization failure.
pub(crate) fn is_collision(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    matches!(code.as_deref(), Some("40P01" | "40001"))
}

impl AsTransient for sqlx::Error {
    fn is_transient(&self) -> bool {
        is_collision(self) || Trouble::of(self).is_some_and(|trouble| trouble != Trouble::ReadOnly)
    }
}
