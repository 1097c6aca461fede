//! Imports from the mock marketplace, over HTTP on both sides.

use std::sync::Arc;
use std::time::Duration;

use marketplace_sync::marketplace::connector::MockClient;
use poem::endpoint::{make, make_sync};
use poem::http::StatusCode as Status;
use poem::{IntoEndpoint, Response};
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::json;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, store_body};
use crate::support::marketplace::{
    client, client_with_timeout, credentials, serve_mock_marketplace,
};
use crate::support::server::TestServer;

async fn app_with(on: Profile, client: MockClient) -> TestApp {
    TestApp::build(on, &[], |app| app.connector = Arc::new(client)).await
}

/// A service whose marketplace answers like this; it lives as long as the server.
async fn app_against(
    on: Profile,
    marketplace: impl IntoEndpoint<Endpoint: 'static>,
) -> (TestApp, TestServer) {
    let marketplace = TestServer::start(marketplace).await;
    let patience = Duration::from_millis(200);
    let client = client_with_timeout(marketplace.base_url(), patience);
    (app_with(on, client).await, marketplace)
}

///
#[rstest]
#[tokio::test]
async fn the_flow_imports_one_of_three_and_repeats_its_answers(
    #[values(Embedded, Server)] on: Profile,
) {
    let marketplace = serve_mock_marketplace(credentials()).await;
    let app = app_with(on, client(marketplace.base_url())).await;
    let store = app.register("ext-100").await;
    let expected = [
        (
            "order-101",
            json!({
                "success": true,
                "orderId": "e89662f3-1d12cc5e6-2b9c328d9-3a2598bcc-00048aefeebf",
                "amount": 741,
                "currency": "USD",
                "importedAt": "2024-01-01T12:00:00.123Z",
            }),
        ),
        (
            "order-102",
            json!({ "success": false, "error": "invalid_receipt" }),
        ),
        (
            "order-115",
            json!({ "success": false, "error": "rate_limited" }),
        ),
    ];
    for _ in 0..2 {
        for (receipt, body) in &expected {
            let answer = app.import(store, receipt).await;
            assert_eq!(answer, (StatusCode::OK, body.clone()), "{receipt}");
        }
        let status = app.sync_status(store).await;
        assert_eq!(
            status,
            json!({
                "lastSyncAt": "2024-01-01T12:00:00.123Z",
                "importedOrders": 1,
                "syncStatus": "partial",
                "rateLimitedCount": 1,
            })
        );
        // The second round is a replay, whatever the time.
        app.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(app.count("SELECT COUNT(*) FROM sync_logs").await, 3);
}

///
#[rstest]
#[tokio::test]
async fn each_verdict_makes_a_row_and_the_status_of_a_new_store(
    #[values(Embedded, Server)] on: Profile,
) {
    let marketplace = serve_mock_marketplace(credentials()).await;
    let app = app_with(on, client(marketplace.base_url())).await;
    let now = app.clock.now();

    let good = app.register("good").await;
    let (_, body) = app.import(good, "test1").await;
    assert_eq!(body["amount"], 507);
    assert_eq!(body["currency"], "USD");
    let row = app.row(good, "test1").await.unwrap();
    assert_eq!(
        (row.status.as_str(), row.amount_minor),
        ("success", Some(50_700))
    );
    let stored = app.store_row(good).await;
    assert_eq!(stored.imported_success_count, 1);
    assert_eq!(stored.last_sync_at, Some(now));
    assert_eq!(stored.sync_status, "success");

    let bad = app.register("bad").await;
    app.import(bad, "test2").await;
    let row = app.row(bad, "test2").await.unwrap();
    assert_eq!((row.status.as_str(), row.attempt), ("failed", 0));
    assert_eq!(app.store_row(bad).await.sync_status, "failed");

    let hasty = app.register("hasty").await;
    let (status, body) = app.import(hasty, "RL15").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body, json!({ "success": false, "error": "rate_limited" }));
    let row = app.row(hasty, "RL15").await.unwrap();
    assert_eq!((row.status.as_str(), row.attempt), ("rate_limited", 1));
    assert_eq!(row.next_retry_at, Some(now + Duration::from_mins(5)));
    let status = app.sync_status(hasty).await;
    assert_eq!(status["syncStatus"], "partial");
    assert_eq!(status["rateLimitedCount"], 1);
    assert_eq!(app.store_row(hasty).await.sync_status, "partial");
}

#[rstest]
#[tokio::test]
async fn the_order_is_asked_for_in_the_currency_of_its_store(
    #[values(Embedded, Server)] on: Profile,
) {
    let marketplace = serve_mock_marketplace(credentials()).await;
    let app = app_with(on, client(marketplace.base_url())).await;
    let mut body = store_body("tokyo");
    body["currency"] = json!("JPY");
    body["marketplace"] = json!("shopify");
    let (_, store) = app.post("/stores/register", &body).await;
    let import = json!({ "syncToken": store["syncToken"], "receipt": "test1" });
    let (_, answer) = app.post("/orders/import", &import).await;
    assert_eq!(
        (&answer["amount"], &answer["currency"]),
        (&json!(507), &json!("JPY"))
    );
}

///
#[rstest]
#[tokio::test]
async fn a_marketplace_in_trouble_is_a_recorded_failure_and_never_a_500(
    #[values(Embedded, Server)] on: Profile,
    #[values("500", "401", "403", "garbage", "silence")] trouble: &str,
) {
    let reply = |status: u16, body: &'static str| {
        let status = Status::from_u16(status).unwrap();
        make_sync(move |_| Response::builder().status(status).body(body))
    };
    let ((app, _marketplace), error) = match trouble {
        "500" => (
            app_against(on, reply(500, "")).await,
            "MarketplaceError: Marketplace API error: Internal Server Error",
        ),
        "401" => (
            app_against(on, reply(401, "")).await,
            "AuthError: Authentication failed",
        ),
        "403" => (
            app_against(on, reply(403, "")).await,
            "AuthError: Authentication failed",
        ),
        "garbage" => (
            app_against(on, reply(200, "<html>")).await,
            "MarketplaceError: Invalid marketplace response",
        ),
        _ => (
            app_against(on, make(|_| std::future::pending::<poem::Result<()>>())).await,
            "MarketplaceError: Marketplace timeout",
        ),
    };
    let store = app.register("shop").await;
    for _ in 0..2 {
        let answer = app.import(store, "r1").await;
        let expected = json!({ "success": false, "error": error });
        assert_eq!(answer, (StatusCode::OK, expected));
    }
    let row = app.row(store, "r1").await.unwrap();
    assert_eq!(row.status, "failed");
    assert_eq!(row.error_details.as_deref(), Some(error));
    assert_eq!((row.attempt, row.next_retry_at), (0, None));
    let stored = app.store_row(store).await;
    assert_eq!(stored.sync_status, "failed");
    assert_eq!(stored.last_sync_at, Some(app.clock.now()));
}
