//! Orders that take stock, all of them of the same few products.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::Result;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use serde_json::{Value, json};
use sqlx::query_scalar;

use super::super::load::{Ask, Load};
use super::super::place::Place;
use super::super::report::Report;
use super::super::subject::Subject;
use super::super::usage::Watch;
use super::Stock;
use super::seed::Merchant;
use crate::App;
use crate::db::{on, sql};
use crate::stock::model::ProductId;

/// Products that everybody wants.
const HOT: u64 = 5;
/// Before anything counts.
const WARM_UP: Duration = Duration::from_secs(2);
/// More than is ever sold.
const PLENTY: i64 = 1_000_000_000;

/// Asks a service that does nothing else to reserve one to four products at a time.
pub(super) async fn measure(
    stock: &Stock,
    app: &App,
    place: &Place,
    merchant: &mut Merchant,
    subject: &Subject,
) -> Result<Report> {
    let shop = merchant.open_shop(app).await?;
    merchant.list(app, shop.id, (1, HOT), PLENTY).await?;
    let ask = ask(merchant, &shop.id.to_string());
    let numbers = Arc::new(AtomicU64::new(0));
    let mut load = Load {
        address: subject.address(),
        connections: stock.clients,
        length: WARM_UP,
    };
    let expects = "\"status\":\"ACTIVE\"";
    load.run(ask.clone(), numbers.clone(), expects).await?;
    load.length = Duration::from_secs(stock.seconds);
    let deadlocks = deadlocks(app).await?;
    let watch = Watch::start(subject.pid());
    let mut rounds = Vec::new();
    for _ in 0..stock.rounds {
        rounds.push(load.run(ask.clone(), numbers.clone(), expects).await?);
    }
    let processes = watch.stop();
    let setup = json!({
        "clients": stock.clients,
        "hotProducts": HOT,
        "linesOfAnOrder": "1 to 4",
        "secondsARound": stock.seconds,
    });
    let deadlocks = self::deadlocks(app).await? - deadlocks;
    let report = Report::new(
        "stock-reserve",
        place.profile(),
        setup,
        vec![("orders reserved", rounds)],
    );
    let report = report.with_counts([("deadlocks", json!(deadlocks))]);
    Ok(report.with_processes(processes))
}

/// Each order is of one to four of the hot products, beginning anywhere among them.
fn ask(merchant: &Merchant, store_id: &str) -> Ask {
    let products: Vec<ProductId> = (1..=HOT).map(|number| merchant.product(number)).collect();
    let organization = &merchant.organization_id;
    let path = format!("/stores/{store_id}/reservations?organizationId={organization}");
    Arc::new(move |number| {
        let first = usize::try_from(number % HOT).unwrap_or_default();
        let count = usize::try_from(number / HOT % 4 + 1).unwrap_or(1);
        let wanted = products.iter().cycle().skip(first).take(count);
        let line = |product: &ProductId| json!({ "productId": product, "quantity": 1 });
        let lines: Vec<Value> = wanted.map(line).collect();
        let body =
            json!({ "orderRef": format!("order-{number}"), "mode": "STRICT", "lines": lines });
        Request::post(&path)
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .expect("a path is a URI")
    })
}

/// How many PostgreSQL has ended so far; SQLite has one writer, and none.
async fn deadlocks(app: &App) -> Result<i64> {
    let mut tx = app.db.read().await?;
    let sql = tx.pick(
        sql!(postgres: "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"),
        sql!(sqlite: "SELECT 0"),
    );
    let deadlocks = on!(&mut tx, conn => query_scalar(sql).fetch_one(conn).await)?;
    tx.save().await?;
    Ok(deadlocks)
}
