//! A merchant: products, one in ten of them a set, and the stores that sell them.

use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, Utc};
use jobs::StoreId;
use secrecy::SecretString;
use sqlx::query;
use tokio::time::Instant;
use uuid::Uuid;

use super::super::report::Round;
use super::super::stage::progress;
use crate::App;
use crate::db::{Tx, on, sql};
use crate::marketplace::model::{Marketplace, NewStore};
use crate::marketplace::register_store;
use crate::stock::enqueue;
use crate::stock::model::{ProductId, Reason};

/// Products of a transaction.
const STEP: u64 = 10_000;
/// Products that are enqueued at once.
const PAGE: usize = 1000;

/// An organization with products and stores.
pub(super) struct Merchant {
    pub(super) organization_id: String,
    /// Of its products: the time they were made, in their ids.
    created_at: DateTime<Utc>,
    /// How many; every tenth is a set.
    pub(super) products: u64,
    /// Those that sell everything.
    pub(super) shops: Vec<Shop>,
    opened: usize,
}

/// A store on Trendyol.
#[derive(Clone, Debug)]
pub(super) struct Shop {
    pub(super) id: StoreId,
    /// What the marketplace calls it.
    pub(super) seller: String,
}

impl Merchant {
    /// Has so many products; no store sells them yet.
    pub(super) async fn new(app: &App, products: u64) -> Result<Self> {
        let created_at = app.clock.now();
        let organization_id = format!("bench-{}", app.ids.new_id(created_at));
        let merchant = Self {
            organization_id,
            created_at,
            products,
            shops: Vec::new(),
            opened: 0,
        };
        let bar = progress("products", products);
        let mut from = 1;
        while from <= products {
            let to = (from + STEP - 1).min(products);
            let mut tx = app.db.write_at_length().await?;
            merchant.insert_products(&mut tx, from, to).await?;
            merchant.make_sets(&mut tx, from, to).await?;
            tx.save().await?;
            from = to + 1;
            bar.set_position(to);
        }
        bar.finish_and_clear();
        Ok(merchant)
    }

    /// How many hundreds of products there are: all ten sets of one share its fifth product.
    pub(super) fn hundreds(&self) -> u64 {
        self.products / 100
    }

    /// The product of a number, from one.
    pub(super) fn product(&self, number: u64) -> ProductId {
        let millis = u128::from(self.created_at.timestamp_millis().unsigned_abs());
        let id = millis << 80 | 0x7000_8000_0000_0000_0000 | u128::from(number);
        ProductId(Uuid::from_u128(id))
    }

    /// Opens a store that is not pushed to yet.
    pub(super) async fn open_shop(&mut self, app: &App) -> Result<Shop> {
        // No other run has the same, on a database that keeps what it knows of sellers.
        let run = self.created_at.timestamp_millis().rem_euclid(1_000_000_000);
        let seller = format!("{run}{:03}", self.opened);
        self.opened += 1;
        let store = NewStore {
            organization_id: self.organization_id.clone(),
            marketplace: Marketplace::Trendyol,
            external_store_id: seller.clone(),
            store_name: format!("Shop {seller}"),
            access_token: SecretString::from("bench"),
            currency: "TRY".to_owned(),
        };
        let mut tx = app.db.write().await?;
        let (id, _) = register_store(app, &mut tx, &store).await?;
        tx.save().await?;
        Ok(Shop { id, seller })
    }

