//! Products, their codes, and what sets are made of.

use chrono::{DateTime, Utc};
use jobs::StoreId;
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{FromRow, query, query_as, query_scalar};

use crate::db::{Tx, both, is_listed, json_uuid, on, only_postgres, rows, sql, texts};
use crate::http::page::Cursor;
use crate::stock::model::{Product, ProductId, ProductType};

/// Inserts a product.
pub(crate) async fn insert_product(tx: &mut Tx, product: &Product) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "INSERT INTO products (id, organization_id, name, sku, barcode, product_type, created_at,
             updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"))
        .bind(product.id).bind(&product.organization_id).bind(&product.name)
        .bind(&product.sku).bind(&product.barcode).bind(product.product_type)
        .bind(product.created_at).bind(product.updated_at)
        .execute(conn).await.map(|_| ()))
}

/// A product by its id.
pub(crate) async fn product_by_id(tx: &mut Tx, id: ProductId) -> sqlx::Result<Option<Product>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, organization_id, name, sku, barcode, product_type, created_at, updated_at
         FROM products
         WHERE id = $1"))
        .bind(id)
        .fetch_optional(conn).await)
}

/// The same, and nobody else changes it, or what it is made of, until the transaction ends.
pub(crate) async fn lock_product(tx: &mut Tx, id: ProductId) -> sqlx::Result<Option<Product>> {
    // SQLite has one writer anyway.
    let sql = both!(
        tx,
        "SELECT id, organization_id, name, sku, barcode, product_type, created_at, updated_at
         FROM products
         WHERE id = $1",
        only_postgres!(" FOR NO KEY UPDATE")
    );
    on!(tx, conn => query_as(sql).bind(id).fetch_optional(conn).await)
}

/// Writes what can be changed of a product.
pub(crate) async fn update_product(tx: &mut Tx, product: &Product) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE products
         SET name = $2, sku = $3, barcode = $4, updated_at = $5
         WHERE id = $1"))
        .bind(product.id).bind(&product.name).bind(&product.sku).bind(&product.barcode)
        .bind(product.updated_at)
        .execute(conn).await.map(|_| ()))
}

/// The products of an organization behind the cursor, in the order they were created: of a type,
/// with a part of their name, SKU or barcode that is like `pattern`, or all.
pub(crate) async fn products_of(
    tx: &mut Tx,
    organization_id: &str,
    after: Cursor,
    product_type: Option<ProductType>,
    pattern: Option<&str>,
    limit: i64,
) -> sqlx::Result<Vec<Product>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, organization_id, name, sku, barcode, product_type, created_at, updated_at
         FROM products
         WHERE organization_id = $1 AND (created_at, id) > ($2, $3)
           AND (CAST($4 AS TEXT) IS NULL OR product_type = $4)
           AND (CAST($5 AS TEXT) IS NULL
                OR LOWER(name) LIKE LOWER($5) ESCAPE '\\'
                OR LOWER(sku) LIKE LOWER($5) ESCAPE '\\'
                OR LOWER(barcode) LIKE LOWER($5) ESCAPE '\\')
         ORDER BY created_at, id
         LIMIT $6"))
        .bind(organization_id).bind(after.at).bind(after.id).bind(product_type).bind(pattern)
        .bind(limit)
        .fetch_all(conn).await)
}

/// The product that has this barcode, and the one that it is a further barcode of.
pub(crate) async fn products_by_barcode(
    tx: &mut Tx,
    organization_id: &str,
    barcode: &str,
) -> sqlx::Result<Vec<Product>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, organization_id, name, sku, barcode, product_type, created_at, updated_at
         FROM products
         WHERE id IN (
             SELECT id FROM products WHERE organization_id = $1 AND barcode = $2
             UNION
             SELECT product_id
             FROM product_barcodes
             WHERE organization_id = $1 AND barcode = $2
         )
         ORDER BY created_at, id"))
        .bind(organization_id).bind(barcode)
        .fetch_all(conn).await)
}

/// The product that has this SKU.
pub(crate) async fn product_by_sku(
    tx: &mut Tx,
    organization_id: &str,
    sku: &str,
) -> sqlx::Result<Option<Product>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, organization_id, name, sku, barcode, product_type, created_at, updated_at
         FROM products
         WHERE organization_id = $1 AND sku = $2"))
        .bind(organization_id).bind(sku)
        .fetch_optional(conn).await)
}

