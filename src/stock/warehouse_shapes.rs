//! What the routes of warehouses, shelves and counting take and give.

use jobs::StoreId;
use poem_openapi::{Enum, Object, types};
use uuid::Uuid;

use super::adjust::{Count, Level};
use super::reservation_shapes::MAX_QUANTITY;
use super::shelves::{Shelf, ShelfStock};
use super::warehouses::LinkedWarehouse;
use crate::http::fields::{Fields, FromFields, code};
use crate::timestamp::Timestamp;

/// Stores of a warehouse.
const MAX_STORES: usize = 1000;
/// What somebody may have counted.
const MAX_COUNT: i64 = 1_000_000_000;

/// An id of the right form that is nobody's.
const EXAMPLE: Uuid = Uuid::from_u128(0x018c_c251_f400_7000_8000_0000_0000_0003);

/// A warehouse, as its organization makes it.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
pub(super) struct CreateWarehouse {
    /// Whose it is.
    #[oai(validator(min_length = 1, max_length = 255))]
    pub(super) organization_id: String,
    /// What people call it.
    #[oai(validator(min_length = 1, max_length = 255))]
    pub(super) name: String,
    /// Its short name; no other warehouse of the organization has it.
    #[oai(validator(min_length = 1, max_length = 64))]
    pub(super) code: String,
}

impl types::Example for CreateWarehouse {
    fn example() -> Self {
        Self {
            organization_id: "org-1".to_owned(),
            name: "Istanbul".to_owned(),
            code: "IST".to_owned(),
        }
    }
}

impl FromFields for CreateWarehouse {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let organization_id = fields.text("organizationId", 1..=255);
        let name = fields.text("name", 1..=255);
        let code = fields.text("code", 1..=64);
        Some(Self {
            organization_id: organization_id?,
            name: name?,
            code: code?,
        })
    }
}

/// The stores that sell what lies in a warehouse: all of them.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
pub(super) struct WarehouseStores {
    /// Those, and no others.
    #[oai(validator(max_items = 1000))]
    pub(super) store_ids: Vec<Uuid>,
}

impl types::Example for WarehouseStores {
    fn example() -> Self {
        Self {
            store_ids: vec![EXAMPLE],
        }
    }
}

impl FromFields for WarehouseStores {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let store_ids = fields.uuid_list("storeIds", 0..=MAX_STORES);
        Some(Self {
            store_ids: store_ids?,
        })
    }
}

/// A shelf, as its organization makes it.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
pub(super) struct CreateShelf {
    /// What it is called; no other shelf of the warehouse has the name.
    #[oai(validator(min_length = 1, max_length = 64))]
    pub(super) code: String,
}

impl types::Example for CreateShelf {
    fn example() -> Self {
        Self {
            code: "A-01".to_owned(),
        }
    }
}

impl FromFields for CreateShelf {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let code = fields.text("code", 1..=64);
        Some(Self { code: code? })
    }
}

/// Units that come to a shelf, or leave it.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example, skip_serializing_if_is_none)]
pub(super) struct MoveShelfStock {
    /// Of which product; sets lie nowhere.
    pub(super) product_id: Uuid,
    /// How many.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000")))]
    pub(super) quantity: i64,
    /// The order that they are for. What is taken for one is no longer reserved.
    #[oai(validator(min_length = 1, max_length = 255))]
    pub(super) reservation_ref: Option<String>,
    /// The store of that order, where several stores of the warehouse have one of this name.
    pub(super) store_id: Option<Uuid>,
}

impl types::Example for MoveShelfStock {
    fn example() -> Self {
        Self {
            product_id: EXAMPLE,
            quantity: 5,
            reservation_ref: None,
            store_id: None,
        }
    }
}

impl FromFields for MoveShelfStock {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let product_id = fields.uuid("productId");
        let quantity = fields.integer("quantity", 1..=MAX_QUANTITY);
        let reservation_ref =
            fields.optional("reservationRef", |fields, name| fields.text(name, 1..=255));
        let store_id = fields.optional("storeId", Fields::uuid);
        Some(Self {
            product_id: product_id?,
            quantity: quantity?,
            reservation_ref: reservation_ref?,
            store_id: store_id?,
        })
    }
}

/// How a quantity is adjusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "UPPERCASE")]
pub(super) enum AdjustmentType {
    /// By so many.
    Delta,
    /// To so many.
    Set,
}

/// What somebody counted.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example, skip_serializing_if_is_none)]
pub(super) struct AdjustStock {
    /// `DELTA`: so many more, or fewer. `SET`: so many that can be sold.
    #[oai(rename = "type")]
    pub(super) kind: AdjustmentType,
    /// How many: -1,000,000 to 1,000,000 and not 0; with `SET` 0 to 1,000,000,000.
    pub(super) quantity: i64,
    /// Why, for people.
    #[oai(validator(max_length = 1000))]
    pub(super) note: Option<String>,
}