    /// Lists the products of these numbers in a store, with so many at least of each that is no set.
    pub(super) async fn list(
        &self,
        app: &App,
        store_id: StoreId,
        (from, to): (u64, u64),
        quantity: i64,
    ) -> Result<()> {
        let mut from = from;
        while from <= to {
            let end = (from + STEP - 1).min(to);
            let mut tx = app.db.write_at_length().await?;
            on!(&mut tx, conn => query(sql!(
                "INSERT INTO product_stores (store_id, product_id, sellable_quantity, created_at,
                     updated_at)
                 SELECT $1, id,
                     CASE WHEN product_type = 'SET' THEN 0
                          ELSE $4 + CAST(SUBSTR(barcode, 9) AS BIGINT) % 500 END,
                     created_at, created_at
                 FROM products
                 WHERE id BETWEEN $2 AND $3"))
                .bind(store_id).bind(self.product(from)).bind(self.product(end)).bind(quantity)
                .execute(conn).await.map(|_| ()))?;
            tx.save().await?;
            from = end + 1;
        }
        Ok(())
    }

    /// Has a store be told all of these numbers; tells how fast they were put into its queue.
    pub(super) async fn owe(
        &self,
        app: &App,
        store_id: StoreId,
        (from, to): (u64, u64),
    ) -> Result<Round> {
        let products: Vec<ProductId> = (from..=to).map(|number| self.product(number)).collect();
        let mut latencies = Vec::new();
        let started = Instant::now();
        for page in products.chunks(PAGE) {
            let begun = Instant::now();
            let now = app.clock.now();
            let mut tx = app.db.write_at_length().await?;
            enqueue(&mut tx, store_id, page, Reason::Resync, false, now).await?;
            tx.save().await?;
            latencies.push(begun.elapsed());
        }
        Ok(Round {
            done: products.len(),
            took: Some(started.elapsed().max(Duration::from_micros(1))),
            latencies,
        })
    }

    /// Numbers stand in the names, and every tenth product is a set.
    async fn insert_products(&self, tx: &mut Tx, from: u64, to: u64) -> Result<()> {
        let sql = tx.pick(
            sql!(postgres:
                "INSERT INTO products (id, organization_id, name, sku, barcode, product_type,
                     created_at, updated_at)
                 SELECT CAST(lpad(to_hex(CAST($4 AS BIGINT)), 12, '0') || '7000800000' || lpad(to_hex(n), 10, '0') AS UUID),
                     $1, 'Product ' || n, 'sku-' || n, 'barcode-' || n,
                     CASE WHEN n % 10 = 0 THEN 'SET' ELSE 'SIMPLE' END, $5, $5
                 FROM generate_series(CAST($2 AS BIGINT), $3) AS n"),
            sql!(sqlite:
                "WITH RECURSIVE series (n) AS (SELECT $2 UNION ALL SELECT n + 1 FROM series WHERE n < $3)
                 INSERT INTO products (id, organization_id, name, sku, barcode, product_type,
                     created_at, updated_at)
                 SELECT unhex(printf('%012x7000800000%010x', $4, n)), $1, 'Product ' || n,
                     'sku-' || n, 'barcode-' || n,
                     CASE WHEN n % 10 = 0 THEN 'SET' ELSE 'SIMPLE' END, $5, $5
                 FROM series"),
        );
        on!(tx, conn => query(sql)
            .bind(&self.organization_id).bind(signed(from)).bind(signed(to))
            .bind(self.created_at.timestamp_millis()).bind(self.created_at)
            .execute(conn).await.map(|_| ()))?;
        Ok(())
    }

    /// A set is made of three products before it; those of a hundred share one more, the fifth.
    async fn make_sets(&self, tx: &mut Tx, from: u64, to: u64) -> Result<()> {
        on!(tx, conn => query(sql!(
            "INSERT INTO product_set_items (set_product_id, component_product_id, quantity,
                 created_at, updated_at)
             SELECT made.id, component.id, part.quantity, made.created_at, made.created_at
             FROM products AS made
             CROSS JOIN (SELECT 1 AS step, 1 AS quantity UNION ALL SELECT 3, 2
                 UNION ALL SELECT 7, 1 UNION ALL SELECT 0, 1) AS part
             JOIN products AS component
                 ON component.organization_id = made.organization_id
                 AND component.barcode = 'barcode-' || CASE part.step
                     WHEN 0 THEN (CAST(SUBSTR(made.barcode, 9) AS BIGINT) - 1) / 100 * 100 + 5
                     ELSE CAST(SUBSTR(made.barcode, 9) AS BIGINT) - part.step END
             WHERE made.id BETWEEN $1 AND $2 AND made.product_type = 'SET'"))
            .bind(self.product(from)).bind(self.product(to))
            .execute(conn).await.map(|_| ()))?;
        Ok(())
    }
}

/// Has a store be pushed to, with what is in its queue, and nothing else: the API would ask for a
/// resync of it.
pub(super) async fn go_live(app: &App, shop: &Shop) -> Result<()> {
    let mut tx = app.db.write().await?;
    on!(&mut tx, conn => query(sql!(
        "UPDATE stores SET stock_push_mode = 'LIVE', updated_at = $2 WHERE id = $1"))
        .bind(shop.id).bind(app.clock.now())
        .execute(conn).await.map(|_| ()))?;
    tx.save().await?;
    Ok(())
}

/// Whether a set is made of the product of a number, or it is one.
pub(super) fn is_in_a_set(number: u64) -> bool {
    number % 100 == 5 || matches!(number % 10, 0 | 3 | 7 | 9)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
