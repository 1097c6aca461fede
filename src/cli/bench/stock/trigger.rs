//! From an order to the request at its marketplace, when the service has nothing else to do; and
//! how much of what changes is not told at all.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::super::place::Place;
use super::super::report::Report;
use super::super::subject::Subject;
use super::api::Api;
use super::market::Market;
use super::queue::drain;
use super::seed::{Merchant, Shop, go_live, is_in_a_set};
use crate::App;
use crate::ids::split_mix;
use crate::stock::enqueue;
use crate::stock::model::Reason;

/// Products that the store lists.
const PRODUCTS: u64 = 100;
/// The one that changes again and again; nobody orders it, and no set has it.
const CHANGED: u64 = 91;
/// Changes of one product that are one item.
const CHANGES: usize = 100;
/// How often what is left is pushed.
const TICK: Duration = Duration::from_secs(5);

/// Reserves a product by the API and asks for a push, order by order.
///
/// Each order is of a product of its own and in no set: a marketplace that works on a product is
/// not told of it again before it is done, and so each order is one request.
pub(super) async fn measure(
    orders: usize,
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
    let alone = (1..CHANGED).filter(|number| !is_in_a_set(*number));
    for number in alone.take(orders) {
        let told = market.told_by(&shop.seller).requests;
        let started = Instant::now();
        api.order(merchant, &shop, number).await?;
        api.trigger(&shop).await?;
        latencies.push(market.request_behind(&shop.seller, told).await? - started);
        // Anywhere between two looks of an idle worker, and no more often than Trendyol takes it.
        sleep(Duration::from_millis(250 + split_mix(&mut chance) % 100)).await;
    }
    let coalesced = coalesce(app, merchant, market, &shop).await?;
    let setup = json!({
        "orders": orders,
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
    let shops = std::slice::from_ref(shop);
    // Nothing of the orders is left, so that what is told next is told for the changes.
    drain(app, shops, TICK, || ()).await?;
    let before = market.told_by(&shop.seller).items;
    let product = merchant.product(CHANGED);
    for _ in 0..CHANGES {
        let now = app.clock.now();
        let mut tx = app.db.write().await?;
        enqueue(&mut tx, shop.id, &[product], Reason::StockAdded, false, now).await?;
        tx.save().await?;
    }
    drain(app, shops, TICK, || ()).await?;
    Ok(market.told_by(&shop.seller).items - before)
}
