//! What marketplaces have to be told: written here, in the transaction that makes it true.
//!
//! There is one pending row for a product in a store. It says that the marketplace has to be told,
//! not what: the run that sends it reads the newest quantity. So a hundred changes of a product
//! are one row, and either both the change and the row are there, or neither.

use chrono::{DateTime, Utc};
use jobs::StoreId;

use super::model::{ProductId, Reason};
use super::queries::queue::{Entry, upsert};
use crate::db::Tx;

/// Puts products, and the sets that contain them, into the queue of a store; tells how many rows
/// were touched. One statement.
///
/// What the store does not list is passed over. Of a row that is there already the reason and the
/// priority stay, unless the new one is more urgent; `force` stays once it is given.
pub async fn enqueue(
    tx: &mut Tx,
    store_id: StoreId,
    products: &[ProductId],
    reason: Reason,
    force: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let with_sets = true;
    put(tx, store_id, products, with_sets, reason, force, now).await
}

/// The same without the sets that contain them: nothing changed but what is known of these.
pub(crate) async fn enqueue_alone(
    tx: &mut Tx,
    store_id: StoreId,
    products: &[ProductId],
    reason: Reason,
    force: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let with_sets = false;
    put(tx, store_id, products, with_sets, reason, force, now).await
}

async fn put(
    tx: &mut Tx,
    store_id: StoreId,
    products: &[ProductId],
    with_sets: bool,
    reason: Reason,
    force: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    if products.is_empty() {
        return Ok(0);
    }
    let entry = Entry {
        store_id,
        products,
        with_sets,
        reason,
        force,
    };
    upsert(tx, entry, now).await
}
