//! What an order takes and gives back: reserve, release, fulfil.
//!
//! An order is known by its store and its name there, and is reserved once: the same request gives
//! the same reservation, another one under the same name is refused. A cancellation that comes
//! before its order is kept, so that the order takes nothing when it comes. What is given back is
//! what was taken, and no more.

use std::collections::BTreeSet;
use std::fmt::Write;

use chrono::{DateTime, Utc};
use jobs::StoreId;
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::types::Json;

use super::error::Error;
use super::events::tell;
use super::intake::{Intake, OrderLine, take_in};
use super::model::{
    MovementKind, ProductId, Reason, ReservationId, ReservationMode, ReservationStatus,
};
use super::pick::pick;
use super::pool::Pool;
use super::queries::reservations::{self, Header, Item};
use super::queries::shelves;
use super::shared::{self, Happened, Missing, ShelfMove, Site};
use crate::App;
use crate::db::Tx;
use crate::webhooks::{EventType, Recorded};

/// An order that takes stock.
#[expect(clippy::struct_field_names, reason = "it is called so everywhere")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a> {
    pub(crate) organization_id: &'a str,
    pub(crate) store_id: StoreId,
    /// Its name in the store.
    pub(crate) order_ref: &'a str,
    pub(crate) mode: ReservationMode,
    pub(crate) lines: &'a [OrderLine],
}

/// A reservation and what it holds.
#[derive(Clone, Debug)]
pub(crate) struct Reservation {
    pub(crate) header: Header,
    pub(crate) items: Vec<Item>,
}

/// What came of an order.
#[derive(Debug)]
pub(crate) struct Reserved {
    pub(crate) reservation: Reservation,
    /// Whether it was reserved just now.
    pub(crate) is_new: bool,
    /// Events, to be enqueued after the commit.
    pub(crate) recorded: Vec<Recorded>,
}

/// Reserves what an order orders, in the caller's transaction; one order a transaction, so that
/// counters are locked in their order.
///
/// Strict: all of it or nothing. With shortfall: what there is, and the rest when it comes.
pub(crate) async fn reserve_order(
    app: &App,
    tx: &mut Tx,
    order: &Order<'_>,
) -> Result<Reserved, Error> {
    let now = app.clock.now();
    let site = shared::site(tx, order.organization_id, order.store_id).await?;
    let intake = take_in(tx, order.organization_id, order.store_id, order.lines).await?;
    let header = Header {
        id: ReservationId(app.ids.new_id(now)),
        store_id: order.store_id,
        order_ref: order.order_ref.to_owned(),
        mode: order.mode,
        status: ReservationStatus::Active,
        request_hash: request_hash(order),
        unmatched_lines: Json(intake.unmatched.clone()),
        created_at: now,
        updated_at: now,
    };
    if !reservations::insert_reservation(tx, &header).await? {
        return known_order(tx, &header).await;
    }
    if order.mode == ReservationMode::Strict {
        if let Some(set) = intake.empty_set {
            return Err(Error::InsufficientStock(set));
        }
        if !intake.unmatched.is_empty() {
            let lines = intake.unmatched.iter().map(|line| line.line).collect();
            return Err(Error::UnmatchedLines(lines));
        }
    }
    let items = take_stock(app, tx, &site, order, (&header, &intake), now).await?;
    let reservation = Reservation { header, items };
    let recorded = tell_of_order(app, tx, order, &reservation, now).await?;
    Ok(Reserved {
        reservation,
        is_new: true,
        recorded,
    })
}

