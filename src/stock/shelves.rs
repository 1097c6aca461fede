//! Shelves, and what is put on them and taken from them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use jobs::StoreId;
use serde_json::json;
use sqlx::FromRow;

use super::error::Error;
use super::events::tell;
use super::layout::Layout;
use super::model::{
    MovementKind, ProductId, ProductType, Reason, ReservationStatus, ShelfId, WarehouseId,
};
use super::pool::Pool;
use super::queries::reservations::Header;
use super::queries::{intake, layout, reservations, shelves, warehouses};
use super::shared::{self, Happened, Missing, ShelfMove};
use crate::App;
use crate::db::Tx;
use crate::http::page::{Cursor, PageRequest};
use crate::webhooks::{EventType, Recorded};

/// A place in a warehouse.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct Shelf {
    pub(crate) id: ShelfId,
    pub(crate) warehouse_id: WarehouseId,
    /// What people call it.
    pub(crate) code: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

impl Shelf {
    /// Its place in the list of shelves.
    pub(crate) fn place(&self) -> Cursor {
        Cursor {
            at: self.created_at,
            id: self.id.0,
        }
    }
}

/// What lies on a shelf of a product.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct ShelfStock {
    pub(crate) shelf_id: ShelfId,
    pub(crate) product_id: ProductId,
    pub(crate) quantity: i64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

impl ShelfStock {
    /// Its place in the list of what lies there, which is by product alone.
    pub(crate) fn place(&self) -> Cursor {
        Cursor {
            at: DateTime::UNIX_EPOCH,
            id: self.product_id.0,
        }
    }
}

/// Makes a shelf in a warehouse.
pub(crate) async fn create_shelf(
    app: &App,
    tx: &mut Tx,
    organization_id: &str,
    warehouse_id: WarehouseId,
    code: String,
) -> Result<Shelf, Error> {
    let now = app.clock.now();
    own_warehouse(tx, organization_id, warehouse_id).await?;
    let shelf = Shelf {
        id: ShelfId(app.ids.new_id(now)),
        warehouse_id,
        code,
        created_at: now,
        updated_at: now,
    };
    if !shelves::insert_shelf(tx, &shelf).await? {
        return Err(Error::CodeTaken);
    }
    Ok(shelf)
}

async fn own_warehouse(tx: &mut Tx, organization_id: &str, id: WarehouseId) -> Result<(), Error> {
    let warehouse = warehouses::warehouse(tx, organization_id, id).await?;
    warehouse.map(|_| ()).ok_or(Error::WarehouseNotFound(id))
}

/// A page of the shelves of a warehouse, and one more.
pub(crate) async fn list_shelves(
    app: &App,
    organization_id: &str,
    warehouse_id: WarehouseId,
    page: PageRequest,
) -> Result<Vec<Shelf>, Error> {
    let mut tx = app.db.read().await?;
    own_warehouse(&mut tx, organization_id, warehouse_id).await?;
    let after = page.after.unwrap_or(Cursor::BEGINNING);
    let found = shelves::shelves(&mut tx, warehouse_id, after, page.look_ahead()).await?;
    tx.save().await?;
    Ok(found)
}

/// A page of what lies on a shelf, and one more.
pub(crate) async fn list_shelf_stock(
    app: &App,
    organization_id: &str,
    id: ShelfId,
    page: PageRequest,
) -> Result<Vec<ShelfStock>, Error> {
    let mut tx = app.db.read().await?;
    let warehouse = shelves::warehouse_of(&mut tx, organization_id, id).await?;
    warehouse.ok_or(Error::ShelfNotFound(id))?;
    let after = ProductId(page.after.unwrap_or(Cursor::BEGINNING).id);
    let found = shelves::stock_of(&mut tx, id, after, page.look_ahead()).await?;
    tx.save().await?;
    Ok(found)
}

/// Units of a product that come to a shelf or leave it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handling<'a> {
    pub(crate) organization_id: &'a str,
    pub(crate) shelf_id: ShelfId,
    pub(crate) product_id: ProductId,
    pub(crate) quantity: i64,
    /// The order they are for, by its name in its store.
    pub(crate) reservation_ref: Option<&'a str>,
    /// That store, where several have an order of this name.
    pub(crate) store_id: Option<StoreId>,
    pub(crate) idempotency_key: Option<&'a str>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Handled {
    pub(crate) stock: ShelfStock,
    /// Events, to be enqueued after the commit.
    pub(crate) recorded: Vec<Recorded>,
}

