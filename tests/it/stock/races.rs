//! Many at once, in one process and in two: nothing is sold twice, nobody waits in a circle.

use std::time::Duration;

use futures::future::join_all;
use marketplace_sync::service;
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use super::goods::{ORG, line};
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, TestStore};
use crate::support::dice::Dice;
use crate::support::lock::Lock;
use crate::support::server::TestServer;

/// Nobody waits so long who waits for nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// A second process on the same data.
async fn beside(app: &TestApp) -> TestServer {
    TestServer::start(service::site(&app.other_process().await)).await
}

/// P2: 64 callers want one of ten.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn of_ten_units_sixty_four_callers_get_ten(
    #[values(Embedded, Server)] on: Profile,
    #[values(1, 2)] processes: usize,
    #[values(false, true)] is_shared: bool,
) {
    let app = TestApp::start(on).await;
    let other = beside(&app).await;
    let servers = [&app.server, &other];
    let (stores, coat) = ten_coats(&app, is_shared).await;
    let callers = (0..64).map(|n| {
        let (server, store) = (servers[n % processes], stores[n / 2 % stores.len()]);
        let (app, order) = (&app, format!("o-{n}"));
        async move {
            app.reserve_at(server, store, &order, "STRICT", &[line("coat", 1)])
                .await
        }
    });
    let answers = join_all(callers).await;
    let granted = answers
        .iter()
        .filter(|(status, _)| *status == StatusCode::CREATED)
        .count();
    let short = answers
        .iter()
        .filter(|(_, body)| body["code"] == "insufficient_stock")
        .count();
    assert_eq!((granted, short), (10, 54));
    let mut committed = 0;
    for store in &stores {
        let level = app.level(*store, coat).await;
        assert_eq!(level.0, 0);
        committed += level.1;
    }
    assert_eq!(committed, 10);
    app.check_books().await;
    assert_eq!(app.deadlocks().await, 0);
}

async fn ten_coats(app: &TestApp, is_shared: bool) -> (Vec<TestStore>, Uuid) {
    if !is_shared {
        let store = app.register("shop").await;
        return (vec![store], app.stocked(store, "coat", 10).await);
    }
    let stores = vec![
        app.drawing_store("left").await,
        app.drawing_store("right").await,
    ];
    let (_, shelf) = app.warehouse("IST", &stores).await;
    let coat = app.product("coat").await;
    app.add(shelf, coat, 10).await;
    (stores, coat)
}

/// P2 with orders of several products that overlap, some of them for more than there is, and
/// cancellations, fulfilments and counting in between.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn orders_that_overlap_never_wait_in_a_circle(
    #[values(Embedded, Server)] on: Profile,
    #[values(1, 2)] seed: u64,
) {
    let app = TestApp::start(on).await;
    let other = beside(&app).await;
    let store = app.register("shop").await;
    let mut products = Vec::new();
    for n in 0..6 {
        products.push(app.stocked(store, &format!("p{n}"), 40).await);
    }
    let set = app.set("set", &[(products[1], 1), (products[4], 2)]).await;
    app.list_in(store, set).await;
    let mut dice = Dice(seed);
    let callers: Vec<_> = (0..48)
        .map(|n| {
            let server = if dice.below(2) == 0 {
                &app.server
            } else {
                &other
            };
            let mut lines: Vec<Value> = (0..6)
                .map(|product| line(&format!("p{product}"), 1))
                .collect();
            lines.push(line("set", 1));
            dice.shuffle(&mut lines);
            lines.truncate(1 + dice.below(4));
            let mode = ["STRICT", "ALLOW_SHORTFALL"][dice.below(2)];
            let (app, end, counted) = (&app, dice.below(3), products[dice.below(6)]);
            async move {
                let order = format!("o-{n}");
                let (status, body) = app.reserve_at(server, store, &order, mode, &lines).await;
                let is_known = status == StatusCode::CREATED || status == StatusCode::CONFLICT;
                assert!(is_known, "{body}");
                if status == StatusCode::CREATED && end < 2 {
                    app.ended(store, &order, ["release", "fulfil"][end]).await;
                } else {
                    let more = json!({ "type": "DELTA", "quantity": 1 });
                    assert_eq!(app.adjust(store, counted, &more).await.0, StatusCode::OK);
                }
            }
        })
        .collect();
    join_all(callers).await;
    app.check_books().await;
    assert_eq!(app.deadlocks().await, 0);
}

