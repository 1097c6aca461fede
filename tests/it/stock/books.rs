//! Whether the books are right, worked out from the rows alone and in another way than the service
//! does.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::types::Json;
use uuid::Uuid;

use crate::support::app::{TestApp, on};

/// Store, product, quantity, reserved, shortfall, fulfilled, whether it is open, status.
type OrderedRow = (Uuid, Uuid, i64, i64, i64, i64, bool, String);
/// Product, store, shelf, and by how much its three counters moved.
type MovedRow = (Uuid, Option<Uuid>, Option<Uuid>, i64, i64, i64);

/// Everything that counters come from.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// By store and product: sellable, committed.
    pub(super) counters: BTreeMap<(Uuid, Uuid), (i64, i64)>,
    /// By shelf and product.
    shelves: BTreeMap<(Uuid, Uuid), i64>,
    warehouse_of: HashMap<Uuid, Uuid>,
    /// The warehouses of stores that draw on some.
    pub(super) warehouses: BTreeMap<Uuid, BTreeSet<Uuid>>,
    drawing: BTreeSet<Uuid>,
    /// Held by active reservations, by store and product.
    held: BTreeMap<(Uuid, Uuid), i64>,
    /// Lacking to active reservations, by store and product.
    pub(super) lacking: BTreeMap<(Uuid, Uuid), i64>,
    /// Sums of the ledger: by store and product, by shelf and product.
    moved: BTreeMap<(Uuid, Uuid), (i64, i64)>,
    put: BTreeMap<(Uuid, Uuid), i64>,
}

