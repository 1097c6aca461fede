//! Comparing a store with what its marketplace shows.

use chrono::{DateTime, Utc};
use jobs::ReconcileStock;
use marketplace_sync::stock::connector::Reading;
use marketplace_sync::stock::enqueue_comparisons;
use marketplace_sync::stock::model::Reason;
use marketplace_sync::worker;
use rstest::rstest;
use tokio_util::sync::CancellationToken;

use super::crashes::poll_times;
use super::shop::Shops;
use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::app::on;
use crate::support::log::Log;

/// What a comparison left behind.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
struct Compared {
    reconcile_requested_at: Option<DateTime<Utc>>,
    reconciled_at: Option<DateTime<Utc>>,
    drifted_at: Option<DateTime<Utc>>,
    sets_checked: i64,
    sets_accurate: i64,
}

async fn compared(shops: &Shops) -> Compared {
    on!(&shops.app.app.db, pool => sqlx::query_as(
        "SELECT reconcile_requested_at, reconciled_at, drifted_at, sets_checked, sets_accurate
         FROM marketplace_rate_limits")
        .fetch_one(pool).await.unwrap())
}

#[rstest]
#[tokio::test]
async fn what_the_marketplace_shows_wrong_is_told_again(#[values(Embedded, Server)] on: Profile) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let products = shops.list_many(store, 120).await;
    shops.enqueue(store, &products, Reason::StockAdded).await;
    shops.push(store).await;
    // Somebody sold three on the marketplace, and nobody heard of it.
    for barcode in ["p00010", "p00060", "p00120"] {
        shops.adapter.show(store, barcode, 1);
    }
    let log = Log::capture();
    let pass = enqueue_comparisons(&shops.app.app).await.unwrap();
    assert_eq!((pass.scanned, pass.enqueued_jobs), (1, 1));
    shops.app.run_jobs().await;
    let reads = shops.adapter.reads();
    assert_eq!(reads.iter().map(Vec::len).collect::<Vec<_>>(), [50, 50, 20]);
    assert_eq!(log.count("stock_drift_found"), 3, "a page each");
    let rows = shops.pending(store).await;
    assert_eq!(rows.len(), 3);
    assert!(
        rows.iter()
            .all(|row| row.reason == "RECONCILE" && row.priority == 50)
    );
    assert_eq!(
        shops.pair(store, products[9]).await.last_confirmed_quantity,
        Some(1)
    );
    let found = compared(&shops).await;
    assert_eq!(found.reconcile_requested_at, None);
    assert_eq!(found.reconciled_at, Some(shops.app.clock.now()));
    assert_eq!(found.drifted_at, Some(shops.app.clock.now()));
    shops.push(store).await;
    assert_eq!(shops.adapter.shown(store, "p00060"), Some(60));
    assert_eq!(shops.pending(store).await, []);
}

/// What is about to be told anyway, or is on the way, is nobody's fault.
#[rstest]
#[tokio::test]
async fn what_waits_to_be_told_is_no_drift(#[values(Embedded, Server)] on: Profile) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let coat = shops.list(store, "coat", 5).await;
    shops.enqueue(store, &[coat], Reason::StockAdded).await;
    shops.push(store).await;
    shops.change(store, coat, 4, Reason::OrderCreated).await;
    let version = shops.pending(store).await[0].version;
    shops.adapter.show(store, "coat", 3);
    enqueue_comparisons(&shops.app.app).await.unwrap();
    shops.compare(store).await;
    assert_eq!(shops.pending(store).await[0].version, version);
    assert_eq!(compared(&shops).await.drifted_at, None);
    assert_eq!(
        shops.pair(store, coat).await.last_confirmed_quantity,
        Some(3)
    );
    shops.app.run_jobs().await;
}

/// What is told while the marketplace is asked is not undone by an answer that is older.
#[rstest]
#[tokio::test]
async fn an_answer_that_is_overtaken_by_a_push_counts_for_nothing(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let coat = shops.list(store, "coat", 5).await;
    shops.enqueue(store, &[coat], Reason::StockAdded).await;
    shops.push(store).await;
    let mut quantity = 5;
    for after in 1.. {
        quantity += 1;
        enqueue_comparisons(&shops.app.app).await.unwrap();
        let job = ReconcileStock { store_id: store };
        let stop = CancellationToken::new();
        let app = shops.app.app.clone();
        let mut comparison = Box::pin(worker::reconcile_stock(&app, job, &stop));
        if poll_times(&mut comparison, after).await.is_some() {
            break;
        }
        let push = async {
            shops
                .change(store, coat, quantity, Reason::StockAdded)
                .await;
            shops.push(store).await;
        };
        let (ended, ()) = tokio::join!(comparison, push);
        ended.unwrap();
        shops.push(store).await;
        let pair = shops.pair(store, coat).await;
        assert_eq!(
            pair.last_confirmed_quantity,
            Some(quantity),
            "after {after} polls"
        );
        assert_eq!(shops.adapter.shown(store, "coat"), Some(quantity));
        assert_eq!(compared(&shops).await.drifted_at, None);
    }
    shops.app.run_jobs().await;
}

/// A comparison goes on where a dead one, or one whose time was over, was.
#[rstest]
#[tokio::test]
async fn a_comparison_that_is_killed_anywhere_is_gone_on_with(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = Shops::start(on).await;
    shops.adapter.change(|manners| manners.max_read_items = 2);
    let store = shops.live_store("shop").await;
    let products = shops.list_many(store, 7).await;
    shops.enqueue(store, &products, Reason::StockAdded).await;
    shops.push(store).await;
    for after in 1.. {
        shops.adapter.show(store, "p00001", 100);
        shops.adapter.show(store, "p00007", 100);
        enqueue_comparisons(&shops.app.app).await.unwrap();
        let app = shops.app.app.clone();
        let stop = CancellationToken::new();
        let job = ReconcileStock { store_id: store };
        let mut comparison = Box::pin(worker::reconcile_stock(&app, job, &stop));
        let is_over = poll_times(&mut comparison, after).await.is_some();
        drop(comparison);
        shops.app.run_jobs().await;
        // What the dead job left is due as soon as its slot is over.
        shops.compare(store).await;
        shops.push(store).await;
        assert_eq!(
            shops.adapter.shown(store, "p00001"),
            Some(1),
            "after {after} polls"
        );
        assert_eq!(
            shops.adapter.shown(store, "p00007"),
            Some(7),
            "after {after} polls"
        );
        assert_eq!(compared(&shops).await.reconcile_requested_at, None);
        if is_over {
            break;
        }
    }
}

#[rstest]
#[tokio::test]
async fn sets_are_counted_that_are_shown_as_their_components_make_them(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let [coat, glove] = [
        shops.list(store, "coat", 50).await,
        shops.list(store, "glove", 31).await,
    ];
    let mut sets = Vec::new();
    for name in ["one", "two", "empty"] {
        let set = shops.product(Some(name), "SET").await;
        shops.list_product(store, set, 0).await;
        sets.push(set);
    }
    shops.make_of(sets[0], &[(coat, 1), (glove, 2)]).await;
    shops.make_of(sets[1], &[(coat, 10)]).await;
    shops.enqueue(store, &sets, Reason::SetChanged).await;
    shops.push(store).await;
    assert_eq!(shops.adapter.shown(store, "one"), Some(15));
    enqueue_comparisons(&shops.app.app).await.unwrap();
    shops.app.run_jobs().await;
    let found = compared(&shops).await;
    assert_eq!((found.sets_checked, found.sets_accurate), (3, 3));

    // A statement that left something out would be found.
    shops.app.execute("UPDATE product_stores SET last_confirmed_quantity = 9 WHERE last_confirmed_quantity = 5").await;
    enqueue_comparisons(&shops.app.app).await.unwrap();
    shops.app.run_jobs().await;
    let found = compared(&shops).await;
    assert_eq!((found.sets_checked, found.sets_accurate), (3, 2));
}

#[rstest]
#[tokio::test]
async fn goods_that_the_marketplace_holds_are_left_to_it_and_locks_are_reported(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = Shops::start(on).await;
    let store = shops.store_on("hepsiburada", "shop", "LIVE").await;
    let [coat, hat] = [
        shops.list(store, "coat", 5).await,
        shops.list(store, "hat", 7).await,
    ];
    shops.enqueue(store, &[coat, hat], Reason::StockAdded).await;
    shops.push(store).await;
    let theirs = Reading {
        quantity: Some(50),
        is_fulfilled_by_marketplace: true,
        lock_reasons: Vec::new(),
    };
    let locked = Reading {
        quantity: Some(7),
        is_fulfilled_by_marketplace: false,
        lock_reasons: vec!["FraudLock".to_owned()],
    };
    shops.adapter.say("coat", theirs);
    shops.adapter.say("hat", locked);
    enqueue_comparisons(&shops.app.app).await.unwrap();
    shops.app.run_jobs().await;
    assert_eq!(shops.pending(store).await, []);
    let pair = shops.pair(store, coat).await;
    assert_eq!(
        pair.push_error_code.as_deref(),
        Some("FULFILLED_BY_MARKETPLACE")
    );
    let pair = shops.pair(store, hat).await;
    assert_eq!(
        (pair.push_state.as_str(), pair.push_error_message.as_deref()),
        ("OK", Some("FraudLock"))
    );

    shops.change(store, coat, 4, Reason::OrderCreated).await;
    shops.wait(3600);
    shops.push(store).await;
    assert_eq!(shops.outcomes(store).await["SKIPPED_NOT_LISTED"], 1);
    // It is ours again.
    shops.adapter.say(
        "coat",
        Reading {
            quantity: Some(50),
            ..Reading::default()
        },
    );
    shops.adapter.say(
        "hat",
        Reading {
            quantity: Some(7),
            ..Reading::default()
        },
    );
    enqueue_comparisons(&shops.app.app).await.unwrap();
    shops.app.run_jobs().await;
    shops.push(store).await;
    assert_eq!(shops.adapter.shown(store, "coat"), Some(4));
    assert_eq!(shops.pair(store, hat).await.push_error_code, None);
}

#[rstest]
#[tokio::test]
async fn a_store_that_is_not_live_is_not_compared(#[values(Embedded, Server)] on: Profile) {
    let shops = Shops::start(on).await;
    let store = shops.store_on("trendyol", "shop", "DRY_RUN").await;
    shops.list(store, "coat", 5).await;
    assert_eq!(
        enqueue_comparisons(&shops.app.app).await.unwrap().scanned,
        0
    );
    let path = format!("/stores/{store}/stock-sync/reconcile?organizationId=org-1");
    let (status, body) = shops.app.post(&path, &serde_json::json!({})).await;
    assert_eq!(status, 202, "{body}");
    assert_eq!(body["jobId"], format!("store:{store}"));
    shops.app.run_jobs().await;
    assert_eq!(shops.adapter.reads(), [[""; 0]; 0]);
    assert_eq!(compared(&shops).await.reconciled_at, None);
}
