//! Which products the lines of an order name.

use jobs::StoreId;
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{FromRow, query_as, query_scalar};
use uuid::Uuid;

use crate::db::{Tx, both, look_up, on, only_sqlite, rows, sql};
use crate::stock::model::{ProductId, ProductType};

/// What a line calls its product.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct NamedLine<'a> {
    /// Its place in the order.
    pub(crate) number: usize,
    /// Without hyphens.
    pub(crate) product_id: Option<String>,
    pub(crate) barcode: Option<&'a str>,
    pub(crate) sku: Option<&'a str>,
}

/// The product of a line, and a component of it if it is a set: a row for each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct MatchedLine {
    pub(crate) number: i64,
    pub(crate) product_id: ProductId,
    pub(crate) product_type: ProductType,
    pub(crate) component_product_id: Option<ProductId>,
    pub(crate) component_quantity: Option<i64>,
}

/// The products that lines name, in the order of the lines: what the store calls them first, then
/// barcodes, then SKUs; with what a set is made of. A line that names none is left out.
pub(crate) async fn matched_lines(
    tx: &mut Tx,
    organization_id: &str,
    store_id: StoreId,
    lines: &[NamedLine<'_>],
) -> sqlx::Result<Vec<MatchedLine>> {
    let sql = both!(
        tx,
        "SELECT m.number, p.id AS product_id, p.product_type, i.component_product_id,
             i.quantity AS component_quantity
         FROM (
             SELECT l.number, COALESCE(
                 (SELECT id FROM products
                  WHERE id = l.product_id AND organization_id = $2),
                 (SELECT product_id FROM product_stores",
        only_sqlite!(" INDEXED BY product_stores_external_barcode_idx"),
        "         WHERE store_id = $3 AND external_barcode = l.barcode
                  ORDER BY product_id LIMIT 1),
                 (SELECT product_id FROM product_stores",
        only_sqlite!(" INDEXED BY product_stores_external_sku_idx"),
        "         WHERE store_id = $3 AND external_sku = l.sku
                  ORDER BY product_id LIMIT 1),
                 (SELECT id FROM products
                  WHERE organization_id = $2 AND barcode = l.barcode),
                 (SELECT product_id FROM product_barcodes
                  WHERE organization_id = $2 AND barcode = l.barcode),
                 (SELECT id FROM products
                  WHERE organization_id = $2 AND sku = l.sku)
             ) AS product_id
             FROM ",
        rows!("$1", number BIGINT, product_id UUID, barcode TEXT, sku TEXT),
        " AS l
         ) AS m ",
        look_up!("products" as "p" on "p.id = m.product_id AND p.organization_id = $2"),
        " LEFT JOIN product_set_items AS i ON i.set_product_id = p.id
         ORDER BY m.number, i.component_product_id"
    );
    on!(tx, conn => query_as(sql).bind(Json(lines)).bind(organization_id).bind(store_id)
        .fetch_all(conn).await)
}

/// What a product is, if it is this organization's.
pub(crate) async fn type_of(
    tx: &mut Tx,
    organization_id: &str,
    product_id: ProductId,
) -> sqlx::Result<Option<ProductType>> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT product_type FROM products WHERE id = $1 AND organization_id = $2"))
        .bind(product_id).bind(organization_id)
        .fetch_optional(conn).await)
}

/// An id as [`NamedLine`] has it.
pub(crate) fn plain(id: Uuid) -> String {
    id.simple().to_string()
}
