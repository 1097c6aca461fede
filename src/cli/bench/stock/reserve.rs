//! Orders that take stock, all of them of the same few products.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Result, ensure};
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use serde_json::{Value, json};
use sqlx::{FromRow, query_as};
use tokio::time::{Instant, sleep};

use super::super::load::{Ask, Load};
use super::super::place::Place;
use super::super::report::Report;
use super::super::usage::Watch;
use super::seed::Merchant;
use super::{Service, Stock};
use crate::App;
use crate::db::{on, sql};
use crate::stock::model::ProductId;

/// Products that everybody wants.
const HOT: u64 = 5;
/// Before anything counts.
const WARM_UP: Duration = Duration::from_secs(2);
/// More than is ever sold.
const PLENTY: i64 = 1_000_000_000;

/// No connection takes as long to end as that.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Asks a service that does nothing else to reserve one to four products at a time.
pub(super) async fn measure(
    stock: &Stock,
    app: &App,
    place: &Place,
    merchant: &mut Merchant,
    service: &Service<'_>,
) -> Result<Report> {
    let shop = merchant.open_shop(app).await?;
    merchant.list(app, shop.id, (1, HOT), PLENTY).await?;
    let before = counted(app).await?;
    let subject = service.start("api").await?;
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
    let watch = Watch::start(subject.pid());
    let mut rounds = Vec::new();
    for _ in 0..stock.rounds {
        rounds.push(load.run(ask.clone(), numbers.clone(), expects).await?);
    }
    let processes = watch.stop();
    subject.stop();
    let after = when_it_is_gone(app, &before).await?;
    let setup = json!({
        "clients": stock.clients,
        "hotProducts": HOT,
        "linesOfAnOrder": "1 to 4",
        "secondsARound": stock.seconds,
    });
    let report = Report::new(
        "stock-reserve",
        place.profile(),
        setup,
        vec![("orders reserved", rounds)],
    );
    let report = report.with_counts([("deadlocks", json!(after.deadlocks - before.deadlocks))]);
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

/// What PostgreSQL counts; SQLite has one writer, and nothing of that.
#[derive(FromRow)]
struct Counted {
    /// How many it has ended so far.
    deadlocks: i64,
    connections: i64,
}

async fn counted(app: &App) -> Result<Counted> {
    let mut tx = app.db.read().await?;
    let sql = tx.pick(
        sql!(postgres:
            "SELECT deadlocks, (
                 SELECT COUNT(*) FROM pg_stat_activity AS a
                 WHERE a.datname = current_database() AND a.backend_type = 'client backend'
             ) AS connections
             FROM pg_stat_database
             WHERE datname = current_database()"),
        sql!(sqlite: "SELECT 0 AS deadlocks, 0 AS connections"),
    );
    let counted = on!(&mut tx, conn => query_as(sql).fetch_one(conn).await)?;
    tx.save().await?;
    Ok(counted)
}

/// The same once there are no more connections than before: what one of them has seen is counted
/// for certain when it has ended.
async fn when_it_is_gone(app: &App, before: &Counted) -> Result<Counted> {
    let started = Instant::now();
    loop {
        let counted = counted(app).await?;
        if counted.connections <= before.connections {
            return Ok(counted);
        }
        ensure!(
            started.elapsed() < PATIENCE,
            "{} connections do not end",
            counted.connections - before.connections
        );
        sleep(LOOK_AGAIN).await;
    }
}