/// The same over warehouses that overlap, while goods come and go and stores change hands.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn stores_that_share_never_wait_in_a_circle(
    #[values(Embedded, Server)] on: Profile,
    #[values(1, 2)] seed: u64,
) {
    let app = TestApp::start(on).await;
    let other = beside(&app).await;
    let mut stores = Vec::new();
    for name in ["a", "b", "c", "d"] {
        stores.push(app.drawing_store(name).await);
    }
    // A chain: a and b share one, b and c the next, c and d the last.
    let mut houses = Vec::new();
    for n in 0..3 {
        houses.push(app.warehouse(&format!("w{n}"), &stores[n..n + 2]).await);
    }
    let mut products = Vec::new();
    for n in 0..4 {
        products.push(app.product(&format!("p{n}")).await);
    }
    let mut dice = Dice(seed);
    let callers: Vec<_> = (0..48)
        .map(|n| {
            let server = if dice.below(2) == 0 {
                &app.server
            } else {
                &other
            };
            let (app, store) = (&app, stores[dice.below(4)]);
            let (warehouse, shelf) = houses[dice.below(3)];
            let product = products[dice.below(4)];
            let mut lines: Vec<Value> = (0..4)
                .map(|product| line(&format!("p{product}"), 1))
                .collect();
            dice.shuffle(&mut lines);
            lines.truncate(1 + dice.below(3));
            let (act, mode) = (dice.below(8), ["STRICT", "ALLOW_SHORTFALL"][dice.below(2)]);
            let linked: Vec<TestStore> = stores
                .iter()
                .copied()
                .filter(|_| dice.below(2) == 0)
                .collect();
            async move {
                match act {
                    0 => app.link(warehouse, &linked).await,
                    1 | 2 => app.add(shelf, product, 3).await,
                    3 => {
                        app.remove(shelf, product, 1, None).await;
                    }
                    _ => {
                        let order = format!("o-{n}");
                        let (status, _) = app.reserve_at(server, store, &order, mode, &lines).await;
                        if status == StatusCode::CREATED && act < 6 {
                            let (status, body) = app.end(store, &order, "release").await;
                            assert_eq!(status, StatusCode::OK, "{body}");
                        }
                    }
                }
            }
        })
        .collect();
    join_all(callers).await;
    app.check_books().await;
    assert_eq!(app.deadlocks().await, 0);
}

/// Scenario 19, at once: an order and its cancellation race, each twice.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn an_order_and_its_cancellation_may_come_at_once(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let other = beside(&app).await;
    let store = app.register("shop").await;
    let coat = app.stocked(store, "coat", 100).await;
    for n in 0..12 {
        let order = format!("o-{n}");
        let lines = [line("coat", 3)];
        let (first, again, cancelled, twice) = tokio::join!(
            app.reserve_at(&app.server, store, &order, "STRICT", &lines),
            app.reserve_at(&other, store, &order, "STRICT", &lines),
            app.end(store, &order, "release"),
            app.end(store, &order, "release"),
        );
        for (status, body) in [&first, &again, &cancelled, &twice] {
            assert!(status.is_success(), "{body}");
        }
        let made = [first.0, again.0]
            .iter()
            .filter(|it| **it == StatusCode::CREATED)
            .count();
        assert!(made <= 1);
    }
    assert_eq!(app.level(store, coat).await, (100, 0));
    app.check_books().await;
    assert_eq!(app.deadlocks().await, 0);
}

/// Orders that wait for a row of their product leave connections to everybody else.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_a_product_keeps_nobody_else_waiting(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let coat = app.stocked(store, "coat", 100).await;
    let lock = Lock::take(&app.database, &app.app.db, "product_stores").await;
    let one = [line("coat", 1)];
    let names: Vec<String> = (0..40).map(|n| format!("o-{n}")).collect();
    let orders = join_all(names.iter().map(|order| app.reserved(store, order, &one)));
    let others = async {
        // All orders have come long before the last of these.
        for _ in &names {
            let path = format!("/warehouses?{ORG}");
            let answer = timeout(PATIENCE, app.get(&path)).await;
            let (status, _) = answer.expect("there is a connection");
            assert_eq!(status, StatusCode::OK);
        }
        lock.release().await;
    };
    tokio::join!(orders, others);
    assert_eq!(app.level(store, coat).await, (60, 40));
    app.check_books().await;
}
