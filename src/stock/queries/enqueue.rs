//! The rows of the queue.

use chrono::{DateTime, Utc};
use jobs::StoreId;
use sqlx::query;

use crate::db::{Tx, json_uuid, on, sql};
use crate::stock::model::{ProductId, Reason};

macro_rules! upsert_rows {
    ($new_id:literal, $products:expr) => {
        concat!(
            "INSERT INTO stock_update_queue (id, product_id, store_id, reason, priority, force,
                 last_enqueued_at, next_attempt_at, created_at, updated_at)
             SELECT ",
            $new_id,
            ", product_id, store_id, $3, $4, $5, $6, $6, $6, $6
             FROM product_stores
             WHERE store_id = $2 AND is_listed AND product_id ",
            $products,
            " ORDER BY product_id
             ON CONFLICT (product_id, store_id) WHERE processed_at IS NULL DO UPDATE
             SET version = stock_update_queue.version + 1, last_enqueued_at = $6, updated_at = $6,
                 reason = CASE WHEN excluded.priority > stock_update_queue.priority
                     THEN excluded.reason ELSE stock_update_queue.reason END,
                 priority = CASE WHEN excluded.priority > stock_update_queue.priority
                     THEN excluded.priority ELSE stock_update_queue.priority END,
                 force = stock_update_queue.force OR excluded.force, next_attempt_at = $6"
        )
    };
}

/// Inserts a pending row for each product that the store lists, or moves the one that is there.
pub(crate) async fn upsert_rows(
    tx: &mut Tx,
    store_id: StoreId,
    products: &[ProductId],
    reason: Reason,
    force: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = tx.pick(
        sql!(postgres: upsert_rows!("gen_random_uuid()", is_listed!(postgres "$1"))),
        sql!(sqlite: upsert_rows!("randomblob(16)", is_listed!(sqlite "$1"))),
    );
    on!(tx, conn => query(sql).bind(json_uuid::list(products)).bind(store_id)
        .bind(reason).bind(reason.priority()).bind(force).bind(now)
        .execute(conn).await.map(|done| done.rows_affected()))
}