impl types::Example for AdjustStock {
    fn example() -> Self {
        Self {
            kind: AdjustmentType::Delta,
            quantity: -3,
            note: Some("Broken".to_owned()),
        }
    }
}

impl FromFields for AdjustStock {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let kind = fields.one_of("type", &["DELTA", "SET"]);
        let (kind, range) = match kind {
            Some("SET") => (Some(AdjustmentType::Set), 0..=MAX_COUNT),
            kind => (
                kind.map(|_| AdjustmentType::Delta),
                -MAX_QUANTITY..=MAX_QUANTITY,
            ),
        };
        let quantity = fields.integer("quantity", range);
        let note = fields.optional("note", |fields, name| fields.text(name, 0..=1000));
        if kind == Some(AdjustmentType::Delta) && quantity == Some(0) {
            let message = "Expected more or less than none";
            return fields.reject("quantity", code::OUT_OF_RANGE, message);
        }
        Some(Self {
            kind: kind?,
            quantity: quantity?,
            note: note?,
        })
    }
}

impl AdjustStock {
    pub(super) fn count(&self) -> Count {
        match self.kind {
            AdjustmentType::Delta => Count::Delta(self.quantity),
            AdjustmentType::Set => Count::Set(self.quantity),
        }
    }
}

/// A warehouse.
#[derive(Debug, Object)]
#[oai(rename = "Warehouse", rename_all = "camelCase")]
pub(super) struct WarehouseView {
    /// Its id.
    id: Uuid,
    /// What people call it.
    name: String,
    /// Its short name.
    code: String,
    /// The stores that sell what lies there, if their `stockSource` is `WAREHOUSE`.
    store_ids: Vec<Uuid>,
    /// When it was made.
    created_at: Timestamp,
    /// When it, or which stores sell what lies there, was changed last.
    updated_at: Timestamp,
}

impl From<LinkedWarehouse> for WarehouseView {
    fn from(LinkedWarehouse { warehouse, stores }: LinkedWarehouse) -> Self {
        Self {
            id: warehouse.id.0,
            name: warehouse.name,
            code: warehouse.code,
            store_ids: stores.into_iter().map(|StoreId(id)| id).collect(),
            created_at: warehouse.created_at.into(),
            updated_at: warehouse.updated_at.into(),
        }
    }
}

/// A shelf.
#[derive(Debug, Object)]
#[oai(rename = "Shelf", rename_all = "camelCase")]
pub(super) struct ShelfView {
    /// Its id.
    id: Uuid,
    /// Where it stands.
    warehouse_id: Uuid,
    /// What it is called.
    code: String,
    /// When it was made.
    created_at: Timestamp,
    /// When it was changed last.
    updated_at: Timestamp,
}

impl From<Shelf> for ShelfView {
    fn from(shelf: Shelf) -> Self {
        Self {
            id: shelf.id.0,
            warehouse_id: shelf.warehouse_id.0,
            code: shelf.code,
            created_at: shelf.created_at.into(),
            updated_at: shelf.updated_at.into(),
        }
    }
}

/// What lies on a shelf of a product.
#[derive(Debug, Object)]
#[oai(rename = "ShelfStock", rename_all = "camelCase")]
pub(super) struct ShelfStockView {
    /// The shelf.
    shelf_id: Uuid,
    /// The product.
    product_id: Uuid,
    /// How many of it.
    quantity: i64,
    /// When some came or left last.
    updated_at: Timestamp,
}

impl From<ShelfStock> for ShelfStockView {
    fn from(stock: ShelfStock) -> Self {
        Self {
            shelf_id: stock.shelf_id.0,
            product_id: stock.product_id.0,
            quantity: stock.quantity,
            updated_at: stock.updated_at.into(),
        }
    }
}

/// What there is of a product in a store.
#[derive(Debug, Object)]
#[oai(rename = "AdjustedStock", rename_all = "camelCase")]
pub(super) struct LevelView {
    /// The store.
    store_id: Uuid,
    /// The product.
    product_id: Uuid,
    /// How many can be sold, once the orders that waited for it had theirs.
    sellable: i64,
    /// How many are reserved.
    committed: i64,
}

impl From<Level> for LevelView {
    fn from(level: Level) -> Self {
        Self {
            store_id: level.store_id.0,
            product_id: level.product_id.0,
            sellable: level.sellable,
            committed: level.committed,
        }
    }
}
