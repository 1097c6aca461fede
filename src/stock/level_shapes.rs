//! What the routes of stock in stores take and give.

use poem_openapi::Object;
use poem_openapi::types::{Example, MaybeUndefined};
use uuid::Uuid;

use super::catalog_shapes::code_of;
use super::levels::{Availability, StockLevel};
use super::listings::ListingChange;
use super::model::{PairState, ProductId, ProductType};
use super::named::Pair;
use super::queries::listings::{Component, LevelFilter};
use crate::http::fields::{Fields, FromFields};
use crate::http::nullable::Nullable;
use crate::timestamp::Timestamp;

/// What there is of a product in a store, and what its marketplace was told.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug, Object)]
#[oai(rename = "StockLevel", rename_all = "camelCase")]
pub(super) struct LevelView {
    /// The store.
    store_id: Uuid,
    /// The product.
    product_id: Uuid,
    /// What people call it.
    name: String,
    /// What it is.
    product_type: ProductType,
    /// Whether the store sells it.
    is_listed: bool,
    /// What the marketplace calls it.
    external_sku: Nullable<String>,
    /// What the marketplace calls it.
    external_barcode: Nullable<String>,
    /// What the marketplace calls it.
    external_listing_id: Nullable<String>,
    /// Where the marketplace says it lies.
    external_location_id: Nullable<String>,
    /// So many can be sold; of a set always 0.
    sellable: i64,
    /// So many are reserved; of a set always 0.
    committed: i64,
    /// So many can be sold; of a set, so many its components make.
    effective: i64,
    /// What the marketplace was told last.
    last_pushed: Nullable<i64>,
    /// When.
    last_pushed_at: Nullable<Timestamp>,
    /// What the marketplace is known to show; null while that is not known.
    last_confirmed: Nullable<i64>,
    /// Since when that is known.
    last_confirmed_at: Nullable<Timestamp>,
    /// Whether it is in the queue.
    pending: bool,
    /// Whether the marketplace has yet to say what became of what it was told last.
    in_flight: bool,
    /// Whether the store sells it and the marketplace is not known to show what it should.
    differing: bool,
    /// `BLOCKED`: the marketplace refuses it.
    push_state: PairState,
    /// Why, in a word.
    push_error_code: Nullable<String>,
    /// Why, in the marketplace's words.
    push_error_message: Nullable<String>,
    /// When it is tried again all the same.
    blocked_until: Nullable<Timestamp>,
    /// How often in a row it was refused.
    reject_count: i32,
}

impl From<StockLevel> for LevelView {
    fn from(
        StockLevel {
            level,
            is_differing,
        }: StockLevel,
    ) -> Self {
        Self {
            store_id: level.store_id.0,
            product_id: level.product_id.0,
            name: level.name,
            product_type: level.product_type,
            is_listed: level.listing.is_listed,
            external_sku: level.listing.external_sku.into(),
            external_barcode: level.listing.external_barcode.into(),
            external_listing_id: level.listing.external_listing_id.into(),
            external_location_id: level.listing.external_location_id.into(),
            sellable: level.sellable_quantity,
            committed: level.committed_quantity,
            effective: level.effective_quantity,
            last_pushed: level.last_pushed_quantity.into(),
            last_pushed_at: level.last_pushed_at.into(),
            last_confirmed: level.last_confirmed_quantity.into(),
            last_confirmed_at: level.last_confirmed_at.into(),
            pending: level.is_pending,
            in_flight: level.in_flight_push_id.is_some(),
            differing: is_differing,
            push_state: level.push_state,
            push_error_code: level.push_error_code.into(),
            push_error_message: level.push_error_message.into(),
            blocked_until: level.blocked_until.into(),
            reject_count: level.reject_count,
        }
    }
}

/// Reads which levels are wanted.
pub(super) fn level_filter(fields: &mut Fields<'_>) -> Option<LevelFilter> {
    let product_type = fields.optional("productType", |fields, name| {
        fields.one_of(name, ProductType::NAMES)
    });
    let push_state = fields.optional("pushState", |fields, name| {
        fields.one_of(name, PairState::NAMES)
    });
    let is_differing = fields.optional("differing", Fields::boolean);
    Some(LevelFilter {
        product_type: product_type?.map(str::parse).transpose().ok()?,
        push_state: push_state?.map(str::parse).transpose().ok()?,
        is_differing: is_differing?,
    })
}

