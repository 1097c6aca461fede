//! What marketplaces have to be told, written in the transaction that makes it true.

use chrono::{DateTime, Utc};
use jobs::StoreId;

use super::model::{ProductId, Reason};
use super::queries::enqueue::upsert_rows;
use crate::db::Tx;

/// Puts products into the queue of a store; tells how many rows were touched. One statement.
pub(crate) async fn enqueue(
    tx: &mut Tx,
    store_id: StoreId,
    products: &[ProductId],
    reason: Reason,
    force: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    upsert_rows(tx, store_id, products, reason, force, now).await
}
