//! What the ticks do: who is enqueued, what has waited for too long, what is forgotten.

use jobs::{Job, PushStock};
use marketplace_sync::stock::connector::FailureKind;
use marketplace_sync::stock::model::Reason;
use marketplace_sync::stock::{clear_up_stock, enqueue_due_stock};
use rstest::rstest;

use super::scripted_adapter::Fault;
use super::shop::Shops;
use crate::support::app::Profile::{self, Embedded, Server};

/// Scenario 7: what is old is first in line, and nothing hides it.
#[rstest]
#[tokio::test]
async fn a_row_that_has_waited_for_too_long_is_first_in_line_and_told_of(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let [coat, hat] = [
        shops.list(store, "coat", 5).await,
        shops.list(store, "hat", 7).await,
    ];
    shops.enqueue(store, &[coat], Reason::Manual).await;
    shops.wait(300);
    assert_eq!(
        enqueue_due_stock(&shops.app.app).await.unwrap().aged_rows,
        0,
        "just so"
    );
    shops.wait(300);
    shops
        .adapter
        .fail_store(store, Some(Fault::Refuse(FailureKind::Ambiguous)));
    let pass = enqueue_due_stock(&shops.app.app).await.unwrap();
    assert_eq!(pass.aged_rows, 1);
    let row = &shops.pending(store).await[0];
    assert_eq!(
        (row.priority, row.reason.as_str(), row.version),
        (100, "MANUAL", 1)
    );
    assert_eq!(shops.events(store).await, ["stock.push.delayed"]);
    shops.app.run_jobs().await;

    // X1: a change of it is taken as ever.
    shops.change(store, coat, 4, Reason::StockRemoved).await;
    shops.enqueue(store, &[hat], Reason::StockRemoved).await;
    assert_eq!(shops.pending(store).await.len(), 2);
    for _ in 0..14 {
        shops.minute().await;
    }
    let delayed = |events: Vec<String>| {
        events
            .iter()
            .filter(|it| *it == "stock.push.delayed")
            .count()
    };
    assert_eq!(
        delayed(shops.events(store).await),
        1,
        "once in a quarter of an hour"
    );
    shops.minute().await;
    shops.minute().await;
    assert_eq!(delayed(shops.events(store).await), 2);

    shops.adapter.fail_store(store, None);
    shops.wait(900);
    shops.adapter.forget_arrivals();
    shops.minute().await;
    assert_eq!(shops.adapter.shown(store, "coat"), Some(4));
    assert_eq!(shops.adapter.requests()[0][0].0, "coat", "the oldest first");
    assert_eq!(shops.pending(store).await, []);
}

/// What waits on purpose is neither late nor first in line.
#[rstest]
#[tokio::test]
async fn a_row_that_waits_for_its_next_try_is_not_late(#[values(Embedded, Server)] on: Profile) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let coat = shops.list(store, "coat", 5).await;
    shops.enqueue(store, &[coat], Reason::Manual).await;
    shops
        .app
        .execute("UPDATE stock_update_queue SET next_attempt_at = '2030-01-01T00:00:00+00:00'")
        .await;
    shops.wait(600);
    let pass = enqueue_due_stock(&shops.app.app).await.unwrap();
    assert_eq!((pass.aged_rows, pass.scanned), (0, 0));
    assert_eq!(shops.events(store).await, [""; 0]);
}

/// One job a store, however often and by however many it is looked for.
#[rstest]
#[tokio::test]
async fn a_store_with_something_due_is_enqueued_once(#[values(Embedded, Server)] on: Profile) {
    let shops = Shops::start(on).await;
    let mut stores = Vec::new();
    for number in 0..3 {
        let name = format!("shop-{number}");
        let store = shops.live_store(&name).await;
        let product = shops.list(store, &name, 5).await;
        if number != 1 {
            shops.enqueue(store, &[product], Reason::StockAdded).await;
        }
        stores.push(store);
    }
    let pass = enqueue_due_stock(&shops.app.app).await.unwrap();
    assert_eq!((pass.scanned, pass.enqueued_jobs), (2, 2));
    let other = shops.other_process().await;
    let pass = enqueue_due_stock(&other).await.unwrap();
    assert_eq!(
        (pass.scanned, pass.enqueued_jobs),
        (0, 0),
        "their jobs wait"
    );
    assert_eq!(
        shops.app.app.queue.waiting(PushStock::QUEUE).await.unwrap(),
        2
    );
    shops.app.run_jobs().await;
    assert_eq!(shops.adapter.requests().len(), 2);
    assert_eq!(shops.gate(stores[0]).await.push_enqueued_until, None);
    // A closed gate is not knocked at.
    shops
        .adapter
        .fail([Fault::Refuse(FailureKind::Unauthorized)]);
    let product = shops.list(stores[1], "late", 5).await;
    shops
        .enqueue(stores[1], &[product], Reason::StockAdded)
        .await;
    shops.minute().await;
    let pass = enqueue_due_stock(&shops.app.app).await.unwrap();
    assert_eq!((pass.scanned, pass.enqueued_jobs), (0, 0));
}

/// A job that is lost costs as long as its slot; a queue that is lost costs nothing.
#[rstest]
#[tokio::test]
async fn a_lost_job_is_enqueued_again(#[values(Embedded, Server)] on: Profile) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let coat = shops.list(store, "coat", 5).await;
    shops.enqueue(store, &[coat], Reason::StockAdded).await;
    assert_eq!(
        enqueue_due_stock(&shops.app.app)
            .await
            .unwrap()
            .enqueued_jobs,
        1
    );
    shops.wait(14 * 60);
    assert_eq!(
        enqueue_due_stock(&shops.app.app)
            .await
            .unwrap()
            .enqueued_jobs,
        0
    );
    shops.wait(61);
    assert_eq!(
        enqueue_due_stock(&shops.app.app)
            .await
            .unwrap()
            .enqueued_jobs,
        1
    );
    shops.app.run_jobs().await;
    assert_eq!(
        shops.adapter.requests().len(),
        1,
        "two jobs, and one of them had nothing to do"
    );
}

/// Retention: seven days, and thirty.
#[rstest]
#[tokio::test]
async fn what_has_served_its_purpose_is_forgotten(#[values(Embedded, Server)] on: Profile) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let products = shops.list_many(store, 30).await;
    shops.enqueue(store, &products, Reason::StockAdded).await;
    shops.push(store).await;
    let day = 24 * 3600;
    shops.wait(7 * day - 1);
    shops
        .enqueue(store, &products[..1], Reason::StockAdded)
        .await;
    assert_eq!(clear_up_stock(&shops.app.app).await.unwrap().purged_rows, 0);
    shops.wait(2);
    let cleared = clear_up_stock(&shops.app.app).await.unwrap();
    assert_eq!(
        (
            cleared.purged_rows,
            cleared.purged_pushes,
            cleared.purged_logs
        ),
        (30, 0, 0)
    );
    assert_eq!(
        shops.rows(store).await.len(),
        1,
        "what waits is never forgotten"
    );
    shops.wait(23 * day);
    let cleared = clear_up_stock(&shops.app.app).await.unwrap();
    assert_eq!((cleared.purged_pushes, cleared.purged_logs), (1, 1));
    assert_eq!(
        shops
            .app
            .count("SELECT COUNT(*) FROM stock_push_items")
            .await,
        0
    );
}
