//! Receipts that failed for the last time, and how they are tried after all.

use chrono::{DateTime, Utc};
use jobs::StoreId;

use super::error::Error;
use super::model::SyncLogId;
use super::queries::orders;
use crate::App;
use crate::http::page::Cursor;

/// A receipt that is not tried again by itself.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct DeadReceipt {
    /// Its row.
    pub id: SyncLogId,
    /// Whose it is.
    pub store_id: StoreId,
    /// The marketplace's name of the order.
    pub receipt: String,
    /// Why it failed, the last time.
    pub error_details: Option<String>,
    /// How often it failed.
    pub failed_attempt: i32,
    /// When it failed the last time.
    pub dead_at: DateTime<Utc>,
}

/// Dead receipts behind the cursor, or those of one store, in the order they died.
pub(crate) async fn dead_receipts(
    app: &App,
    store_id: Option<StoreId>,
    after: Cursor,
    limit: i64,
) -> Result<Vec<DeadReceipt>, Error> {
    let mut tx = app.db.read().await?;
    let found = orders::dead_receipts(&mut tx, store_id, after, limit).await?;
    tx.save().await?;
    Ok(found)
}

/// Makes a dead receipt due at once, with all its tries before it; tells whether it was dead.
pub(crate) async fn revive_receipt(app: &App, id: SyncLogId) -> Result<bool, Error> {
    let mut tx = app.db.write().await?;
    let revived = orders::revive_receipt(&mut tx, id, app.clock.now()).await?;
    tx.save().await?;
    Ok(revived)
}