/// Puts units on a shelf, in the caller's transaction. Orders that wait for them have them before
/// anybody else.
pub(crate) async fn add_stock(
    app: &App,
    tx: &mut Tx,
    handling: &Handling<'_>,
) -> Result<Handled, Error> {
    let now = app.clock.now();
    let floor = Floor::of(tx, handling).await?;
    let drawing = floor.layout.stores_of(floor.warehouse_id);
    // What comes may go to any of them, which concerns their neighbours.
    let stores = floor.layout.around(&drawing);
    let mut pool = floor.open(tx, handling.product_id, &stores, now).await?;
    let (shelf, product, quantity) = (handling.shelf_id, handling.product_id, handling.quantity);
    let stock = shelves::put(tx, shelf, product, quantity, now).await?;
    pool.put(product, floor.warehouse_id, quantity);
    pool.book(MovementKind::ShelfAdd, handling.reservation_ref);
    let fills = shared::fill_shortfalls(tx, &mut pool).await?;
    let moved = [ShelfMove {
        kind: MovementKind::ShelfAdd,
        product_id: product,
        shelf_id: shelf,
        by: quantity,
    }];
    let mut happened = Happened::new(handling.organization_id, Reason::StockAdded);
    happened.fills = &fills;
    happened.shelves = &moved;
    happened.reference = handling.reservation_ref;
    happened.idempotency_key = handling.idempotency_key;
    shared::settle(app, tx, &pool, happened, now).await?;
    Ok(Handled {
        stock,
        recorded: Vec::new(),
    })
}

/// Takes units from a shelf, in the caller's transaction. Those of an order are no longer reserved
/// then; whatever else is taken may be missing to who has reserved it, and its store is told.
pub(crate) async fn remove_stock(
    app: &App,
    tx: &mut Tx,
    handling: &Handling<'_>,
) -> Result<Handled, Error> {
    let now = app.clock.now();
    let floor = Floor::of(tx, handling).await?;
    let order = match handling.reservation_ref {
        Some(reference) => Some(floor.lock_order(tx, reference, handling.store_id).await?),
        None => None,
    };
    // What an order no longer has reserved may go to a neighbour, when it lay elsewhere.
    let stores = match &order {
        Some(order) => floor
            .layout
            .around(&floor.layout.neighbours(order.store_id)),
        None => floor.layout.stores_of(floor.warehouse_id),
    };
    let mut pool = floor.open(tx, handling.product_id, &stores, now).await?;
    let (shelf, product, quantity) = (handling.shelf_id, handling.product_id, handling.quantity);
    let before = floor.balances(&pool, product);
    if let Some(order) = &order {
        fulfil_part(tx, &mut pool, order, (product, quantity), now).await?;
    }
    let stock = shelves::take(tx, shelf, product, quantity, now).await?;
    let stock = stock.ok_or(Error::InsufficientShelfStock(product))?;
    pool.put(product, floor.warehouse_id, -quantity);
    let kind = match order {
        Some(_) => MovementKind::Fulfil,
        None => MovementKind::ShelfRemove,
    };
    pool.book(kind, handling.reservation_ref);
    let fills = shared::fill_shortfalls(tx, &mut pool).await?;
    let moved = [ShelfMove {
        kind: MovementKind::ShelfRemove,
        product_id: product,
        shelf_id: shelf,
        by: -quantity,
    }];
    let mut happened = Happened::new(handling.organization_id, Reason::StockRemoved);
    happened.fills = &fills;
    happened.shelves = &moved;
    happened.reference = handling.reservation_ref;
    happened.idempotency_key = handling.idempotency_key;
    shared::settle(app, tx, &pool, happened, now).await?;
    let recorded = floor
        .tell_of_deficits(app, tx, handling, (&pool, &before), now)
        .await?;
    Ok(Handled { stock, recorded })
}