impl Books {
    pub(super) async fn read(app: &TestApp) -> Self {
        let db = &app.app.db;
        let mut books = Self::default();
        let rows: Vec<(Uuid, Uuid, i64, i64)> = on!(db, pool => sqlx::query_as(
            "SELECT store_id, product_id, sellable_quantity, committed_quantity
             FROM product_stores").fetch_all(pool).await.unwrap());
        for (store, product, sellable, committed) in rows {
            books
                .counters
                .insert((store, product), (sellable, committed));
        }
        let rows: Vec<(Uuid, Uuid, Uuid, i64)> = on!(db, pool => sqlx::query_as(
            "SELECT sh.id, sh.warehouse_id, ss.product_id, ss.quantity
             FROM shelf_stocks AS ss JOIN shelves AS sh ON sh.id = ss.shelf_id")
            .fetch_all(pool).await.unwrap());
        for (shelf, warehouse, product, quantity) in rows {
            books.shelves.insert((shelf, product), quantity);
            books.warehouse_of.insert(shelf, warehouse);
        }
        let rows: Vec<Uuid> = on!(db, pool => sqlx::query_scalar(
            "SELECT id FROM stores WHERE stock_source = 'WAREHOUSE'")
            .fetch_all(pool).await.unwrap());
        books.drawing.extend(rows);
        let rows: Vec<(Uuid, Uuid)> = on!(db, pool => sqlx::query_as(
            "SELECT store_id, warehouse_id FROM warehouse_stores")
            .fetch_all(pool).await.unwrap());
        for (store, warehouse) in rows {
            if books.drawing.contains(&store) {
                books.warehouses.entry(store).or_default().insert(warehouse);
            }
        }
        books.read_orders(app).await;
        books.read_ledger(app).await;
        books
    }

    async fn read_orders(&mut self, app: &TestApp) {
        let rows: Vec<OrderedRow> = on!(&app.app.db, pool => sqlx::query_as(
            "SELECT r.store_id, i.product_id, i.quantity, i.reserved_quantity,
                 i.shortfall_quantity, i.fulfilled_quantity, i.is_open, r.status
             FROM stock_reservation_items AS i
             JOIN stock_reservations AS r ON r.id = i.reservation_id")
            .fetch_all(pool).await.unwrap());
        for (store, product, quantity, reserved, shortfall, fulfilled, is_open, status) in rows {
            assert_eq!(quantity, reserved + shortfall);
            assert!(fulfilled <= reserved, "more left than was reserved");
            assert_eq!(
                is_open,
                status == "ACTIVE",
                "closed orders wait for nothing"
            );
            if status == "ACTIVE" {
                *self.held.entry((store, product)).or_default() += reserved - fulfilled;
                *self.lacking.entry((store, product)).or_default() += shortfall;
            }
        }
        let sources: Vec<(i64, i64, Json<serde_json::Value>)> = on!(&app.app.db, pool => sqlx::query_as(
            "SELECT quantity, shortfall_quantity, source_lines FROM stock_reservation_items")
            .fetch_all(pool).await.unwrap());
        for (quantity, _, lines) in sources {
            let lines = lines.0.as_array().unwrap().clone();
            let sum: i64 = lines
                .iter()
                .map(|line| line["quantity"].as_i64().unwrap())
                .sum();
            assert_eq!(sum, quantity, "an item is what its lines ordered");
        }
    }

    async fn read_ledger(&mut self, app: &TestApp) {
        let rows: Vec<MovedRow> = on!(&app.app.db, pool => sqlx::query_as(
            "SELECT product_id, store_id, shelf_id, delta_on_hand, delta_sellable,
                 delta_committed
             FROM stock_movements")
            .fetch_all(pool).await.unwrap());
        for (product, store, shelf, on_hand, sellable, committed) in rows {
            assert!(
                (on_hand, sellable, committed) != (0, 0, 0),
                "a movement moves something"
            );
            if let Some(store) = store {
                let sum = self.moved.entry((store, product)).or_default();
                sum.0 += sellable;
                sum.1 += committed;
                assert_eq!(on_hand, 0);
            }
            if let Some(shelf) = shelf {
                *self.put.entry((shelf, product)).or_default() += on_hand;
                assert_eq!((sellable, committed), (0, 0));
            }
        }
    }

    /// Units of a product in a warehouse.
    pub(super) fn on_hand(&self, product: Uuid, warehouse: Uuid) -> i64 {
        let here = self
            .shelves
            .iter()
            .filter(|((shelf, it), _)| *it == product && self.warehouse_of[shelf] == warehouse);
        here.map(|(_, quantity)| quantity).sum()
    }

    /// What a store that draws on warehouses can sell, as section 7.3 has it; may be negative.
    fn balance(&self, store: Uuid, product: Uuid) -> i64 {
        let nowhere = BTreeSet::new();
        let own = self.warehouses.get(&store).unwrap_or(&nowhere);
        let on_hand: i64 = own
            .iter()
            .map(|warehouse| self.on_hand(product, *warehouse))
            .sum();
        let shares = |other: &Uuid| {
            *other == store
                || self
                    .warehouses
                    .get(other)
                    .is_some_and(|theirs| !own.is_disjoint(theirs))
        };
        let sharing = self.drawing.iter().filter(|other| shares(other));
        let committed: i64 = sharing
            .map(|other| self.counters.get(&(*other, product)).map_or(0, |it| it.1))
            .sum();
        on_hand - committed
    }

    /// Fails unless counters, ledger, shelves and reservations say the same.
    pub(super) fn check(&self) {
        for (key @ (store, product), (sellable, committed)) in &self.counters {
            assert!(*sellable >= 0 && *committed >= 0);
            let held = self.held.get(key).copied().unwrap_or_default();
            assert_eq!(*committed, held, "committed is what active orders hold");
            let moved = self.moved.get(key).copied().unwrap_or_default();
            assert_eq!(
                (*sellable, *committed),
                moved,
                "the ledger adds up to the counters"
            );
            let lacking = self.lacking.get(key).copied().unwrap_or_default();
            let can_sell = if self.drawing.contains(store) {
                let balance = self.balance(*store, *product);
                assert_eq!(
                    *sellable,
                    balance.max(0),
                    "sellable follows from the shelves"
                );
                balance
            } else {
                *sellable
            };
            assert!(lacking == 0 || can_sell <= 0, "orders that wait come first");
        }
        for key in self.held.keys().chain(self.moved.keys()) {
            assert!(self.counters.contains_key(key), "what is held has a row");
        }
        for (key, quantity) in &self.shelves {
            assert!(*quantity >= 0);
            assert_eq!(
                self.put.get(key),
                Some(quantity),
                "the ledger adds up to the shelves"
            );
        }
    }

    /// How many reserved units of a product cannot be delivered, whichever warehouse delivers
    /// which: the worst group of stores that draws on less than it has reserved.
    pub(super) fn undeliverable(&self, product: Uuid) -> i64 {
        let stores: Vec<&Uuid> = self.drawing.iter().collect();
        assert!(stores.len() <= 12, "all groups are looked at");
        let nowhere = BTreeSet::new();
        let groups = 0_u32..1 << stores.len();
        let lack = groups.map(|group| {
            let members = stores
                .iter()
                .enumerate()
                .filter(|(place, _)| group >> place & 1 == 1);
            let members: Vec<Uuid> = members.map(|(_, store)| **store).collect();
            let reserved: i64 = members
                .iter()
                .map(|store| self.counters.get(&(*store, product)).map_or(0, |it| it.1))
                .sum();
            let reachable: BTreeSet<Uuid> = members
                .iter()
                .flat_map(|store| self.warehouses.get(store).unwrap_or(&nowhere))
                .copied()
                .collect();
            let there: i64 = reachable.iter().map(|it| self.on_hand(product, *it)).sum();
            reserved - there
        });
        lack.max().unwrap_or_default()
    }
}

impl TestApp {
    /// Fails unless the books are right.
    pub(super) async fn check_books(&self) -> Books {
        let books = Books::read(self).await;
        books.check();
        books
    }
}