/// The further barcodes of a product.
pub(crate) async fn barcodes_of(tx: &mut Tx, id: ProductId) -> sqlx::Result<Vec<String>> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT barcode FROM product_barcodes WHERE product_id = $1 ORDER BY barcode"))
        .bind(id)
        .fetch_all(conn).await)
}

/// Removes the further barcodes of a product.
pub(crate) async fn delete_barcodes(tx: &mut Tx, id: ProductId) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!("DELETE FROM product_barcodes WHERE product_id = $1"))
        .bind(id)
        .execute(conn).await.map(|_| ()))
}

/// Gives a product further barcodes.
pub(crate) async fn insert_barcodes(
    tx: &mut Tx,
    product: &Product,
    barcodes: &[String],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = both!(
        tx,
        "INSERT INTO product_barcodes (organization_id, barcode, product_id, created_at,
             updated_at)
         SELECT $1, given.value, $2, $4, $4
         FROM ",
        texts!("$3"),
        " AS given
         ORDER BY given.value"
    );
    on!(tx, conn => query(sql)
        .bind(&product.organization_id).bind(product.id).bind(Json(barcodes)).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// Whether a barcode of a product is another one's as well, be it a further one of either.
pub(crate) async fn shares_barcode(tx: &mut Tx, id: ProductId) -> sqlx::Result<bool> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT EXISTS (
             SELECT 1
             FROM product_barcodes AS further
             JOIN products AS p
                 ON p.organization_id = further.organization_id AND p.barcode = further.barcode
             WHERE further.product_id = $1 AND p.id <> $1
         ) OR EXISTS (
             SELECT 1
             FROM products AS p
             JOIN product_barcodes AS further
                 ON further.organization_id = p.organization_id AND further.barcode = p.barcode
             WHERE p.id = $1 AND further.product_id <> $1
         )"))
        .bind(id)
        .fetch_one(conn).await)
}

/// What a set is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, FromRow)]
pub(crate) struct SetItem {
    /// A simple product.
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) component_product_id: ProductId,
    /// So many of it.
    pub(crate) quantity: i64,
}

/// What a set is made of.
pub(crate) async fn set_items(tx: &mut Tx, set: ProductId) -> sqlx::Result<Vec<SetItem>> {
    on!(tx, conn => query_as(sql!(
        "SELECT component_product_id, quantity
         FROM product_set_items
         WHERE set_product_id = $1
         ORDER BY component_product_id"))
        .bind(set)
        .fetch_all(conn).await)
}

/// Takes a set apart.
pub(crate) async fn delete_set_items(tx: &mut Tx, set: ProductId) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!("DELETE FROM product_set_items WHERE set_product_id = $1"))
        .bind(set)
        .execute(conn).await.map(|_| ()))
}

/// Puts a set together.
pub(crate) async fn insert_set_items(
    tx: &mut Tx,
    set: ProductId,
    items: &[SetItem],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = both!(
        tx,
        "INSERT INTO product_set_items (set_product_id, component_product_id, quantity,
             created_at, updated_at)
         SELECT $1, item.component_product_id, item.quantity, $3, $3
         FROM ",
        rows!("$2", component_product_id UUID, quantity BIGINT),
        " AS item"
    );
    on!(tx, conn => query(sql).bind(set).bind(Json(items)).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// Which of these products an organization has, and what they are.
pub(crate) async fn types_of(
    tx: &mut Tx,
    organization_id: &str,
    products: &[ProductId],
) -> sqlx::Result<Vec<(ProductId, ProductType)>> {
    let sql = both!(
        tx,
        "SELECT id, product_type FROM products WHERE organization_id = $2 AND id ",
        is_listed!("$1")
    );
    on!(tx, conn => query_as(sql)
        .bind(json_uuid::list(products)).bind(organization_id)
        .fetch_all(conn).await)
}

/// The stores that sell a product.
pub(crate) async fn listing_stores(tx: &mut Tx, id: ProductId) -> sqlx::Result<Vec<StoreId>> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT store_id
         FROM product_stores
         WHERE product_id = $1 AND is_listed
         ORDER BY store_id"))
        .bind(id)
        .fetch_all(conn).await)
}