/// How a store sells a product.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
pub(super) struct UpdateListing {
    /// Whether it does; true unless you say otherwise.
    is_listed: Option<bool>,
    /// What the marketplace calls the product, if it has a name of its own for it; absent: as
    /// before; null: it has none.
    #[oai(validator(min_length = 1, max_length = 255))]
    external_sku: MaybeUndefined<String>,
    /// The same: the barcode there.
    #[oai(validator(min_length = 1, max_length = 255))]
    external_barcode: MaybeUndefined<String>,
    /// The same: the listing there.
    #[oai(validator(min_length = 1, max_length = 255))]
    external_listing_id: MaybeUndefined<String>,
    /// Where the marketplace says it lies.
    #[oai(validator(min_length = 1, max_length = 255))]
    external_location_id: MaybeUndefined<String>,
}

impl Example for UpdateListing {
    fn example() -> Self {
        Self {
            is_listed: Some(true),
            external_sku: MaybeUndefined::Value("SCARF-1".to_owned()),
            external_barcode: MaybeUndefined::Undefined,
            external_listing_id: MaybeUndefined::Value("HBCV00001".to_owned()),
            external_location_id: MaybeUndefined::Undefined,
        }
    }
}

impl FromFields for UpdateListing {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let is_listed = fields.optional("isListed", Fields::boolean);
        let external_sku = fields.change("externalSku", code_of);
        let external_barcode = fields.change("externalBarcode", code_of);
        let external_listing_id = fields.change("externalListingId", code_of);
        let external_location_id = fields.change("externalLocationId", code_of);
        Some(Self {
            is_listed: is_listed?,
            external_sku: external_sku?,
            external_barcode: external_barcode?,
            external_listing_id: external_listing_id?,
            external_location_id: external_location_id?,
        })
    }
}

impl From<UpdateListing> for ListingChange {
    fn from(change: UpdateListing) -> Self {
        Self {
            is_listed: change.is_listed,
            external_sku: change.external_sku,
            external_barcode: change.external_barcode,
            external_listing_id: change.external_listing_id,
            external_location_id: change.external_location_id,
        }
    }
}

/// A component of a set, as a store has it.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct AvailableComponent {
    /// The component.
    product_id: Uuid,
    /// What people call it.
    name: String,
    /// So many are in a set.
    quantity_per_set: i64,
    /// So many can be sold.
    sellable: i64,
    /// So many sets they make.
    makes: i64,
    /// Whether the store has it at all.
    in_store: bool,
}

impl From<Component> for AvailableComponent {
    fn from(component: Component) -> Self {
        Self {
            product_id: component.product_id.0,
            name: component.name,
            quantity_per_set: component.quantity_per_set,
            sellable: component.sellable_quantity,
            makes: component.makes,
            in_store: component.is_in_store,
        }
    }
}

/// How many of a product a store can sell.
#[derive(Debug, Object)]
#[oai(rename = "Availability", rename_all = "camelCase")]
pub(super) struct AvailabilityView {
    /// The store.
    store_id: Uuid,
    /// The product.
    product_id: Uuid,
    /// What it is.
    product_type: ProductType,
    /// Whether the store sells it.
    is_listed: bool,
    /// So many.
    effective: i64,
    /// What a set is made of; what makes the fewest sets comes first.
    components: Vec<AvailableComponent>,
    /// The component that there are too few of to make one more; null of what is no set, and of
    /// one without components.
    limiting_component_id: Nullable<Uuid>,
}

impl From<(Pair, Availability)> for AvailabilityView {
    fn from((pair, available): (Pair, Availability)) -> Self {
        let limiting = available.limiting_component();
        let components = available.components.into_iter();
        Self {
            store_id: pair.store_id.0,
            product_id: pair.product_id.0,
            product_type: available.product_type,
            is_listed: available.is_listed,
            effective: available.quantity,
            components: components.map(AvailableComponent::from).collect(),
            limiting_component_id: limiting.map(|ProductId(id)| id).into(),
        }
    }
}

/// What was put into the queue.
#[derive(Debug, Object)]
pub(super) struct Enqueued {
    /// So many rows, those of sets among them.
    pub(super) enqueued: u64,
}
