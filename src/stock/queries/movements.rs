//! The ledger: every change of a counter, for ever.

use chrono::{DateTime, Utc};
use jobs::StoreId;
use serde::{Serialize, Serializer};
use sqlx::query;
use sqlx::types::Json;
use uuid::Uuid;

use crate::db::{Tx, both, json_uuid, on, rows};
use crate::stock::model::{MovementId, MovementKind, ProductId, ShelfId};

/// A change of counters on its way into the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct NewMovement<'a> {
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) id: MovementId,
    pub(crate) kind: MovementKind,
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) product_id: ProductId,
    #[serde(serialize_with = "optional_id")]
    pub(crate) store_id: Option<StoreId>,
    #[serde(serialize_with = "optional_id")]
    pub(crate) shelf_id: Option<ShelfId>,
    pub(crate) on_hand: i64,
    pub(crate) sellable: i64,
    pub(crate) committed: i64,
    /// What it was for: an order.
    pub(crate) reference: Option<&'a str>,
    /// The key of the request that asked for it.
    pub(crate) idempotency_key: Option<&'a str>,
    /// What somebody has to say about it.
    pub(crate) note: Option<&'a str>,
}

#[expect(
    clippy::ref_option,
    reason = "serde hands over a reference to the field"
)]
fn optional_id<S: Serializer, T: Copy + Into<Uuid>>(
    id: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => json_uuid::of(id, serializer),
        None => serializer.serialize_none(),
    }
}

/// Writes changes into the ledger, in their order. A key that is there already is an error.
pub(crate) async fn insert_movements(
    tx: &mut Tx,
    organization_id: &str,
    movements: &[NewMovement<'_>],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = both!(
        tx,
        "INSERT INTO stock_movements (id, organization_id, kind, product_id, store_id,
             shelf_id, delta_on_hand, delta_sellable, delta_committed, ref, idempotency_key,
             note, created_at, updated_at)
         SELECT m.id, $2, m.kind, m.product_id, m.store_id, m.shelf_id, m.on_hand, m.sellable,
             m.committed, m.reference, m.idempotency_key, m.note, $3, $3
         FROM ",
        rows!("$1", id UUID, kind TEXT, product_id UUID, store_id UUID, shelf_id UUID,
            on_hand BIGINT, sellable BIGINT, committed BIGINT, reference TEXT,
            idempotency_key TEXT, note TEXT),
        " AS m"
    );
    on!(tx, conn => query(sql).bind(Json(movements)).bind(organization_id).bind(now)
        .execute(conn).await.map(|_| ()))
}
