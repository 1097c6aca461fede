//! Products that a marketplace refuses.

use chrono::{DateTime, Utc};
use jobs::StoreId;
use sqlx::{FromRow, query_as};
use uuid::Uuid;

use crate::db::{Tx, on, sql};
use crate::stock::model::ProductId;

/// All that is shown of one.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct Refused {
    pub(crate) store_id: StoreId,
    pub(crate) product_id: ProductId,
    pub(crate) store_name: String,
    pub(crate) organization_id: String,
    pub(crate) product_name: String,
    pub(crate) sku: Option<String>,
    pub(crate) barcode: Option<String>,
    pub(crate) push_error_code: Option<String>,
    pub(crate) push_error_message: Option<String>,
    pub(crate) blocked_until: Option<DateTime<Utc>>,
    pub(crate) reject_count: i32,
}

/// Those behind a place in the order of stores and products, of the stores up to this one. The end
/// is a place as well: of a store alone SQLite would make too little of.
pub(crate) async fn blocked(
    tx: &mut Tx,
    (after_store, after_product): (Uuid, Uuid),
    up_to: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<Refused>> {
    on!(tx, conn => query_as(sql!(
        "SELECT b.store_id, b.product_id, b.push_error_code, b.push_error_message,
             b.blocked_until, b.reject_count,
             (SELECT s.store_name FROM stores AS s WHERE s.id = b.store_id) AS store_name,
             (SELECT s.organization_id FROM stores AS s WHERE s.id = b.store_id)
                 AS organization_id,
             (SELECT p.name FROM products AS p WHERE p.id = b.product_id) AS product_name,
             (SELECT p.sku FROM products AS p WHERE p.id = b.product_id) AS sku,
             (SELECT p.barcode FROM products AS p WHERE p.id = b.product_id) AS barcode
         FROM product_stores AS b
         WHERE b.push_state = 'BLOCKED' AND (b.store_id, b.product_id) > ($1, $2)
           AND (b.store_id, b.product_id) <= ($3, $4)
         ORDER BY b.store_id, b.product_id
         LIMIT $5"))
        .bind(after_store).bind(after_product).bind(up_to).bind(Uuid::max()).bind(limit)
        .fetch_all(conn).await)
}
