//! What there is of some products in stores that share them: arithmetic over locked counters, no
//! SQL.
//!
//! A pool is of one store whose quantities are its own, or of stores that draw on warehouses. There
//! a store can sell what lies in its warehouses and nobody who shares one of them has reserved:
//! `max(0, on hand − committed of all neighbours)`. Whoever reserves no more than that never
//! reserves what is not there, whatever warehouses overlap: neighbours are all counted, and who is
//! no neighbour draws on other warehouses.
//!
//! What happens is booked step by step ([`Pool::book`]); the counters move by the sum of what was
//! booked, so the ledger and the counters cannot tell different stories.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jobs::StoreId;
use uuid::Uuid;

use super::layout::Layout;
use super::model::{MovementKind, ProductId, WarehouseId};
use super::queries::counters::{Committed, CounterRow, Delta, OnHand};
use super::queries::reservations::{Fill, Shortfall};

/// The counters of a product in a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counters {
    sellable: i64,
    committed: i64,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    /// As they were found.
    first: Counters,
    /// As they were booked last.
    booked: Counters,
    now: Counters,
}

/// A store of the pool.
#[derive(Clone, Debug)]
struct Place {
    warehouses: Vec<WarehouseId>,
    neighbours: BTreeSet<StoreId>,
}

/// A change of counters, for the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Booked {
    pub(super) kind: MovementKind,
    pub(super) product_id: ProductId,
    pub(super) store_id: StoreId,
    pub(super) sellable: i64,
    pub(super) committed: i64,
    pub(super) reference: Option<String>,
}

/// What is known of a pool, once its counters are locked.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) rows: Vec<CounterRow>,
    pub(super) on_hand: Vec<OnHand>,
    /// Of neighbours that are not in the pool.
    pub(super) committed: Vec<Committed>,
}

/// What there is of some products in stores that share them.
#[derive(Debug)]
pub(super) struct Pool {
    /// Whether what can be sold comes from warehouses.
    is_shared: bool,
    places: BTreeMap<StoreId, Place>,
    rows: BTreeMap<(ProductId, StoreId), Row>,
    on_hand: HashMap<(ProductId, WarehouseId), i64>,
    elsewhere: HashMap<(ProductId, StoreId), i64>,
    ledger: Vec<Booked>,
}

impl Pool {
    pub(super) fn new(
        is_shared: bool,
        layout: &Layout,
        stores: &BTreeSet<StoreId>,
        known: Known,
    ) -> Self {
        let place = |store: &StoreId| {
            let warehouses = layout.warehouses_of(*store).collect();
            let neighbours = layout.neighbours(*store);
            let place = Place {
                warehouses,
                neighbours,
            };
            (*store, place)
        };
        let row = |row: CounterRow| {
            let counters = Counters {
                sellable: row.sellable_quantity,
                committed: row.committed_quantity,
            };
            let key = (row.product_id, row.store_id);
            let row = Row {
                first: counters,
                booked: counters,
                now: counters,
            };
            (key, row)
        };
        let on_hand = |it: OnHand| ((it.product_id, it.warehouse_id), it.quantity);
        let elsewhere = |it: Committed| ((it.product_id, it.store_id), it.committed_quantity);
        let mut pool = Self {
            is_shared,
            places: stores.iter().map(place).collect(),
            rows: known.rows.into_iter().map(row).collect(),
            on_hand: known.on_hand.into_iter().map(on_hand).collect(),
            elsewhere: known.committed.into_iter().map(elsewhere).collect(),
            ledger: Vec::new(),
        };
        // A row that was just made, or whose warehouses are others than before.
        pool.book(MovementKind::Adjust, None);
        pool
    }

    /// How many of a product a store could sell; less than none where more is reserved than there
    /// is.
    pub(super) fn available(&self, product: ProductId, store: StoreId) -> i64 {
        if !self.is_shared {
            return self.counters(product, store).sellable;
        }
        let Some(place) = self.places.get(&store) else {
            return 0;
        };
        let on_hand: i64 = place
            .warehouses
            .iter()
            .map(|warehouse| self.on_hand(product, *warehouse))
            .sum();
        let committed: i64 = place
            .neighbours
            .iter()
            .map(|neighbour| self.committed(product, *neighbour))
            .sum();
        on_hand - committed
    }

    /// How many of a product lie in a warehouse.
    pub(super) fn on_hand(&self, product: ProductId, warehouse: WarehouseId) -> i64 {
        let quantity = self.on_hand.get(&(product, warehouse));
        quantity.copied().unwrap_or_default()
    }

    /// How many of a product are reserved in a store.
    pub(super) fn committed(&self, product: ProductId, store: StoreId) -> i64 {
        if let Some(row) = self.rows.get(&(product, store)) {
            row.now.committed
        } else {
            let quantity = self.elsewhere.get(&(product, store));
            quantity.copied().unwrap_or_default()
        }
    }

    /// How many of a product a store can sell, as it stands in its row.
    pub(super) fn sellable(&self, product: ProductId, store: StoreId) -> i64 {
        self.counters(product, store).sellable
    }