/// What is the same in two requests that are the same.
fn request_hash(order: &Order<'_>) -> String {
    let mut lines: Vec<_> = order
        .lines
        .iter()
        .map(|line| {
            let product_id = line.product_id.map(|id| id.to_string());
            json!([product_id, line.barcode, line.sku, line.quantity]).to_string()
        })
        .collect();
    lines.sort_unstable();
    let text = json!([order.mode.as_str(), lines]).to_string();
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The reservation that the order has already, if it is the same order.
async fn known_order(tx: &mut Tx, asked: &Header) -> Result<Reserved, Error> {
    let known = reservations::reservation(tx, asked.store_id, &asked.order_ref).await?;
    let header = known.ok_or(sqlx::Error::RowNotFound)?;
    let is_cancelled = header.request_hash.is_empty();
    if !is_cancelled && header.request_hash != asked.request_hash {
        return Err(Error::ReservationConflict(header.id));
    }
    let items = reservations::items(tx, header.id).await?;
    Ok(Reserved {
        reservation: Reservation { header, items },
        is_new: false,
        recorded: Vec::new(),
    })
}

/// Takes what there is of what is wanted.
async fn take_stock(
    app: &App,
    tx: &mut Tx,
    site: &Site,
    order: &Order<'_>,
    (header, intake): (&Header, &Intake),
    now: DateTime<Utc>,
) -> Result<Vec<Item>, Error> {
    let products: BTreeSet<ProductId> = intake.wanted.keys().copied().collect();
    if products.is_empty() {
        return Ok(Vec::new());
    }
    let layout = (site.is_shared, &site.layout);
    let stores = site.neighbours();
    let mut pool = shared::open(tx, layout, &products, &stores, Missing::Made, now).await?;
    let mut items = Vec::new();
    for (product_id, wanted) in &intake.wanted {
        let available = pool.available(*product_id, site.store_id).max(0);
        let reserved = wanted.quantity.min(available);
        if reserved < wanted.quantity && order.mode == ReservationMode::Strict {
            return Err(Error::InsufficientStock(*product_id));
        }
        pool.reserve(*product_id, site.store_id, reserved);
        items.push(Item {
            product_id: *product_id,
            quantity: wanted.quantity,
            reserved_quantity: reserved,
            shortfall_quantity: wanted.quantity - reserved,
            fulfilled_quantity: 0,
            source_lines: Json(wanted.source_lines.clone()),
        });
    }
    pool.book(MovementKind::Reserve, Some(order.order_ref));
    reservations::insert_items(tx, header.id, &items, now).await?;
    let told = products.union(&intake.sets).copied().collect();
    let mut happened = Happened::new(order.organization_id, Reason::OrderCreated);
    happened.selling = Some((site.store_id, told));
    shared::settle(app, tx, &pool, happened, now).await?;
    Ok(items)
}

/// Tells of an order for more than there was, and of lines that nobody knows.
async fn tell_of_order(
    app: &App,
    tx: &mut Tx,
    order: &Order<'_>,
    Reservation { header, items }: &Reservation,
    now: DateTime<Utc>,
) -> Result<Vec<Recorded>, Error> {
    let store = (order.organization_id, order.store_id);
    let mut recorded = Vec::new();
    let short: Vec<_> = items
        .iter()
        .filter(|item| item.shortfall_quantity > 0)
        .map(|item| {
            json!({
                "productId": item.product_id,
                "quantity": item.quantity,
                "reserved": item.reserved_quantity,
                "shortfall": item.shortfall_quantity,
            })
        })
        .collect();
    if !short.is_empty() {
        let data = json!({
            "reservationId": header.id,
            "orderRef": header.order_ref,
            "items": short,
        });
        recorded.extend(tell(app, tx, store, EventType::StockOversold, data, now).await?);
    }
    if !header.unmatched_lines.is_empty() {
        let data = json!({
            "reservationId": header.id,
            "orderRef": header.order_ref,
            "unmatchedLines": header.unmatched_lines.0,
        });
        recorded.extend(tell(app, tx, store, EventType::StockOrderUnmatched, data, now).await?);
    }
    Ok(recorded)
}

/// The order that is meant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OrderName<'a> {
    pub(crate) organization_id: &'a str,
    pub(crate) store_id: StoreId,
    /// Its name in the store.
    pub(crate) order_ref: &'a str,
}

