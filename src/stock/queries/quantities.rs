//! How many of a product a store can sell, and what its marketplace was told.

use chrono::{DateTime, Utc};
use jobs::{PushId, StoreId};
use sqlx::{FromRow, query_as};

use crate::db::{Tx, both, ids, json_uuid, look_up, on};
use crate::stock::model::{PairState, ProductId, ProductType};

/// A product in a store, at one moment.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct Pair {
    /// The product.
    pub(crate) product_id: ProductId,
    /// What it is.
    pub(crate) product_type: ProductType,
    /// How many can be sold; of a set, how many its components make.
    pub(crate) quantity: i64,
    /// Its names.
    pub(crate) sku: Option<String>,
    pub(crate) barcode: Option<String>,
    /// Its names in this store.
    pub(crate) external_sku: Option<String>,
    pub(crate) external_barcode: Option<String>,
    pub(crate) external_listing_id: Option<String>,
    pub(crate) external_location_id: Option<String>,
    /// Whether it is sold there.
    pub(crate) is_listed: bool,
    /// What the marketplace is known to show.
    pub(crate) last_confirmed_quantity: Option<i64>,
    /// The push whose results are awaited.
    pub(crate) in_flight_push_id: Option<PushId>,
    /// What was sent last, and when.
    pub(crate) last_pushed_quantity: Option<i64>,
    pub(crate) last_pushed_at: Option<DateTime<Utc>>,
    /// Whether it is pushed.
    pub(crate) push_state: PairState,
    pub(crate) push_error_code: Option<String>,
    pub(crate) blocked_until: Option<DateTime<Utc>>,
    pub(crate) reject_count: i32,
}

/// How many of the product `p`, which may have the row `ps` in a store, that store can sell: of a
/// set, how many its components make there. A component without a row there, and a set without
/// components, make none.
///
/// Each component is looked up: PostgreSQL, joining them, may read all of a store for each set, as
/// it does where it has no statistics yet.
macro_rules! quantity_in {
    ($dialect:ident $store:literal) => {
        quantity_in!($store)
    };
    ($store:literal) => {
        concat!(
            "CASE WHEN p.product_type = 'SET' THEN COALESCE((
                 SELECT MIN(COALESCE((
                     SELECT cs.sellable_quantity
                     FROM product_stores AS cs
                     WHERE cs.product_id = i.component_product_id AND cs.store_id = ",
            $store,
            "
                 ), 0) / i.quantity)
                 FROM product_set_items AS i
                 WHERE i.set_product_id = p.id
             ), 0) ELSE COALESCE(ps.sellable_quantity, 0) END"
        )
    };
}
pub(super) use quantity_in;

/// These products in a store, simple ones and sets alike, at one moment. Those without a row in
/// the store count as not listed.
pub(crate) async fn pairs(
    tx: &mut Tx,
    store_id: StoreId,
    products: &[ProductId],
) -> sqlx::Result<Vec<Pair>> {
    let sql = both!(
        tx,
        "SELECT p.id AS product_id, p.product_type, ",
        quantity_in!("$1"),
        " AS quantity, p.sku, p.barcode, ps.external_sku, ps.external_barcode,
             ps.external_listing_id, ps.external_location_id,
             COALESCE(ps.is_listed, FALSE) AS is_listed, ps.last_confirmed_quantity,
             ps.in_flight_push_id, ps.last_pushed_quantity, ps.last_pushed_at,
             COALESCE(ps.push_state, 'OK') AS push_state, ps.push_error_code, ps.blocked_until,
             COALESCE(ps.reject_count, 0) AS reject_count
         FROM ",
        ids!("$2"),
        " AS wanted ",
        look_up!("products" as "p" on "p.id = wanted.id"),
        " LEFT JOIN product_stores AS ps ON ps.product_id = p.id AND ps.store_id = $1"
    );
    on!(tx, conn => query_as(sql)
        .bind(store_id).bind(json_uuid::list(products))
        .fetch_all(conn).await)
}
