//! Counting: in a store whose quantities are its own.

use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};

use super::goods::ORG;
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, on};

fn delta(quantity: i64) -> Value {
    json!({ "type": "DELTA", "quantity": quantity })
}

#[rstest]
#[tokio::test]
async fn a_count_moves_what_can_be_sold_and_says_why(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let coat = app.stocked(store, "coat", 10).await;
    app.empty_queue().await;
    let note = json!({ "type": "DELTA", "quantity": -3, "note": "moths" });
    let (status, body) = app.adjust(store, coat, &note).await;
    let expected = json!({ "storeId": store.id, "productId": coat, "sellable": 7, "committed": 0 });
    assert_eq!((status, body), (StatusCode::OK, expected));
    let row = &app.queue(store).await[0];
    assert_eq!(
        (&*row.reason, row.priority, row.force),
        ("STOCK_REMOVED", 80, false)
    );
    app.empty_queue().await;
    app.count_to(store, coat, 9).await;
    assert_eq!(app.queue(store).await[0].reason, "STOCK_ADDED");
    let notes = "SELECT COUNT(*) FROM stock_movements WHERE note = 'moths' AND kind = 'ADJUST'";
    assert_eq!(app.count(notes).await, 1);

    // Nothing changed: nothing is written and nobody is told.
    app.empty_queue().await;
    app.count_to(store, coat, 9).await;
    assert_eq!(app.queue(store).await, []);
    assert_eq!(app.count("SELECT COUNT(*) FROM stock_movements").await, 3);

    let (status, body) = app.adjust(store, coat, &delta(-10)).await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::CONFLICT, &json!("insufficient_stock"))
    );
    assert_eq!(app.level(store, coat).await, (9, 0));
    app.check_books().await;
}

#[rstest]
#[tokio::test]
async fn what_nobody_counts_is_refused(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let drawing = app.drawing_store("drawing").await;
    let coat = app.stocked(store, "coat", 10).await;
    let set = app.set("set", &[(coat, 1)]).await;
    let (status, body) = app.adjust(store, set, &delta(1)).await;
    let expected = (
        StatusCode::UNPROCESSABLE_ENTITY,
        &json!("set_stock_is_derived"),
    );
    assert_eq!((status, &body["code"]), expected);
    let (status, body) = app.adjust(drawing, coat, &delta(1)).await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::CONFLICT, &json!("store_is_warehouse_backed"))
    );
    for (body, path, code) in [
        (json!({}), "type", "required"),
        (
            json!({ "type": "ADD", "quantity": 1 }),
            "type",
            "invalid_enum_value",
        ),
        (delta(0), "quantity", "out_of_range"),
        (delta(1_000_001), "quantity", "out_of_range"),
        (
            json!({ "type": "SET", "quantity": -1 }),
            "quantity",
            "out_of_range",
        ),
        (
            json!({ "type": "SET", "quantity": 1.5 }),
            "quantity",
            "invalid_type",
        ),
    ] {
        let (status, body) = app.adjust(store, coat, &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        let detail = &body["details"][0];
        assert_eq!(
            (&detail["path"], &detail["code"]),
            (&json!([path]), &json!(code))
        );
    }
    assert_eq!(app.level(store, coat).await, (10, 0));
}

/// The ledger remembers a key for ever: longer than answers are kept.
#[rstest]
#[tokio::test]
async fn a_key_moves_stock_once(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let coat = app.stocked(store, "coat", 10).await;
    let path = format!("/stores/{}/products/{coat}/adjustments?{ORG}", store.id);
    let send = async || {
        let request = app.http.post(app.server.url(&path)).json(&delta(5));
        app.send(request.header("idempotency-key", "delivery-7"))
            .await
    };
    let first = send().await;
    assert_eq!(first.0, StatusCode::OK);
    assert_eq!(send().await, first);
    assert_eq!(app.level(store, coat).await, (15, 0));
    on!(&app.app.db, pool => sqlx::query("DELETE FROM idempotency_keys")
        .execute(pool).await.map(|_| ()).unwrap());
    let (status, body) = send().await;
    let expected = (
        StatusCode::UNPROCESSABLE_ENTITY,
        &json!("idempotency_key_reused"),
    );
    assert_eq!((status, &body["code"]), expected);
    assert_eq!(app.level(store, coat).await, (15, 0));
    app.check_books().await;
}