/// The reservation of an order.
pub(crate) async fn reservation_of(
    tx: &mut Tx,
    order: OrderName<'_>,
) -> Result<Reservation, Error> {
    let site = super::queries::layout::source_of(tx, order.organization_id, order.store_id).await?;
    site.ok_or(Error::StoreNotFound(order.store_id))?;
    let header = reservations::reservation(tx, order.store_id, order.order_ref).await?;
    let header = header.ok_or_else(|| Error::ReservationNotFound(order.order_ref.to_owned()))?;
    let items = reservations::items(tx, header.id).await?;
    Ok(Reservation { header, items })
}

/// Gives back what an order took and what of it has not left, in the caller's transaction. An order
/// that is not there yet is cancelled before it comes.
pub(crate) async fn release_order(
    app: &App,
    tx: &mut Tx,
    order: OrderName<'_>,
) -> Result<Reservation, Error> {
    let now = app.clock.now();
    let site = shared::site(tx, order.organization_id, order.store_id).await?;
    let header = lock_or_cancel(app, tx, order, now).await?;
    match header.status {
        ReservationStatus::Active => {
            let closing = Closing::new(ReservationStatus::Released, order, &site, &header);
            closing.run(app, tx, now).await
        }
        ReservationStatus::Released => whole(tx, header).await,
        ReservationStatus::Fulfilled => Err(Error::ReservationClosed(header.id)),
    }
}

/// What an order took has left the house, in the caller's transaction: where goods lie on shelves,
/// they are taken from there.
pub(crate) async fn fulfil_order(
    app: &App,
    tx: &mut Tx,
    order: OrderName<'_>,
) -> Result<Reservation, Error> {
    let now = app.clock.now();
    let site = shared::site(tx, order.organization_id, order.store_id).await?;
    let header = reservations::lock_reservation(tx, order.store_id, order.order_ref).await?;
    let header = header.ok_or_else(|| Error::ReservationNotFound(order.order_ref.to_owned()))?;
    match header.status {
        ReservationStatus::Active => {
            let closing = Closing::new(ReservationStatus::Fulfilled, order, &site, &header);
            closing.run(app, tx, now).await
        }
        ReservationStatus::Fulfilled => whole(tx, header).await,
        ReservationStatus::Released => Err(Error::ReservationClosed(header.id)),
    }
}

async fn whole(tx: &mut Tx, header: Header) -> Result<Reservation, Error> {
    let items = reservations::items(tx, header.id).await?;
    Ok(Reservation { header, items })
}

/// Locks the reservation of an order, or notes that the order is cancelled before it came.
async fn lock_or_cancel(
    app: &App,
    tx: &mut Tx,
    order: OrderName<'_>,
    now: DateTime<Utc>,
) -> Result<Header, Error> {
    let known = reservations::lock_reservation(tx, order.store_id, order.order_ref).await?;
    if let Some(header) = known {
        return Ok(header);
    }
    let cancelled = Header {
        id: ReservationId(app.ids.new_id(now)),
        store_id: order.store_id,
        order_ref: order.order_ref.to_owned(),
        mode: ReservationMode::AllowShortfall,
        status: ReservationStatus::Released,
        request_hash: String::new(),
        unmatched_lines: Json(Vec::new()),
        created_at: now,
        updated_at: now,
    };
    if reservations::insert_reservation(tx, &cancelled).await? {
        return Ok(cancelled);
    }
    // The order came just now, and whoever brought it has finished.
    let known = reservations::lock_reservation(tx, order.store_id, order.order_ref).await?;
    Ok(known.ok_or(sqlx::Error::RowNotFound)?)
}

/// A reservation that ends.
struct Closing<'a> {
    status: ReservationStatus,
    order: OrderName<'a>,
    site: &'a Site,
    header: &'a Header,
}

impl<'a> Closing<'a> {
    fn new(
        status: ReservationStatus,
        order: OrderName<'a>,
        site: &'a Site,
        header: &'a Header,
    ) -> Self {
        Self {
            status,
            order,
            site,
            header,
        }
    }