    fn counters(&self, product: ProductId, store: StoreId) -> Counters {
        let row = self.rows.get(&(product, store));
        row.map(|row| row.now).unwrap_or_default()
    }

    fn row(&mut self, product: ProductId, store: StoreId) -> &mut Counters {
        let row = self.rows.get_mut(&(product, store));
        &mut row
            .expect("a pool has a row for each of its products and stores")
            .now
    }

    /// An order takes units.
    pub(super) fn reserve(&mut self, product: ProductId, store: StoreId, quantity: i64) {
        let is_shared = self.is_shared;
        let row = self.row(product, store);
        row.committed += quantity;
        if !is_shared {
            row.sellable -= quantity;
        }
    }

    /// An order gives units back.
    pub(super) fn release(&mut self, product: ProductId, store: StoreId, quantity: i64) {
        self.reserve(product, store, -quantity);
    }

    /// Reserved units have left; whoever took them from a warehouse says so as well
    /// ([`Self::put`]).
    pub(super) fn fulfil(&mut self, product: ProductId, store: StoreId, quantity: i64) {
        self.row(product, store).committed -= quantity;
    }

    /// Somebody counted more units, or fewer, in a store whose quantities are its own.
    pub(super) fn adjust(&mut self, product: ProductId, store: StoreId, by: i64) {
        self.row(product, store).sellable += by;
    }

    /// Units came to a warehouse, or left it.
    pub(super) fn put(&mut self, product: ProductId, warehouse: WarehouseId, by: i64) {
        *self.on_hand.entry((product, warehouse)).or_default() += by;
    }

    /// Books what has changed since the last time.
    pub(super) fn book(&mut self, kind: MovementKind, reference: Option<&str>) {
        let products: BTreeSet<ProductId> = self.rows.keys().map(|(product, _)| *product).collect();
        for product in products {
            self.book_product(product, kind, reference);
        }
    }

    fn book_product(&mut self, product: ProductId, kind: MovementKind, reference: Option<&str>) {
        let [first, last] = [Uuid::nil(), Uuid::max()].map(|id| (product, StoreId(id)));
        if self.is_shared {
            let stores: Vec<StoreId> = self
                .rows
                .range(first..=last)
                .map(|((_, store), _)| *store)
                .collect();
            for store in stores {
                self.row(product, store).sellable = self.available(product, store).max(0);
            }
        }
        for ((_, store_id), row) in self.rows.range_mut(first..=last) {
            if row.now == row.booked {
                continue;
            }
            self.ledger.push(Booked {
                kind,
                product_id: product,
                store_id: *store_id,
                sellable: row.now.sellable - row.booked.sellable,
                committed: row.now.committed - row.booked.committed,
                reference: reference.map(str::to_owned),
            });
            row.booked = row.now;
        }
    }

    /// Stores whose neighbours are all in the pool: there, and only there, something may be
    /// reserved.
    pub(super) fn inner_stores(&self) -> BTreeSet<StoreId> {
        let is_inner = |place: &Place| {
            let mut neighbours = place.neighbours.iter();
            neighbours.all(|neighbour| self.places.contains_key(neighbour))
        };
        let inner = self.places.iter().filter(|(_, place)| is_inner(place));
        inner.map(|(store, _)| *store).collect()
    }

    /// Products of which there is something, somewhere within the pool.
    pub(super) fn available_products(&self) -> BTreeSet<ProductId> {
        let inner = self.inner_stores();
        let is_available = |(product, store): &(ProductId, StoreId)| {
            inner.contains(store) && self.available(*product, *store) > 0
        };
        let available = self.rows.keys().filter(|key| is_available(key));
        available.map(|(product, _)| *product).collect()
    }

    /// Gives what there is to orders that wait for it, in their order.
    pub(super) fn backfill(&mut self, waiting: &[Shortfall]) -> Vec<Fill> {
        let mut fills = Vec::new();
        for order in waiting {
            let (product, store) = (order.product_id, order.store_id);
            let quantity = self.available(product, store).min(order.shortfall_quantity);
            if quantity <= 0 {
                continue;
            }
            self.reserve(product, store, quantity);
            self.book_product(product, MovementKind::Backfill, Some(&order.order_ref));
            fills.push(Fill {
                reservation_id: order.reservation_id,
                product_id: product,
                store_id: store,
                quantity,
            });
        }
        fills
    }

    /// What is for the ledger.
    pub(super) fn ledger(&self) -> &[Booked] {
        &self.ledger
    }

    /// By how much the counters moved, in all.
    pub(super) fn deltas(&self) -> Vec<Delta> {
        let moved = self.rows.iter().filter(|(_, row)| row.booked != row.first);
        moved
            .map(|((product_id, store_id), row)| Delta {
                product_id: *product_id,
                store_id: *store_id,
                sellable: row.booked.sellable - row.first.sellable,
                committed: row.booked.committed - row.first.committed,
            })
            .collect()
    }
}
