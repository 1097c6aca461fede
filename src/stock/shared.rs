//! Moves stock: exactly, once, and for every store that shares it.
//!
//! Everything that moves a counter does the same, in one transaction:
//! 1. it holds the layout of its organization ([`site`]): nobody changes which stores share which
//!    warehouses until the end;
//! 2. it locks the counters of its products in all stores that it may concern ([`open`]), made
//!    first where there are none, and always by product and then by store, so that no two wait for
//!    each other in a circle;
//! 3. it reads, in later statements, what the counters come from, and works out in memory what
//!    happens to them ([`Pool`]);
//! 4. it gives what there is to orders that wait for it ([`fill_shortfalls`]);
//! 5. it moves the counters by what was worked out, writes the same into the ledger, and puts
//!    what marketplaces have to be told into the queue ([`settle`]).
//!
//! Why this is enough: what a store can sell depends on the shelves of its warehouses and on what
//! its neighbours have reserved. Whoever changes either has locked the counters of that store,
//! as it stands in the layout, and a row that is not there yet is made by whoever comes first, while the
//! others wait for it. So nobody works with a figure that another one is about to change, and the
//! number of statements does not depend on the number of products.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use jobs::StoreId;
use sqlx::error::DatabaseError;
use uuid::Uuid;

use super::enqueue::enqueue;
use super::error::Error;
use super::layout::Layout;
use super::model::{
    MovementId, MovementKind, ProductId, Reason, ReservationId, ShelfId, StockSource,
};
use super::pool::{Known, Pool};
use super::queries::movements::NewMovement;
use super::queries::reservations::Fill;
use super::queries::{counters, layout, movements, reservations};
use crate::App;
use crate::db::Tx;

/// So many orders that wait are looked at together.
const SHORTFALLS: i64 = 1000;

/// Where stock is moved: a store, and who shares what it sells.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) store_id: StoreId,
    pub(super) is_shared: bool,
    pub(super) layout: Layout,
}

impl Site {
    /// The store and those that share a warehouse with it.
    pub(super) fn neighbours(&self) -> BTreeSet<StoreId> {
        self.layout.neighbours(self.store_id)
    }
}

/// Finds a store of an organization, and holds the layout.
pub(super) async fn site(
    tx: &mut Tx,
    organization_id: &str,
    store_id: StoreId,
) -> Result<Site, Error> {
    layout::hold_layout(tx, organization_id).await?;
    let source = layout::source_of(tx, organization_id, store_id).await?;
    let is_shared = source.ok_or(Error::StoreNotFound(store_id))? == StockSource::Warehouse;
    let layout = if is_shared {
        Layout::of(layout::links(tx, organization_id).await?)
    } else {
        Layout::default()
    };
    Ok(Site {
        store_id,
        is_shared,
        layout,
    })
}

/// What is done about counters that are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// They are made, so that something may be reserved.
    Made,
    /// They stay away; nothing can be reserved.
    LeftOut,
}

/// Locks the counters of products in stores and reads what they come from.
pub(super) async fn open(
    tx: &mut Tx,
    (is_shared, layout): (bool, &Layout),
    products: &BTreeSet<ProductId>,
    stores: &BTreeSet<StoreId>,
    missing: Missing,
    now: DateTime<Utc>,
) -> sqlx::Result<Pool> {
    if missing == Missing::Made {
        counters::make_rows(tx, products, stores, now).await?;
    }
    let rows = counters::lock_rows(tx, products, stores).await?;
    if missing == Missing::Made && rows.len() != products.len() * stores.len() {
        // A product or a store was deleted under our hands.
        return Err(sqlx::Error::RowNotFound);
    }
    let mut known = Known {
        rows,
        on_hand: Vec::new(),
        committed: Vec::new(),
    };
    if is_shared {
        let warehouses = stores.iter().flat_map(|store| layout.warehouses_of(*store));
        let warehouses = warehouses.collect();
        known.on_hand = counters::on_hand(tx, products, &warehouses).await?;
        let elsewhere: BTreeSet<StoreId> =
            layout.around(stores).difference(stores).copied().collect();
        if !elsewhere.is_empty() {
            known.committed = counters::committed(tx, products, &elsewhere).await?;
        }
    }
    Ok(Pool::new(is_shared, layout, stores, known))
}

/// Gives what there is to orders that wait for it, the oldest first, before anybody else can have
/// it.
pub(super) async fn fill_shortfalls(tx: &mut Tx, pool: &mut Pool) -> sqlx::Result<Vec<Fill>> {
    let stores = pool.inner_stores();
    let mut fills = Vec::new();
    let mut behind = (
        DateTime::UNIX_EPOCH,
        ReservationId(Uuid::nil()),
        ProductId(Uuid::nil()),
    );
    loop {
        let products = pool.available_products();
        if products.is_empty() {
            return Ok(fills);
        }
        let waiting = reservations::shortfalls(tx, &products, &stores, behind, SHORTFALLS).await?;
        fills.extend(pool.backfill(&waiting));
        match waiting.last() {
            Some(last) if i64::try_from(waiting.len()) == Ok(SHORTFALLS) => {
                behind = (last.created_at, last.reservation_id, last.product_id);
            }
            _ => return Ok(fills),
        }
    }
}

