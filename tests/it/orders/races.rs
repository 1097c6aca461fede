//! Many callers, several processes, one import.

use std::collections::HashMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::join_all;
use marketplace_sync::service;
use poem::http::Method;
use poem::{Endpoint, Request};
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};

use super::{import_at, post_at, worth};
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};
use crate::support::dice::Dice;
use crate::support::scripted_connector::{Reply, broken, invalid, rate_limited, unauthorized};
use crate::support::server::TestServer;

/// A-26, in one process and split over two
#[rstest]
#[tokio::test]
async fn twenty_callers_get_one_order_and_one_text(
    #[values(Embedded, Server)] on: Profile,
    #[values(1, 2)] processes: usize,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let other = TestServer::start(service::site(&app.other_process().await)).await;
    let servers = [&app.server, &other];
    app.marketplace.hold();
    let imports = (0..20).map(|caller| {
        let server = servers[caller % processes];
        import_at(&app.http, server, store, "r1")
    });
    let let_go = async {
        app.marketplace.in_flight(1).await;
        app.marketplace.release();
    };
    let (answers, ()) = tokio::join!(join_all(imports), let_go);
    for answer in &answers {
        assert_eq!(answer, &answers[0]);
    }
    assert_eq!(answers[0].0, StatusCode::OK);
    assert!(answers[0].1.contains(r#""orderId":"order-of-r1""#));
    assert_eq!(app.marketplace.calls_of("r1"), 1);
    assert_eq!(app.count("SELECT COUNT(*) FROM sync_logs").await, 1);
    assert_eq!(app.store_row(store).await.imported_success_count, 1);
}

fn any_reply(dice: &mut Dice) -> Reply {
    match dice.below(6) {
        0 => invalid(),
        1 => rate_limited(None),
        2 => unauthorized(),
        3 => broken("Marketplace timeout"),
        minor => worth(i64::try_from(minor).unwrap(), "USD"),
    }
}

/// The results of one call: of a single import, or of a batch with duplicates.
async fn import_some(
    app: &TestApp,
    server: &TestServer,
    token: Value,
    receipts: Vec<String>,
) -> Vec<(String, String)> {
    if let [receipt] = receipts.as_slice() {
        let body = json!({ "syncToken": token, "receipt": receipt });
        let (status, text) = post_at(&app.http, server, "/orders/import", &body).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        let result: Value = serde_json::from_str(&text).unwrap();
        return vec![(receipt.clone(), result.to_string())];
    }
    let body = json!({ "syncToken": token, "receipts": receipts });
    let (status, text) = post_at(&app.http, server, "/orders/import/batch", &body).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let body: Value = serde_json::from_str(&text).unwrap();
    let results = body["results"].as_array().unwrap();
    assert_eq!(results.len(), receipts.len());
    let result = |(receipt, result): (String, &Value)| {
        let mut result = result.clone();
        let named = result.as_object_mut().unwrap().remove("receipt");
        assert_eq!(named, Some(json!(receipt)));
        (receipt, result.to_string())
    };
    receipts.into_iter().zip(results).map(result).collect()
}

/// A-26: single imports and batches of random receipts with random verdicts, in two processes
#[rstest]
#[tokio::test]
async fn whatever_the_order_each_receipt_is_asked_for_once(
    #[values(Embedded, Server)] on: Profile,
    #[values(1, 2, 3, 4)] seed: u64,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let other = TestServer::start(service::site(&app.other_process().await)).await;
    let mut dice = Dice(seed);
    let names: Vec<String> = (0..12).map(|number| format!("r{number}")).collect();
    let replies: HashMap<String, Reply> = names
        .iter()
        .map(|name| (name.clone(), any_reply(&mut dice)))
        .collect();
    for (name, reply) in &replies {
        app.marketplace.reply(name, [reply.clone()]);
    }
    let callers = (0..40).map(|_| {
        let server = if dice.below(2) == 0 {
            &app.server
        } else {
            &other
        };
        let size = if dice.below(2) == 0 {
            1
        } else {
            2 + dice.below(8)
        };
        let receipts = (0..size)
            .map(|_| names[dice.below(names.len())].clone())
            .collect();
        import_some(&app, server, json!(store.token), receipts)
    });
    let callers: Vec<_> = callers.collect();
    let mut answers: HashMap<String, String> = HashMap::new();
    for (receipt, result) in join_all(callers).await.into_iter().flatten() {
        let first = answers.entry(receipt).or_insert_with(|| result.clone());
        assert_eq!(*first, result);
    }
    for receipt in answers.keys() {
        assert_eq!(app.marketplace.calls_of(receipt), 1, "{receipt}");
    }
    let successes = answers.keys().filter(|receipt| {
        matches!(
            replies[*receipt],
            Ok(marketplace_sync::marketplace::connector::Verdict::Valid { .. })
        )
    });
    let successes = i64::try_from(successes.count()).unwrap();
    let stored = app.store_row(store).await;
    assert_eq!(stored.imported_success_count, successes);
    let rows = app
        .count("SELECT COUNT(*) FROM sync_logs WHERE status = 'success'")
        .await;
    assert_eq!(rows, successes);
    let rows = app.count("SELECT COUNT(*) FROM sync_logs").await;
    assert_eq!(rows, i64::try_from(answers.len()).unwrap());
    assert_eq!(
        app.sync_status(store).await["syncStatus"],
        stored.sync_status
    );
}

#[rstest]
#[tokio::test]
async fn imports_of_different_receipts_do_not_wait_for_each_other(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.marketplace.hold();
    let names: Vec<String> = (0..20).map(|number| format!("r{number}")).collect();
    let imports = names.iter().map(|name| app.import(store, name));
    let let_go = async {
        app.marketplace.in_flight(20).await;
        app.marketplace.release();
    };
    let (answers, ()) = tokio::join!(join_all(imports), let_go);
    assert!(answers.iter().all(|(status, _)| *status == StatusCode::OK));
    assert_eq!(app.store_row(store).await.imported_success_count, 20);
}

#[rstest]
#[tokio::test]
async fn an_import_is_finished_when_its_caller_leaves(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.marketplace.hold();
    let body = json!({ "syncToken": store.token, "receipt": "r1" });
    let request = Request::builder()
        .method(Method::POST)
        .uri_str("/orders/import")
        .content_type("application/json")
        .body(body.to_string());
    let site = service::site(&Arc::clone(&app.app));
    let mut call = site.call(request).boxed();
    tokio::select! {
        _ = &mut call => panic!("the marketplace has not answered"),
        () = app.marketplace.in_flight(1) => {}
    }
    drop(call);
    app.marketplace.release();
    // Whoever asks now waits for that import.
    let (status, body) = app.import(store, "r1").await;
    assert_eq!((status, &body["success"]), (StatusCode::OK, &json!(true)));
    assert_eq!(app.marketplace.calls_of("r1"), 1);
    assert_eq!(app.store_row(store).await.imported_success_count, 1);
}
