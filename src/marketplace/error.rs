//! What can go wrong with stores and their orders.

use jobs::StoreId;

use crate::batch::BatchError;
use crate::db::AsTransient;
use crate::encryption::OpenError;

/// Named for what is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No store has this token, or it was deleted meanwhile.
    #[error("store not found")]
    StoreNotFound,
    /// Another run has taken the store over; nothing may be written any more.
    #[error("the lease of the store is another run's")]
    LeaseLost,
    /// A defect of ours; the log has it.
    #[error("the work panicked")]
    Panicked,
    /// The process is going down.
    #[error("the work was interrupted")]
    Interrupted,
    /// The marketplace cannot be asked about this store.
    #[error("the access token of store {0} cannot be read: {1}")]
    AccessTokenUnreadable(StoreId, OpenError),
    /// The database refused, or is away.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The same, for all whose work was done together.
    #[error(transparent)]
    Together(BatchError),
}

impl From<BatchError> for Error {
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::Database(_) | BatchError::Busy => Self::Together(error),
            BatchError::Interrupted => Self::Interrupted,
        }
    }
}

impl AsTransient for Error {
    fn is_transient(&self) -> bool {
        match self {
            Self::Database(error) => error.is_transient(),
            Self::Together(error) => error.is_transient(),
            _ => false,
        }
    }
}