    async fn run(&self, app: &App, tx: &mut Tx, now: DateTime<Utc>) -> Result<Reservation, Error> {
        let items = reservations::items(tx, self.header.id).await?;
        if !items.is_empty() {
            self.move_stock(app, tx, &items, now).await?;
        }
        reservations::close_reservation(tx, self.header.id, self.status, now).await?;
        let mut header = self.header.clone();
        header.status = self.status;
        header.updated_at = now;
        whole(tx, header).await
    }

    async fn move_stock(
        &self,
        app: &App,
        tx: &mut Tx,
        items: &[Item],
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let (site, order) = (self.site, self.order);
        let products: BTreeSet<ProductId> = items.iter().map(|item| item.product_id).collect();
        let layout = (site.is_shared, &site.layout);
        // What it gives back may go to a neighbour, which concerns the neighbours of that one.
        let stores = site.layout.around(&site.neighbours());
        let mut pool = shared::open(tx, layout, &products, &stores, Missing::Made, now).await?;
        // Once more: somebody may have filled a shortfall before the counters were locked.
        let items = reservations::items(tx, self.header.id).await?;
        reservations::close_items(tx, self.header.id, self.status, now).await?;
        let is_released = self.status == ReservationStatus::Released;
        let mut moves = Vec::new();
        if is_released {
            for item in &items {
                pool.release(item.product_id, site.store_id, item.held());
            }
            pool.book(MovementKind::Release, Some(order.order_ref));
        } else {
            moves = self.take_from_shelves(tx, &mut pool, &items, now).await?;
            for item in &items {
                pool.fulfil(item.product_id, site.store_id, item.held());
            }
            pool.book(MovementKind::Fulfil, Some(order.order_ref));
        }
        let fills = shared::fill_shortfalls(tx, &mut pool).await?;
        let reason = if is_released {
            Reason::OrderCancelled
        } else {
            Reason::StockRemoved
        };
        let mut happened = Happened::new(order.organization_id, reason);
        if is_released {
            happened.selling = Some((site.store_id, sold(&items)));
        }
        happened.fills = &fills;
        happened.shelves = &moves;
        happened.reference = Some(order.order_ref);
        shared::settle(app, tx, &pool, happened, now).await
    }

    /// Takes what the order holds from the shelves of its store's warehouses, if it has any.
    async fn take_from_shelves(
        &self,
        tx: &mut Tx,
        pool: &mut Pool,
        items: &[Item],
        now: DateTime<Utc>,
    ) -> Result<Vec<ShelfMove>, Error> {
        let site = self.site;
        let held = items.iter().filter(|item| item.held() > 0);
        let products: BTreeSet<ProductId> = held.map(|item| item.product_id).collect();
        if !site.is_shared || products.is_empty() {
            return Ok(Vec::new());
        }
        let warehouses = site.layout.warehouses_of(site.store_id).collect();
        let lying = shelves::where_they_lie(tx, &products, &warehouses).await?;
        let mut picks = Vec::new();
        for item in items.iter().filter(|item| item.held() > 0) {
            let picked = pick(site, pool, &lying, item.product_id, item.held());
            picks.extend(picked.ok_or(Error::InsufficientShelfStock(item.product_id))?);
        }
        let taken = shelves::take_all(tx, &picks, now).await?;
        if usize::try_from(taken) != Ok(picks.len()) {
            return Err(sqlx::Error::RowNotFound.into());
        }
        let moved = picks.iter().map(|pick| {
            pool.put(pick.product_id, pick.warehouse_id, -pick.quantity);
            ShelfMove {
                kind: MovementKind::ShelfRemove,
                product_id: pick.product_id,
                shelf_id: pick.shelf_id,
                by: -pick.quantity,
            }
        });
        Ok(moved.collect())
    }
}

/// The products of an order, and the sets that it named: what its marketplace counts.
fn sold(items: &[Item]) -> BTreeSet<ProductId> {
    let sets = items.iter().flat_map(|item| {
        let lines = item.source_lines.iter();
        lines.filter_map(|line| line.set_product_id.map(ProductId))
    });
    let products = items.iter().map(|item| item.product_id);
    products.chain(sets).collect()
}
