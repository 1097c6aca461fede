//! Where products are sold: listed and unlisted, named as the marketplace names them, unblocked.

use poem_openapi::types::MaybeUndefined;

use super::enqueue::enqueue_alone;
use super::error::Error;
use super::levels::{StockLevel, one_level};
use super::model::{ProductType, Reason};
use super::named::Pair;
use super::products::own_product;
use super::queries::listings;
use super::recount::open_row;
use super::settings::require_store;
use crate::App;
use crate::db::Tx;

/// What an organization changes of how a store sells a product.
#[derive(Clone, Debug)]
pub(super) struct ListingChange {
    pub(super) is_listed: Option<bool>,
    pub(super) external_sku: MaybeUndefined<String>,
    pub(super) external_barcode: MaybeUndefined<String>,
    pub(super) external_listing_id: MaybeUndefined<String>,
    pub(super) external_location_id: MaybeUndefined<String>,
}

/// Lists a product in a store, unlists it, or changes what the marketplace calls it.
///
/// What the marketplace shows of a product that is listed again, or under another name, is
/// unknown: it is told, even if it was told the same before, and whatever it refused of the old
/// name is forgotten. One that is unlisted is told nothing more, not even that there are none.
pub(super) async fn change_listing(
    app: &App,
    pair: &Pair,
    change: ListingChange,
) -> Result<StockLevel, Error> {
    let now = app.clock.now();
    let (store_id, product_id) = (pair.store_id, pair.product_id);
    let mut tx = app.db.write().await?;
    require_store(&mut tx, &pair.organization_id, store_id).await?;
    let product = own_product(&mut tx, &pair.organization_id, product_id).await?;
    let before = listings::lock_listing(&mut tx, store_id, product_id).await?;
    if before.is_none() && product.product_type == ProductType::Simple {
        // With what lies in the warehouses that the store draws on.
        open_row(app, &mut tx, &pair.organization_id, (store_id, product_id)).await?;
    }
    listings::insert_pair(&mut tx, store_id, product_id, now).await?;
    let before = listings::lock_listing(&mut tx, store_id, product_id).await?;
    let before = before.ok_or(Error::PairNotFound(store_id, product_id))?;
    let mut listing = before.clone();
    listing.is_listed = change.is_listed.unwrap_or(true);
    change.external_sku.update_to(&mut listing.external_sku);
    change
        .external_barcode
        .update_to(&mut listing.external_barcode);
    change
        .external_listing_id
        .update_to(&mut listing.external_listing_id);
    change
        .external_location_id
        .update_to(&mut listing.external_location_id);
    if listing != before {
        listings::update_listing(&mut tx, store_id, product_id, &listing, now).await?;
        if listing.is_listed {
            listings::begin_anew(&mut tx, store_id, product_id, now).await?;
            enqueue_alone(&mut tx, store_id, &[product_id], Reason::Resync, true, now).await?;
        }
    }
    let level = one_level(app, &mut tx, store_id, product_id).await?;
    tx.save().await?;
    Ok(level)
}

/// Lets a product that the marketplace refused be told to it again, now; tells how many rows the
/// queue has for that: none if the product is not listed.
pub(super) async fn unblock(app: &App, tx: &mut Tx, pair: &Pair) -> Result<u64, Error> {
    let now = app.clock.now();
    let (store_id, product_id) = (pair.store_id, pair.product_id);
    require_pair_parts(tx, pair).await?;
    if !listings::unblock(tx, store_id, product_id, now).await? {
        return Err(Error::PairNotFound(store_id, product_id));
    }
    let products = [product_id];
    Ok(enqueue_alone(tx, store_id, &products, Reason::Manual, true, now).await?)
}

/// Store and product are the organization's.
pub(super) async fn require_pair_parts(tx: &mut Tx, pair: &Pair) -> Result<(), Error> {
    require_store(tx, &pair.organization_id, pair.store_id).await?;
    own_product(tx, &pair.organization_id, pair.product_id).await?;
    Ok(())
}
