//! What an operator does about stock, and what the log has of it.

use chrono::TimeDelta;
use jobs::{Job, PushStock};
use marketplace_sync::stock::model::Reason;
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::operators::Operator;
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, TestStore, on};
use crate::support::log::Log;

const CHANGED: &str = r#"{"isChanged":true}"#;
const NOTHING: &str = r#"{"isChanged":false}"#;

impl TestApp {
    /// The rows that wait of a store: why, and whether they are sent in any case.
    async fn owed(&self, store: TestStore) -> Vec<(String, bool)> {
        on!(&self.app.db, pool => sqlx::query_as(
            "SELECT reason, force FROM stock_update_queue
             WHERE store_id = $1 AND processed_at IS NULL ORDER BY product_id")
            .bind(store.id).fetch_all(pool).await.unwrap())
    }

    async fn push_mode(&self, store: TestStore) -> String {
        on!(&self.app.db, pool => sqlx::query_scalar("SELECT stock_push_mode FROM stores WHERE id = $1")
            .bind(store.id).fetch_one(pool).await.unwrap())
    }
}

/// Going live sends what was not sent meanwhile; a dry run sends nothing, and so does no push.
#[rstest]
#[tokio::test]
async fn a_store_is_paused_tried_and_made_live_by_requests(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.push_to(store, "LIVE").await;
    app.pair(store, "one").await;
    let operator = Operator::of(&app).await;
    let act = async |action: &str| {
        let path = format!("/stock/stores/{}/{action}", store.id);
        operator.act(&path).await.to_string()
    };
    let log = Log::capture();
    assert_eq!(act("pause").await, CHANGED);
    assert_eq!(act("pause").await, NOTHING);
    assert_eq!(app.push_mode(store).await, "OFF");
    assert_eq!(act("dry-run").await, CHANGED);
    assert_eq!(app.push_mode(store).await, "DRY_RUN");
    app.run_jobs().await;
    assert_eq!(app.owed(store).await, [], "a dry run does not ask for more");
    assert_eq!(act("live").await, CHANGED);
    assert_eq!(app.push_mode(store).await, "LIVE");
    app.run_jobs().await;
    assert_eq!(app.owed(store).await, [("RESYNC".to_owned(), false)]);
    let done = |action: &str, outcome: &str| {
        json!({ "event": "operator_action", "level": "info", "service": "marketplace-sync",
            "actor": "anonymous", "action": action, "kind": "stock", "id": store.id,
            "outcome": outcome })
    };
    assert_eq!(
        log.of("operator_action"),
        [
            done("pause", "done"),
            done("pause", "nothing to do"),
            done("dry-run", "done"),
            done("live", "done"),
        ]
    );
}

#[rstest]
#[tokio::test]
async fn what_differs_is_told_again_by_a_request(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let shown = app.pair(store, "shown").await;
    app.pair(store, "differs").await;
    on!(&app.app.db, pool => sqlx::query(
        "UPDATE product_stores SET last_confirmed_quantity = 5 WHERE product_id = $1")
        .bind(shown).execute(pool).await.map(|_| ()).unwrap());
    let operator = Operator::of(&app).await;
    let path = format!("/stock/stores/{}/resync", store.id);
    assert_eq!(operator.act(&path).await.to_string(), CHANGED);
    app.run_jobs().await;
    assert_eq!(
        app.owed(store).await,
        [("RESYNC".to_owned(), false)],
        "the other is shown"
    );
}

#[rstest]
#[tokio::test]
async fn a_refused_product_is_told_again_by_a_request(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let product = app.pair(store, "one").await;
    app.block(store, product, "ListingFrozen", 6).await;
    let operator = Operator::of(&app).await;
    assert_eq!(
        operator.see("/overview").await["stock"]["blocked"]["count"],
        1
    );
    let log = Log::capture();
    let path = format!("/stock/stores/{}/products/{product}/unblock", store.id);
    assert_eq!(operator.act(&path).await.to_string(), CHANGED);
    assert_eq!(app.owed(store).await, [("MANUAL".to_owned(), true)]);
    let seen = operator.see("/overview").await;
    assert_eq!(seen["stock"]["blocked"]["count"], 0);
    assert_eq!(seen["stock"]["pending"]["count"], 1);
    let logged = log.of("operator_action").pop().unwrap();
    assert_eq!(
        (&logged["kind"], &logged["id"], &logged["storeId"]),
        (&json!("product"), &json!(product), &json!(store.id))
    );
}

/// A closed gate stays closed: the run that is enqueued finds it so.
#[rstest]
#[tokio::test]
async fn a_run_is_enqueued_by_a_request(#[values(Embedded, Server)] on: Profile) {
    let mut app = TestApp::start(on).await;
    app.leave_jobs();
    let store = app.register("shop").await;
    app.push_to(store, "LIVE").await;
    let product = app.pair(store, "one").await;
    app.wait_in_queue(store, product, Reason::Manual, TimeDelta::zero())
        .await;
    app.close_gate(store, "AUTH", TimeDelta::minutes(10)).await;
    let operator = Operator::of(&app).await;
    let path = format!("/stock/stores/{}/push", store.id);
    assert_eq!(operator.act(&path).await.to_string(), CHANGED);
    assert_eq!(app.app.queue.waiting(PushStock::QUEUE).await.unwrap(), 1);
    let shown = &operator.see("/stock/stores").await["items"][0];
    assert_eq!(shown["gate"]["reason"], "AUTH");
    assert_eq!(app.owed(store).await.len(), 1);
}

#[rstest]
#[tokio::test]
async fn nothing_is_pushed_to_a_store_that_is_off(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let operator = Operator::of(&app).await;
    let (status, body) = operator
        .ask(&format!("/stock/stores/{}/push", store.id))
        .await;
    assert_eq!(status, StatusCode::CONFLICT, "{body}");
    assert_eq!(body["error"], "store_not_eligible");
    assert_eq!(body["reasons"], json!(["SEND_STOCK_OFF", "PUSH_MODE_OFF"]));
}

#[rstest]
#[tokio::test]
async fn what_cannot_be_done_is_a_problem(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let operator = Operator::of(&app).await;
    let nobody = Uuid::nil();
    let of_store = |action: &str| format!("/stock/stores/{}/{action}", store.id);
    for (path, expected) in [
        (
            format!("/stock/stores/{nobody}/push"),
            StatusCode::NOT_FOUND,
        ),
        (
            format!("/stock/stores/{nobody}/resync"),
            StatusCode::NOT_FOUND,
        ),
        (
            format!("/stock/stores/{nobody}/live"),
            StatusCode::NOT_FOUND,
        ),
        (of_store("delete"), StatusCode::NOT_FOUND),
        (
            of_store(&format!("products/{nobody}/unblock")),
            StatusCode::NOT_FOUND,
        ),
        (
            of_store(&format!("products/{nobody}/delete")),
            StatusCode::NOT_FOUND,
        ),
        (of_store("products/1/unblock"), StatusCode::BAD_REQUEST),
        ("/stock/stores/1/push".to_owned(), StatusCode::BAD_REQUEST),
        ("/stock/pushes".to_owned(), StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let (status, body) = operator.ask(&path).await;
        assert_eq!(status, expected, "{path}: {body}");
        assert_eq!(body["status"], json!(expected.as_u16()), "{path}");
    }
    let plain = operator.request(reqwest::Method::POST, &of_store("live"));
    let (status, _) = app.send(plain).await;
    assert_eq!(
        status,
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "a form of another site"
    );
    assert_eq!(app.push_mode(store).await, "OFF");
    let nothing: Vec<(String, bool)> = Vec::new();
    assert_eq!(app.owed(store).await, nothing);
    assert_eq!(
        operator.see("/overview").await["stock"]["closedByReason"],
        Value::Array(Vec::new())
    );
}
