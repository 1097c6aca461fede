//! What an import answers, stores and repeats.

use std::time::Duration;

use reqwest::StatusCode;
use rstest::rstest;
use serde_json::json;

use super::{import_at, worth};
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};
use crate::support::scripted_connector::{invalid, rate_limited, valid};

/// A-25
#[rstest]
#[tokio::test]
async fn a_repeat_is_the_same_text_and_touches_nothing(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.marketplace.reply("bad", [invalid()]);
    app.marketplace.reply("fast", [rate_limited(None)]);
    for receipt in ["good", "bad", "fast"] {
        let first = import_at(&app.http, &app.server, store, receipt).await;
        let row = app.row(store, receipt).await;
        let stored = app.store_row(store).await;
        app.clock.advance(Duration::from_secs(100));
        let second = import_at(&app.http, &app.server, store, receipt).await;
        assert_eq!(first, second);
        assert_eq!(first.0, StatusCode::OK);
        assert_eq!(app.row(store, receipt).await, row);
        assert_eq!(app.store_row(store).await, stored);
        assert_eq!(app.marketplace.calls_of(receipt), 1);
    }
}

#[rstest]
#[tokio::test]
async fn the_marketplace_hears_of_the_store(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.import(store, "r1").await;
    let calls = app.marketplace.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].marketplace.as_str(), "etsy");
    assert_eq!(calls[0].currency.as_deref(), Some("USD"));
    assert_eq!(
        calls[0].access_token.as_deref(),
        Some("secret-access-token")
    );
}

#[rstest]
#[tokio::test]
async fn an_answer_follows_its_row(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.marketplace.reply("r1", [invalid(), valid("r1")]);
    let (_, body) = app.import(store, "r1").await;
    assert_eq!(
        body,
        json!({ "success": false, "error": "invalid_receipt" })
    );
    app.make_due(store, "r1").await;
    app.schedule().await;
    app.run_jobs().await;
    let (_, body) = app.import(store, "r1").await;
    assert_eq!(
        body,
        json!({
            "success": true,
            "orderId": "order-of-r1",
            "amount": 10,
            "currency": "USD",
            "importedAt": "2024-01-01T12:00:00.123Z",
        })
    );
    assert_eq!(app.marketplace.calls_of("r1"), 2);
}

#[rstest]
#[tokio::test]
async fn a_failure_without_a_reason_has_a_name(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_row(store, "old", "failed", 60).await;
    let (status, body) = app.import(store, "old").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body, json!({ "success": false, "error": "Import failed" }));
    assert!(app.marketplace.calls().is_empty());
}