/// Units that came to a shelf, or left it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShelfMove {
    pub(super) kind: MovementKind,
    pub(super) product_id: ProductId,
    pub(super) shelf_id: ShelfId,
    pub(super) by: i64,
}

/// What happened, beside what the pool knows.
#[derive(Debug)]
pub(super) struct Happened<'a> {
    pub(super) organization_id: &'a str,
    /// Why marketplaces are told.
    pub(super) reason: Reason,
    /// The store whose marketplace has changed its own numbers of these products by itself, and
    /// is told ours whatever came of them.
    pub(super) selling: Option<(StoreId, BTreeSet<ProductId>)>,
    pub(super) fills: &'a [Fill],
    pub(super) shelves: &'a [ShelfMove],
    /// The order it was for.
    pub(super) reference: Option<&'a str>,
    /// The key of the request, and what it says about it.
    pub(super) idempotency_key: Option<&'a str>,
    pub(super) note: Option<&'a str>,
}

impl<'a> Happened<'a> {
    pub(super) fn new(organization_id: &'a str, reason: Reason) -> Self {
        Self {
            organization_id,
            reason,
            selling: None,
            fills: &[],
            shelves: &[],
            reference: None,
            idempotency_key: None,
            note: None,
        }
    }
}

/// Writes what happened: the counters, what waited, the ledger, the queue.
pub(super) async fn settle(
    app: &App,
    tx: &mut Tx,
    pool: &Pool,
    happened: Happened<'_>,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let deltas = pool.deltas();
    if !deltas.is_empty() {
        let moved = counters::move_counters(tx, &deltas, now).await?;
        if usize::try_from(moved) != Ok(deltas.len()) {
            // They are locked and were found to be enough: rather nothing than this.
            return Err(sqlx::Error::RowNotFound.into());
        }
    }
    if !happened.fills.is_empty() {
        reservations::fill(tx, happened.fills, now).await?;
    }
    write_ledger(app, tx, pool, &happened, now).await?;
    let mut told: BTreeMap<StoreId, BTreeSet<ProductId>> = BTreeMap::new();
    for delta in deltas.iter().filter(|delta| delta.sellable != 0) {
        told.entry(delta.store_id)
            .or_default()
            .insert(delta.product_id);
    }
    let selling = happened.selling.as_ref().map(|(store, _)| *store);
    if let Some((store, products)) = &happened.selling {
        told.entry(*store).or_default().extend(products);
    }
    for (store, products) in told {
        let is_selling = selling == Some(store);
        let is_filled = happened.fills.iter().any(|fill| fill.store_id == store);
        let reason = if is_filled && !is_selling {
            Reason::OrderCreated
        } else {
            happened.reason
        };
        let products: Vec<ProductId> = products.into_iter().collect();
        enqueue(tx, store, &products, reason, is_selling, now).await?;
    }
    Ok(())
}

async fn write_ledger(
    app: &App,
    tx: &mut Tx,
    pool: &Pool,
    happened: &Happened<'_>,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let shelves = happened.shelves.iter().map(|shelf| NewMovement {
        id: MovementId(app.ids.new_id(now)),
        kind: shelf.kind,
        product_id: shelf.product_id,
        store_id: None,
        shelf_id: Some(shelf.shelf_id),
        on_hand: shelf.by,
        sellable: 0,
        committed: 0,
        reference: happened.reference,
        idempotency_key: None,
        note: None,
    });
    let booked = pool.ledger().iter().map(|booked| NewMovement {
        id: MovementId(app.ids.new_id(now)),
        kind: booked.kind,
        product_id: booked.product_id,
        store_id: Some(booked.store_id),
        shelf_id: None,
        on_hand: 0,
        sellable: booked.sellable,
        committed: booked.committed,
        reference: booked.reference.as_deref(),
        idempotency_key: None,
        note: None,
    });
    let mut entries: Vec<NewMovement<'_>> = shelves.chain(booked).collect();
    let Some(first) = entries.first_mut() else {
        return Ok(());
    };
    first.idempotency_key = happened.idempotency_key;
    first.note = happened.note;
    let written = movements::insert_movements(tx, happened.organization_id, &entries, now).await;
    written.map_err(|error| {
        let is_known = error
            .as_database_error()
            .is_some_and(DatabaseError::is_unique_violation);
        match happened.idempotency_key {
            Some(_) if is_known => Error::MovementKeyReused,
            _ => error.into(),
        }
    })
}