/// Units of an order have left; when they were the last ones, all of it has.
async fn fulfil_part(
    tx: &mut Tx,
    pool: &mut Pool,
    order: &Header,
    (product, quantity): (ProductId, i64),
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let mut items = reservations::items(tx, order.id).await?;
    let item = items.iter_mut().find(|item| item.product_id == product);
    let item = item
        .filter(|item| item.held() >= quantity)
        .ok_or(Error::ReservationConflict(order.id))?;
    item.fulfilled_quantity += quantity;
    pool.fulfil(product, order.store_id, quantity);
    reservations::fulfil_item(tx, order.id, product, quantity, now).await?;
    let is_over = items
        .iter()
        .all(|item| item.held() == 0 && item.shortfall_quantity == 0);
    if is_over {
        let status = ReservationStatus::Fulfilled;
        reservations::close_items(tx, order.id, status, now).await?;
        reservations::close_reservation(tx, order.id, status, now).await?;
    }
    Ok(())
}

/// The warehouse of a shelf, and who draws on it.
struct Floor {
    warehouse_id: WarehouseId,
    layout: Layout,
}

impl Floor {
    /// Finds the warehouse of a shelf, and holds the layout.
    async fn of(tx: &mut Tx, handling: &Handling<'_>) -> Result<Self, Error> {
        let organization_id = handling.organization_id;
        layout::hold_layout(tx, organization_id).await?;
        let warehouse = shelves::warehouse_of(tx, organization_id, handling.shelf_id).await?;
        let warehouse_id = warehouse.ok_or(Error::ShelfNotFound(handling.shelf_id))?;
        match intake::type_of(tx, organization_id, handling.product_id).await? {
            None => return Err(Error::ProductNotFound(handling.product_id)),
            Some(ProductType::Set) => return Err(Error::SetStockIsDerived(handling.product_id)),
            Some(ProductType::Simple) => {}
        }
        let layout = Layout::of(layout::links(tx, organization_id).await?);
        Ok(Self {
            warehouse_id,
            layout,
        })
    }

    async fn open(
        &self,
        tx: &mut Tx,
        product_id: ProductId,
        stores: &BTreeSet<StoreId>,
        now: DateTime<Utc>,
    ) -> sqlx::Result<Pool> {
        let layout = (true, &self.layout);
        shared::open(tx, layout, &[product_id].into(), stores, Missing::Made, now).await
    }

    /// Finds the order that goods are taken for, by its name in a store of this warehouse.
    async fn lock_order(
        &self,
        tx: &mut Tx,
        name: &str,
        store_id: Option<StoreId>,
    ) -> Result<Header, Error> {
        let warehouse = self.warehouse_id;
        let mut found = reservations::lock_orders_at(tx, warehouse, name, store_id).await?;
        let order = match (found.pop(), found.is_empty()) {
            (Some(order), true) => order,
            (Some(_), false) => return Err(Error::AmbiguousOrder),
            (None, _) => return Err(Error::ReservationNotFound(name.to_owned())),
        };
        match order.status {
            ReservationStatus::Active => Ok(order),
            _ => Err(Error::ReservationClosed(order.id)),
        }
    }

    /// What there is beyond what is reserved, for every store that draws on the warehouse.
    fn balances(&self, pool: &Pool, product: ProductId) -> BTreeMap<StoreId, i64> {
        let drawing = self.layout.stores_of(self.warehouse_id);
        let balance = |store: StoreId| (store, pool.available(product, store));
        drawing.into_iter().map(balance).collect()
    }

    /// Tells stores that have reserved what is no longer there.
    async fn tell_of_deficits(
        &self,
        app: &App,
        tx: &mut Tx,
        handling: &Handling<'_>,
        (pool, before): (&Pool, &BTreeMap<StoreId, i64>),
        now: DateTime<Utc>,
    ) -> Result<Vec<Recorded>, Error> {
        let product = handling.product_id;
        let mut recorded = Vec::new();
        for (store, balance) in self.balances(pool, product) {
            let committed = pool.committed(product, store);
            let was = before.get(&store).copied().unwrap_or_default();
            if committed == 0 || balance >= 0 || balance >= was {
                continue;
            }
            let data = json!({
                "productId": product,
                "warehouseId": self.warehouse_id,
                "shelfId": handling.shelf_id,
                "committed": committed,
                "missing": -balance,
            });
            let store = (handling.organization_id, store);
            recorded.extend(tell(app, tx, store, EventType::StockDeficit, data, now).await?);
        }
        Ok(recorded)
    }
}