#[rstest]
#[tokio::test]
async fn amounts_keep_every_digit_and_zero_is_an_amount(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let amounts = [
        (0, "USD", "0"),
        (0, "JPY", "0"),
        (1, "USD", "0.01"),
        (1999, "USD", "19.99"),
        (1950, "USD", "19.5"),
        (507, "JPY", "507"),
        (1234, "KWD", "1.234"),
        (100_000, "KWD", "100"),
        (-1999, "EUR", "-19.99"),
        (999_999_999_999_999, "USD", "9999999999999.99"),
    ];
    for (minor, currency, number) in amounts {
        let receipt = format!("{minor}{currency}");
        app.marketplace.reply(&receipt, [worth(minor, currency)]);
        for _ in 0..2 {
            let (_, text) = import_at(&app.http, &app.server, store, &receipt).await;
            let members = format!(r#""amount":{number},"currency":"{currency}""#);
            assert!(text.contains(&members), "{text}");
        }
        let row = app.row(store, &receipt).await.unwrap();
        assert_eq!(row.amount_minor, Some(minor));
        assert_eq!(row.currency.as_deref(), Some(currency));
    }
}

#[rstest]
#[tokio::test]
async fn receipts_are_taken_verbatim(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let long = "😀".repeat(255);
    app.marketplace.reply_with(|call| {
        let order = call.receipt.len() * 100;
        worth(i64::try_from(order).unwrap(), "USD")
    });
    let receipts = [
        "a",
        "A",
        " a",
        "a ",
        "a\u{1}\n\"'\\%;--",
        "null",
        "1",
        &long,
    ];
    for receipt in receipts {
        let (status, body) = app.import(store, receipt).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert_eq!(body["amount"], receipt.len());
        assert!(app.row(store, receipt).await.is_some());
        assert_eq!(app.marketplace.calls_of(receipt), 1);
    }
    let rows = app.count("SELECT COUNT(*) FROM sync_logs").await;
    assert_eq!(rows, i64::try_from(receipts.len()).unwrap());
}

#[rstest]
#[tokio::test]
async fn two_stores_may_have_the_same_receipt(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let (one, other) = (app.register("one").await, app.register("other").await);
    app.marketplace.reply("r1", [valid("r1"), invalid()]);
    let (_, body) = app.import(one, "r1").await;
    assert_eq!(body["success"], true);
    let (_, body) = app.import(other, "r1").await;
    assert_eq!(body["success"], false);
    assert_eq!(app.store_row(one).await.imported_success_count, 1);
    assert_eq!(app.store_row(other).await.imported_success_count, 0);
}

#[rstest]
#[tokio::test]
async fn retry_after_pauses_the_whole_store(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let pause = Duration::from_mins(10);
    app.marketplace.reply("bad", [invalid(), valid("bad")]);
    app.marketplace
        .reply("fast", [rate_limited(Some(pause)), valid("fast")]);
    app.import(store, "bad").await;
    app.import(store, "fast").await;
    let until = app.clock.now() + pause;
    assert_eq!(app.store_row(store).await.paused_until, Some(until));
    // Longer than the backoff, so it is the longer one that counts.
    let row = app.row(store, "fast").await.unwrap();
    assert_eq!(row.next_retry_at, Some(until));

    let last_second = until - Duration::from_secs(1);
    app.clock.set(last_second);
    assert_eq!(app.schedule().await.enqueued_jobs, 0, "`bad` is due, but");
    app.clock.set(until);
    assert_eq!(app.schedule().await.enqueued_jobs, 1);
    assert_eq!(app.run_jobs().await, 1);
    assert_eq!(app.store_row(store).await.imported_success_count, 2);
}

#[rstest]
#[tokio::test]
async fn a_short_retry_after_does_not_shorten_the_backoff(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let pause = Duration::from_secs(3);
    app.marketplace.reply("fast", [rate_limited(Some(pause))]);
    let (_, body) = app.import(store, "fast").await;
    assert_eq!(body["error"], "rate_limited");
    let row = app.row(store, "fast").await.unwrap();
    let backoff = Duration::from_mins(5);
    assert_eq!(row.next_retry_at, Some(app.clock.now() + backoff));
    let stored = app.store_row(store).await;
    assert_eq!(stored.paused_until, Some(app.clock.now() + pause));
}

/// A-28
#[rstest]
#[tokio::test]
async fn only_a_known_token_opens_a_store(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let id = store.id.to_string();
    for unknown in [
        "00000000-0000-0000-0000-000000000000",
        "0190a5b2-7c3d-7e4f-8a9b-0c1d2e3f4a5b",
        // The id of a store is no secret and opens nothing.
        &id,
    ] {
        for (path, rest) in [
            ("/orders/import", json!({ "receipt": "r1" })),
            ("/orders/import/batch", json!({ "receipts": ["r1"] })),
        ] {
            let mut body = rest;
            body["syncToken"] = json!(unknown);
            let (status, answer) = app.post(path, &body).await;
            assert_eq!(status, StatusCode::NOT_FOUND);
            assert_eq!(answer["error"], "Store not found");
        }
    }
    assert!(app.marketplace.calls().is_empty());
    assert_eq!(app.count("SELECT COUNT(*) FROM sync_logs").await, 0);
}
