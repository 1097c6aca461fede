//! Products: created, found, changed; their further barcodes, and what sets are made of.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use poem_openapi::types::MaybeUndefined;

use super::enqueue::{enqueue, enqueue_alone};
use super::error::Error;
use super::model::{Product, ProductId, ProductType, Reason};
use super::queries::products::SetItem;
use super::queries::{listings, products};
use crate::App;
use crate::db::Tx;
use crate::http::page::{Cursor, PageRequest};

/// A set has no more of one component.
pub(super) const MAX_QUANTITY: i64 = 1_000_000;

/// A product as its organization describes it.
#[derive(Clone, Debug)]
pub(super) struct NewProduct {
    pub(super) organization_id: String,
    pub(super) name: String,
    pub(super) sku: Option<String>,
    pub(super) barcode: Option<String>,
    pub(super) product_type: ProductType,
}

/// What an organization changes of a product.
#[derive(Clone, Debug)]
pub(super) struct ProductChange {
    pub(super) name: Option<String>,
    pub(super) sku: MaybeUndefined<String>,
    pub(super) barcode: MaybeUndefined<String>,
}

/// Which products of an organization.
#[derive(Clone, Debug, Default)]
pub(super) struct ProductFilter {
    /// That have it, be it a further one.
    pub(super) barcode: Option<String>,
    pub(super) sku: Option<String>,
    pub(super) product_type: Option<ProductType>,
    /// A part of their name, SKU or barcode.
    pub(super) part: Option<String>,
}

/// A product with its further barcodes.
#[derive(Clone, Debug)]
pub(super) struct Described {
    pub(super) product: Product,
    pub(super) barcodes: Vec<String>,
}

/// A product of an organization; nobody learns of another organization's that they exist.
pub(super) async fn own_product(
    tx: &mut Tx,
    organization_id: &str,
    id: ProductId,
) -> Result<Product, Error> {
    let found = products::product_by_id(tx, id).await?;
    own(found, organization_id, id)
}

async fn lock_own_product(
    tx: &mut Tx,
    organization_id: &str,
    id: ProductId,
) -> Result<Product, Error> {
    let found = products::lock_product(tx, id).await?;
    own(found, organization_id, id)
}

fn own(found: Option<Product>, organization_id: &str, id: ProductId) -> Result<Product, Error> {
    found
        .filter(|product| product.organization_id == organization_id)
        .ok_or(Error::ProductNotFound(id))
}

/// Creates a product.
pub(super) async fn create_product(
    app: &App,
    tx: &mut Tx,
    new: NewProduct,
) -> Result<Described, Error> {
    let now = app.clock.now();
    let product = Product {
        id: ProductId(app.ids.new_id(now)),
        organization_id: new.organization_id,
        name: new.name,
        sku: new.sku,
        barcode: new.barcode,
        product_type: new.product_type,
        created_at: now,
        updated_at: now,
    };
    let inserted = products::insert_product(tx, &product).await;
    inserted.map_err(taken)?;
    refuse_shared_barcode(tx, product.id).await?;
    Ok(Described {
        product,
        barcodes: Vec::new(),
    })
}

/// A page of the products of an organization that pass the filter, in the order they were
/// created.
pub(super) async fn list_products(
    app: &App,
    organization_id: &str,
    filter: &ProductFilter,
    page: PageRequest,
) -> Result<Vec<Product>, Error> {
    let after = page.after.unwrap_or(Cursor::BEGINNING);
    let mut tx = app.db.read().await?;
    let found = if filter.barcode.is_some() || filter.sku.is_some() {
        let mut found = products_by_code(&mut tx, organization_id, filter).await?;
        let is_behind =
            |product: &Product| (product.created_at, product.id.0) > (after.at, after.id);
        found.retain(|product| is_behind(product) && filter.lets_pass(product));
        found
    } else {
        let pattern = filter.part.as_deref().map(pattern_of);
        let (kind, pattern, limit) = (filter.product_type, pattern.as_deref(), page.look_ahead());
        products::products_of(&mut tx, organization_id, after, kind, pattern, limit).await?
    };
    tx.save().await?;
    Ok(found)
}

