//! What the routes of reservations take and give.

use poem_openapi::{Object, types};
use uuid::Uuid;

use super::intake::OrderLine;
use super::model::{ProductId, ReservationMode, ReservationStatus};
use super::queries::reservations::{Item, SourceLine, UnmatchedLine};
use super::reserve::Reservation;
use crate::http::fields::{Fields, FromFields, code};
use crate::timestamp::Timestamp;

/// Lines of an order.
const MAX_LINES: usize = 500;
/// Units of a line, of a movement.
pub(super) const MAX_QUANTITY: i64 = 1_000_000;

/// An order that takes stock.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
pub(super) struct CreateReservation {
    /// The name of the order in its store: the same request with it has one effect, for ever.
    #[oai(validator(min_length = 1, max_length = 255))]
    pub(super) order_ref: String,
    /// `STRICT`, unless it is said otherwise.
    pub(super) mode: Option<ReservationMode>,
    /// What is ordered. Sets are taken apart; the same product may be in several lines.
    #[oai(validator(min_items = 1, max_items = 500))]
    pub(super) lines: Vec<ReservationLine>,
}

/// A line of an order: exactly one name of a product.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(super) struct ReservationLine {
    /// Its id.
    pub(super) product_id: Option<Uuid>,
    /// Its barcode: of the store, or of the product, or one of its further ones.
    #[oai(validator(min_length = 1, max_length = 255))]
    pub(super) barcode: Option<String>,
    /// Its SKU: of the store, or of the product.
    #[oai(validator(min_length = 1, max_length = 255))]
    pub(super) sku: Option<String>,
    /// How many.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000")))]
    pub(super) quantity: i64,
}

impl types::Example for CreateReservation {
    fn example() -> Self {
        Self {
            order_ref: "TY-10001".to_owned(),
            mode: Some(ReservationMode::Strict),
            lines: vec![ReservationLine {
                product_id: None,
                barcode: Some("SET-001".to_owned()),
                sku: None,
                quantity: 2,
            }],
        }
    }
}

impl FromFields for CreateReservation {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let order_ref = fields.text("orderRef", 1..=255);
        let mode = fields.optional("mode", |fields, name| {
            fields.one_of(name, ReservationMode::NAMES)
        });
        let lines = fields.objects("lines", 1..=MAX_LINES, ReservationLine::from_fields);
        let mode = match mode? {
            Some(mode) => Some(mode.parse().ok()?),
            None => None,
        };
        Some(Self {
            order_ref: order_ref?,
            mode,
            lines: lines?,
        })
    }
}

impl FromFields for ReservationLine {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let product_id = fields.optional("productId", Fields::uuid);
        let barcode = fields.optional("barcode", |fields, name| fields.text(name, 1..=255));
        let sku = fields.optional("sku", |fields, name| fields.text(name, 1..=255));
        let quantity = fields.integer("quantity", 1..=MAX_QUANTITY);
        let (product_id, barcode, sku) = (product_id?, barcode?, sku?);
        let names = [product_id.is_some(), barcode.is_some(), sku.is_some()];
        if names.iter().filter(|is_there| **is_there).count() != 1 {
            let message = "Expected exactly one of productId, barcode and sku";
            return fields.reject("productId", code::INVALID_REQUEST, message);
        }
        Some(Self {
            product_id,
            barcode,
            sku,
            quantity: quantity?,
        })
    }
}

impl From<ReservationLine> for OrderLine {
    fn from(line: ReservationLine) -> Self {
        Self {
            product_id: line.product_id.map(ProductId),
            barcode: line.barcode,
            sku: line.sku,
            quantity: line.quantity,
        }
    }
}

/// What an order has taken.
#[derive(Debug, Object)]
#[oai(rename = "Reservation", rename_all = "camelCase")]
pub(super) struct ReservationView {
    /// Its id.
    reservation_id: Uuid,
    /// The name of the order in its store.
    order_ref: String,
    /// What was to be done about an order for more than there is.
    mode: ReservationMode,
    /// How it stands.
    status: ReservationStatus,
    /// What it holds, by product; of a closed one, what it held.
    items: Vec<ItemView>,
    /// The lines that name no product.
    unmatched_lines: Vec<UnmatchedView>,
    /// When it was made.
    created_at: Timestamp,
    /// When it was changed last.
    updated_at: Timestamp,
}

/// What an order has taken of a product.
#[derive(Debug, Object)]
#[oai(rename = "ReservationItem", rename_all = "camelCase")]
struct ItemView {
    /// The product; never a set.
    product_id: Uuid,
    /// How many were ordered, over all lines and sets.
    quantity: i64,
    /// How many of them it got.
    reserved: i64,
    /// How many it waits for, or never got.
    shortfall: i64,
    /// How many have left the house.
    fulfilled: i64,
    /// Where they come from.
    source_lines: Vec<SourceView>,
}

/// A line that units come from.
#[derive(Debug, Object)]
#[oai(
    rename = "SourceLine",
    rename_all = "camelCase",
    skip_serializing_if_is_none
)]
struct SourceView {
    /// The place of the line in the request, from 0 on.
    line: u64,
    /// How many units of the product it makes.
    quantity: i64,
    /// The set that the line ordered, as it was made of then.
    set_product_id: Option<Uuid>,
}

/// A line that names no product, as it came.
#[derive(Debug, Object)]
#[oai(
    rename = "UnmatchedLine",
    rename_all = "camelCase",
    skip_serializing_if_is_none
)]
struct UnmatchedView {
    /// The place of the line in the request, from 0 on.
    line: u64,
    /// As it came.
    product_id: Option<Uuid>,
    /// As it came.
    barcode: Option<String>,
    /// As it came.
    sku: Option<String>,
    /// As it came.
    quantity: i64,
}

impl From<Reservation> for ReservationView {
    fn from(Reservation { header, items }: Reservation) -> Self {
        let unmatched = header.unmatched_lines.0.into_iter();
        Self {
            reservation_id: header.id.0,
            order_ref: header.order_ref,
            mode: header.mode,
            status: header.status,
            items: items.into_iter().map(ItemView::from).collect(),
            unmatched_lines: unmatched.map(UnmatchedView::from).collect(),
            created_at: header.created_at.into(),
            updated_at: header.updated_at.into(),
        }
    }
}

impl From<Item> for ItemView {
    fn from(item: Item) -> Self {
        Self {
            product_id: item.product_id.0,
            quantity: item.quantity,
            reserved: item.reserved_quantity,
            shortfall: item.shortfall_quantity,
            fulfilled: item.fulfilled_quantity,
            source_lines: item
                .source_lines
                .0
                .into_iter()
                .map(SourceView::from)
                .collect(),
        }
    }
}

impl From<SourceLine> for SourceView {
    fn from(source: SourceLine) -> Self {
        Self {
            line: source.line as u64,
            quantity: source.quantity,
            set_product_id: source.set_product_id,
        }
    }
}

impl From<UnmatchedLine> for UnmatchedView {
    fn from(line: UnmatchedLine) -> Self {
        Self {
            line: line.line as u64,
            product_id: line.product_id,
            barcode: line.barcode,
            sku: line.sku,
            quantity: line.quantity,
        }
    }
}
