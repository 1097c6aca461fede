//! From an order to the request at its marketplace, when the service has nothing else to do; and
//! how much of what changes is not told at all.

use std::time::Duration;

use anyhow::{Result, ensure};
use jobs::PushStock;
use serde_json::json;
use sqlx::query_scalar;
use tokio::time::{Instant, sleep};

use super::super::place::Place;
use super::super::report::Report;
use super::super::subject::Subject;
use super::api::Api;
use super::market::Market;
use super::seed::{Merchant, Shop, go_live};
use crate::App;
use crate::db::{on, sql};
use crate::ids::split_mix;
use crate::stock::enqueue;
use crate::stock::model::Reason;

/// Orders, each of a product of its own: a marketplace that works on a product is not told of it
/// again before it is done.
const ORDERS: usize = 40;
/// Products that the store lists.
const PRODUCTS: u64 = 60;
/// The one that changes again and again; no set has it.
const CHANGED: u64 = 51;
/// Changes of one product that are one item.
const CHANGES: usize = 100;
/// Nothing takes as long as that.
const PATIENCE: Duration = Duration::from_mins(1);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Reserves a product by the API and asks for a push, order by order.
pub(super) async fn measure(
    app: &App,
    place: &Place,
    merchant: &mut Merchant,
    market: &Market,
    subject: &Subject,
) -> Result<Report> {
    let shop = merchant.open_shop(app).await?;
    merchant.list(app, shop.id, (1, PRODUCTS), 1).await?;
    let api = Api::new(subject, merchant)?;
    api.configure(&shop).await?;
    go_live(app, &shop).await?;
    let mut latencies = Vec::new();
    let mut chance = 1;
    let simple = (1..PRODUCTS).filter(|number| number % 10 > 0);
    for number in simple.take(ORDERS) {
        let told = market.told_by(&shop.seller).map_or(0, |told| told.requests);
        let started = Instant::now();
        api.order(merchant, &shop, number).await?;
        api.trigger(&shop).await?;
        latencies.push(market.request_behind(&shop.seller, told).await? - started);
        // Anywhere between two looks of an idle worker, and no more often than Trendyol takes it.
        sleep(Duration::from_millis(250 + split_mix(&mut chance) % 100)).await;
    }
    let coalesced = coalesce(app, merchant, market, &shop).await?;
    let setup = json!({
        "orders": ORDERS,
        "load": "one order at a time, and a request to push",
    });
    let measured = vec![("from the order to the request", vec![latencies.into()])];
    let report = Report::new("stock-trigger", place.profile(), setup, measured);
    Ok(report.with_counts([
        ("changesOfOneProduct", json!(CHANGES)),
        ("itemsToldForThem", json!(coalesced)),
    ]))
}

/// Changes a product again and again before it is pushed; tells how many items that came to.
async fn coalesce(app: &App, merchant: &Merchant, market: &Market, shop: &Shop) -> Result<usize> {
    let before = market.told_by(&shop.seller).map_or(0, |told| told.items);
    let product = merchant.product(CHANGED);
    for _ in 0..CHANGES {
        let now = app.clock.now();
        let mut tx = app.db.write().await?;
        enqueue(&mut tx, shop.id, &[product], Reason::StockAdded, false, now).await?;
        tx.save().await?;
    }
    app.queue.push(&[PushStock { store_id: shop.id }]).await?;
    let started = Instant::now();
    while is_owed(app, shop).await? {
        ensure!(started.elapsed() < PATIENCE, "the product is not told");
        sleep(LOOK_AGAIN).await;
    }
    Ok(market.told_by(&shop.seller).map_or(0, |told| told.items) - before)
}

async fn is_owed(app: &App, shop: &Shop) -> Result<bool> {
    let mut tx = app.db.read().await?;
    let found: Option<i32> = on!(&mut tx, conn => query_scalar(sql!(
        "SELECT 1 FROM stock_update_queue WHERE store_id = $1 AND processed_at IS NULL LIMIT 1"))
        .bind(shop.id)
        .fetch_optional(conn).await)?;
    tx.save().await?;
    Ok(found.is_some())
}
