//! Many receipts in one request.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use marketplace_sync::service;
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};

use super::import_at;
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, TestStore, on};
use crate::support::scripted_connector::{
    ScriptedConnector, broken, invalid, rate_limited, unauthorized, valid,
};
use crate::support::server::TestServer;

async fn import_all(app: &TestApp, store: TestStore, receipts: &[String]) -> (StatusCode, Value) {
    let body = json!({ "syncToken": store.token, "receipts": receipts });
    app.post("/orders/import/batch", &body).await
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("r{number:04}")).collect()
}

#[rstest]
#[tokio::test]
async fn results_come_in_the_order_asked_duplicates_included(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::build(on, &[], |app| app.import_wait = Duration::ZERO).await;
    let store = app.register("shop").await;
    app.marketplace.reply("known-bad", [unauthorized()]);
    app.import(store, "known-bad").await;
    app.import(store, "known").await;
    app.insert_row(store, "busy", "pending", 0).await;
    let until = app.clock.now() + Duration::from_secs(30);
    on!(&app.app.db, pool => sqlx::query(
        "UPDATE sync_logs SET next_retry_at = $1 WHERE status = 'pending'")
        .bind(until).execute(pool).await.map(|_| ()).unwrap());
    app.marketplace.reply("bad", [invalid()]);
    app.marketplace.reply("fast", [rate_limited(None)]);
    app.marketplace
        .reply("down", [broken("Marketplace timeout")]);

    let receipts = [
        "new",
        "bad",
        "known",
        "new",
        "busy",
        "fast",
        "known-bad",
        "down",
        "bad",
    ];
    let (status, body) = import_all(&app, store, &receipts.map(str::to_owned)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let order = |receipt: &str| {
        json!({
            "receipt": receipt,
            "success": true,
            "orderId": format!("order-of-{receipt}"),
            "amount": 10,
            "currency": "USD",
            "importedAt": "2024-01-01T12:00:00.123Z",
        })
    };
    let failure = |receipt: &str, error: &str| json!({ "receipt": receipt, "success": false, "error": error });
    let expected = json!({ "results": [
        order("new"),
        failure("bad", "invalid_receipt"),
        order("known"),
        order("new"),
        failure("busy", "import_in_progress"),
        failure("fast", "rate_limited"),
        failure("known-bad", "AuthError: Authentication failed"),
        failure("down", "MarketplaceError: Marketplace timeout"),
        failure("bad", "invalid_receipt"),
    ]});
    assert_eq!(body, expected);
    for receipt in receipts {
        let calls = usize::from(receipt != "busy");
        assert_eq!(app.marketplace.calls_of(receipt), calls, "{receipt}");
    }
    assert_eq!(app.store_row(store).await.imported_success_count, 2);
    assert_eq!(app.count("SELECT COUNT(*) FROM sync_logs").await, 7);
}

#[rstest]
#[tokio::test]
async fn a_thousand_receipts_are_imported_a_few_at_a_time(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start_with(on, &[("SYNC_ROW_CONCURRENCY", "5")]).await;
    let store = app.register("shop").await;
    let receipts = names(1000);
    let (status, first) = import_all(&app, store, &receipts).await;
    assert_eq!(status, StatusCode::OK);
    let results = first["results"].as_array().unwrap();
    assert_eq!(results.len(), 1000);
    for (receipt, result) in receipts.iter().zip(results) {
        assert_eq!(result["orderId"], format!("order-of-{receipt}"));
        assert_eq!(result["receipt"], json!(receipt));
    }
    assert_eq!(app.marketplace.calls().len(), 1000);
    assert!(app.marketplace.most_in_flight() <= 5);
    assert_eq!(app.store_row(store).await.imported_success_count, 1000);
    let (_, second) = import_all(&app, store, &receipts).await;
    assert_eq!(second, first);
    assert_eq!(app.marketplace.calls().len(), 1000);
}

#[rstest]
#[tokio::test]
async fn a_batch_uses_the_concurrency_it_may(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.marketplace.hold();
    let let_go = async {
        app.marketplace.in_flight(8).await;
        app.marketplace.release();
    };
    let receipts = names(50);
    let ((status, _), ()) = tokio::join!(import_all(&app, store, &receipts), let_go);
    assert_eq!(status, StatusCode::OK);
    assert_eq!(app.marketplace.most_in_flight(), 8);
}

#[rstest]
#[tokio::test]
async fn a_batch_of_one_is_an_import(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let (_, batch) = import_all(&app, store, &names(1)).await;
    let (_, single) = app.import(store, "r0000").await;
    let mut result = batch["results"][0].clone();
    assert_eq!(
        result.as_object_mut().unwrap().remove("receipt"),
        Some(json!("r0000"))
    );
    assert_eq!(result, single);
    assert_eq!(app.marketplace.calls().len(), 1);
}

/// The last receipt of a batch is the newest operation of the store (T8, T9, T11).
#[rstest]
#[tokio::test]
async fn rows_are_created_in_the_order_asked(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    app.marketplace
        .reply_with(|call| match call.receipt.as_str() {
            "failed" => invalid(),
            _ => rate_limited(None),
        });
    for round in 0..4 {
        let failed_last = app.register(&format!("failed-{round}")).await;
        let mut receipts = names(20);
        receipts.push("failed".into());
        import_all(&app, failed_last, &receipts).await;
        assert_eq!(app.sync_status(failed_last).await["syncStatus"], "failed");
        assert_eq!(app.store_row(failed_last).await.sync_status, "failed");

        let failed_first = app.register(&format!("limited-{round}")).await;
        receipts.rotate_right(1);
        import_all(&app, failed_first, &receipts).await;
        assert_eq!(app.sync_status(failed_first).await["syncStatus"], "partial");
    }
}

#[rstest]
#[tokio::test]
async fn batches_that_cross_and_single_imports_ask_once(
    #[values(Embedded, Server)] on: Profile,
    #[values(false, true)] is_left_behind: bool,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let receipts = names(60);
    if is_left_behind {
        // Claims of a process that died: all are taken over, each by one caller.
        for receipt in &receipts {
            app.insert_row(store, receipt, "pending", 60).await;
        }
    }
    let mut backwards = receipts.clone();
    backwards.reverse();
    let batches = join_all([
        import_all(&app, store, &receipts),
        import_all(&app, store, &backwards),
        import_all(&app, store, &receipts[20..]),
        import_all(&app, store, &backwards[20..]),
    ]);
    let singles = join_all(receipts.iter().map(|receipt| app.import(store, receipt)));
    let (batches, singles) = tokio::join!(batches, singles);
    for (status, body) in batches.iter().chain(&singles) {
        assert_eq!(*status, StatusCode::OK, "{body}");
        assert!(!body.to_string().contains(r#""success":false"#), "{body}");
    }
    for receipt in &receipts {
        assert_eq!(app.marketplace.calls_of(receipt), 1, "{receipt}");
    }
    assert_eq!(app.store_row(store).await.imported_success_count, 60);
}

/// However long the whole batch takes, nobody can take over what it has asked for.
#[rstest]
#[tokio::test]
async fn a_slow_batch_does_not_outlive_its_claims(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let mut process = app.other_process().await;
    let bystander = ScriptedConnector::default();
    let inner = Arc::get_mut(&mut process).unwrap();
    (inner.connector, inner.import_wait) = (Arc::new(bystander.clone()), Duration::ZERO);
    let other = TestServer::start(service::site(&process)).await;

    let receipts = names(100);
    let (marketplace, clock) = (app.marketplace.clone(), app.clock.clone());
    app.marketplace.reply_with(move |call| {
        // The first half took its time; the rest is in flight.
        if call.receipt == "r0050" {
            clock.advance(Duration::from_secs(25));
        }
        if call.receipt == "r0080" {
            clock.advance(Duration::from_secs(10));
            marketplace.hold();
        }
        valid(&call.receipt)
    });
    let meanwhile = async {
        while app.marketplace.calls_of("r0080") == 0 || app.marketplace.calls().len() < 82 {
            tokio::task::yield_now().await;
        }
        let first = import_at(&app.http, &other, store, "r0000").await;
        assert_eq!(first.0, StatusCode::OK);
        let (status, _) = import_at(&app.http, &other, store, "r0082").await;
        assert_eq!(status, StatusCode::CONFLICT, "its claim is young");
        app.marketplace.release();
    };
    let ((status, body), ()) = tokio::join!(import_all(&app, store, &receipts), meanwhile);
    assert_eq!(status, StatusCode::OK, "{body}");
    for receipt in &receipts {
        let calls = app.marketplace.calls_of(receipt) + bystander.calls_of(receipt);
        assert_eq!(calls, 1, "{receipt}");
    }
    assert_eq!(app.store_row(store).await.imported_success_count, 100);
}