/// The one or two products that a code means are looked up by it, however many there are.
async fn products_by_code(
    tx: &mut Tx,
    organization_id: &str,
    filter: &ProductFilter,
) -> sqlx::Result<Vec<Product>> {
    match (&filter.barcode, &filter.sku) {
        (Some(barcode), _) => products::products_by_barcode(tx, organization_id, barcode).await,
        (None, Some(sku)) => {
            let found = products::product_by_sku(tx, organization_id, sku).await?;
            Ok(found.into_iter().collect())
        }
        (None, None) => Ok(Vec::new()),
    }
}

impl ProductFilter {
    /// Whether a product that was found by one code is what else was asked for.
    fn lets_pass(&self, product: &Product) -> bool {
        let is_of_type = self
            .product_type
            .is_none_or(|wanted| wanted == product.product_type);
        let has_sku = self.sku.is_none() || self.sku == product.sku;
        let has_part = self.part.as_ref().is_none_or(|part| {
            let part = part.to_lowercase();
            let codes = [&product.sku, &product.barcode].into_iter().flatten();
            let mut texts = codes.chain([&product.name]);
            texts.any(|text| text.to_lowercase().contains(&part))
        });
        is_of_type && has_sku && has_part
    }
}

/// What a text that contains `part` is like.
fn pattern_of(part: &str) -> String {
    let mut pattern = String::from("%");
    for letter in part.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

/// A product of an organization with its further barcodes.
pub(super) async fn get_product(
    app: &App,
    organization_id: &str,
    id: ProductId,
) -> Result<Described, Error> {
    let mut tx = app.db.read().await?;
    let product = own_product(&mut tx, organization_id, id).await?;
    let barcodes = products::barcodes_of(&mut tx, id).await?;
    tx.save().await?;
    Ok(Described { product, barcodes })
}

/// Changes a product. With another SKU or barcode it is another one for marketplaces: nothing is
/// known of what they show, and every store that lists it tells its own again.
pub(super) async fn change_product(
    app: &App,
    organization_id: &str,
    id: ProductId,
    change: ProductChange,
) -> Result<Described, Error> {
    let now = app.clock.now();
    let mut tx = app.db.write().await?;
    let mut product = lock_own_product(&mut tx, organization_id, id).await?;
    let before = (product.sku.clone(), product.barcode.clone());
    if let Some(name) = change.name {
        product.name = name;
    }
    change.sku.update_to(&mut product.sku);
    change.barcode.update_to(&mut product.barcode);
    product.updated_at = now;
    let updated = products::update_product(&mut tx, &product).await;
    updated.map_err(taken)?;
    if before != (product.sku.clone(), product.barcode.clone()) {
        refuse_shared_barcode(&mut tx, id).await?;
        for store_id in products::listing_stores(&mut tx, id).await? {
            listings::begin_anew(&mut tx, store_id, id, now).await?;
            enqueue_alone(&mut tx, store_id, &[id], Reason::Resync, true, now).await?;
        }
    }
    let barcodes = products::barcodes_of(&mut tx, id).await?;
    tx.save().await?;
    Ok(Described { product, barcodes })
}

/// Replaces the further barcodes of a product: codes that orders may name it by, which no
/// marketplace is told.
pub(super) async fn replace_barcodes(
    app: &App,
    organization_id: &str,
    id: ProductId,
    barcodes: &[String],
) -> Result<Described, Error> {
    let now = app.clock.now();
    let mut tx = app.db.write().await?;
    let product = lock_own_product(&mut tx, organization_id, id).await?;
    products::delete_barcodes(&mut tx, id).await?;
    let mut seen = HashSet::new();
    let distinct: Vec<String> = barcodes
        .iter()
        .filter(|it| seen.insert(*it))
        .cloned()
        .collect();
    let inserted = products::insert_barcodes(&mut tx, &product, &distinct, now).await;
    inserted.map_err(taken)?;
    refuse_shared_barcode(&mut tx, id).await?;
    let barcodes = products::barcodes_of(&mut tx, id).await?;
    tx.save().await?;
    Ok(Described { product, barcodes })
}

/// A code that is two products' would name either. Two who give it away in the same moment may
/// both succeed, as no constraint spans both tables; orders then mean the product whose own it is.
async fn refuse_shared_barcode(tx: &mut Tx, id: ProductId) -> Result<(), Error> {
    if products::shares_barcode(tx, id).await? {
        return Err(Error::BarcodeTaken);
    }
    Ok(())
}

/// Says whose code is taken, if that is what the database says.
fn taken(error: sqlx::Error) -> Error {
    let constraint = error
        .as_database_error()
        .filter(|error| error.is_unique_violation())
        .map(|error| error.message().to_owned());
    // PostgreSQL names the index, SQLite the columns.
    match constraint {
        Some(text) if text.contains("barcode") => Error::BarcodeTaken,
        Some(text) if text.contains("sku") => Error::SkuTaken,
        _ => error.into(),
    }
}

/// What a set is made of.
pub(super) async fn get_set_items(
    app: &App,
    organization_id: &str,
    id: ProductId,
) -> Result<Vec<SetItem>, Error> {
    let mut tx = app.db.read().await?;
    let product = own_product(&mut tx, organization_id, id).await?;
    require_set(&product)?;
    let items = products::set_items(&mut tx, id).await?;
    tx.save().await?;
    Ok(items)
}

/// Makes a set of other things. Every store that lists it tells how many they make.
pub(super) async fn replace_set_items(
    app: &App,
    organization_id: &str,
    id: ProductId,
    mut items: Vec<SetItem>,
) -> Result<Vec<SetItem>, Error> {
    let now = app.clock.now();
    items.sort_unstable_by_key(|item| item.component_product_id);
    let mut tx = app.db.write().await?;
    let product = lock_own_product(&mut tx, organization_id, id).await?;
    require_set(&product)?;
    check_items(&mut tx, organization_id, &items).await?;
    if products::set_items(&mut tx, id).await? != items {
        products::delete_set_items(&mut tx, id).await?;
        products::insert_set_items(&mut tx, id, &items, now).await?;
        tell_stores(&mut tx, id, now).await?;
    }
    tx.save().await?;
    Ok(items)
}

fn require_set(product: &Product) -> Result<(), Error> {
    match product.product_type {
        ProductType::Set => Ok(()),
        ProductType::Simple => Err(Error::NotASet(product.id)),
    }
}

/// Every component is a simple product of the organization, and there is a sensible number of it.
async fn check_items(tx: &mut Tx, organization_id: &str, items: &[SetItem]) -> Result<(), Error> {
    let ids: Vec<ProductId> = items.iter().map(|item| item.component_product_id).collect();
    let types = products::types_of(tx, organization_id, &ids).await?;
    let types: HashMap<ProductId, ProductType> = types.into_iter().collect();
    for item in items {
        let id = item.component_product_id;
        match types.get(&id) {
            Some(ProductType::Simple) => {}
            Some(ProductType::Set) => return Err(Error::NestedSetNotAllowed(id)),
            None => return Err(Error::ProductNotFound(id)),
        }
        if !(1..=MAX_QUANTITY).contains(&item.quantity) {
            return Err(Error::InvalidQuantity);
        }
    }
    Ok(())
}

async fn tell_stores(tx: &mut Tx, set: ProductId, now: DateTime<Utc>) -> Result<(), Error> {
    for store_id in products::listing_stores(tx, set).await? {
        enqueue(tx, store_id, &[set], Reason::SetChanged, false, now).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_searched_for_is_no_pattern() {
        assert_eq!(pattern_of("50%_a\\b"), "%50\\%\\_a\\\\b%");
    }
}
