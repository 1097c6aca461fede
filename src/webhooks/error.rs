//! What can go wrong with webhooks.

use super::guard::GuardError;
use crate::db::AsTransient;

/// Named for what is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such endpoint, or another organization's.
    #[error("webhook not found")]
    EndpointNotFound,
    /// The organization has as many active endpoints as it may.
    #[error("the organization has all the {0} webhooks it may have")]
    LimitReached(u32),
    /// Nothing is sent to such a URL.
    #[error("the target URL is refused: {0}")]
    TargetRefused(#[from] GuardError),
    /// The database refused, or is away.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

impl AsTransient for Error {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_transient())
    }
}
