//! Stores: registered once, and how they are doing (A-20, A-21, A-30, T1 to T17).

use std::time::Duration;

use futures::future::join_all;
use marketplace_sync::http::auth::KeyHash;
use marketplace_sync::service;
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, TestStore, store_body};
use crate::support::log::Log;
use crate::support::scripted_connector::{invalid, rate_limited};
use crate::support::server::TestServer;

///
#[rstest]
#[tokio::test]
async fn a_repeated_registration_changes_the_store_and_keeps_its_history(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.import(store, "r1").await;
    let before = app.store_row(store).await;
    let row = app.row(store, "r1").await;
    app.clock.advance(Duration::from_secs(1));

    let mut body = store_body("shop");
    body["storeName"] = json!("Another Name");
    body["accessToken"] = json!("another-token");
    body["currency"] = json!("EUR");
    let (status, answer) = app.post("/stores/register", &body).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        answer,
        json!({ "storeId": store.id, "syncToken": store.token })
    );

    let after = app.store_row(store).await;
    assert_eq!(after.store_name, "Another Name");
    assert_eq!(after.currency, "EUR");
    assert!(after.updated_at > before.updated_at);
    assert_eq!(after.created_at, before.created_at);
    assert_eq!(after.sync_status, "success");
    assert_eq!(after.last_sync_at, before.last_sync_at);
    assert_eq!(after.imported_success_count, 1);
    assert_eq!(app.row(store, "r1").await, row);

    app.import(store, "r2").await;
    let call = app.marketplace.calls().pop().unwrap();
    assert_eq!(call.access_token.as_deref(), Some("another-token"));
    assert_eq!(call.currency.as_deref(), Some("EUR"));
}

///
#[rstest]
#[tokio::test]
async fn twenty_first_registrations_at_once_are_one_store(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let other = TestServer::start(service::site(&app.other_process().await)).await;
    let body = store_body("shop");
    let answers = join_all((0..20).map(|caller| {
        let server = if caller % 2 == 0 { &app.server } else { &other };
        app.send(app.http.post(server.url("/stores/register")).json(&body))
    }))
    .await;
    for answer in &answers {
        assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);
        assert_eq!(answer, &answers[0]);
    }
    assert_eq!(app.count("SELECT COUNT(*) FROM stores").await, 1);
}

#[rstest]
#[tokio::test]
async fn a_store_is_its_organization_marketplace_and_name(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let mut seen = Vec::new();
    for (member, value) in [
        ("organizationId", "org-1"),
        ("organizationId", "ORG-1"),
        ("organizationId", "org-1 "),
        ("marketplace", "amazon"),
        ("externalStoreId", "Shop"),
        ("externalStoreId", "😀"),
    ] {
        let mut body = store_body("shop");
        body[member] = json!(value);
        let (status, answer) = app.post("/stores/register", &body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        for id in ["storeId", "syncToken"] {
            let id = answer[id].as_str().unwrap();
            assert_eq!((id.len(), id.as_bytes()[14]), (36, b'7'), "{id}");
            assert!(!seen.contains(&id.to_owned()), "{id} was given twice");
            seen.push(id.to_owned());
        }
    }
    assert_eq!(app.count("SELECT COUNT(*) FROM stores").await, 6);
}

///
#[rstest]
#[tokio::test]
async fn a_new_store_has_done_nothing_yet(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    assert_eq!(
        app.sync_status(store).await,
        json!({
            "lastSyncAt": null,
            "importedOrders": 0,
            "syncStatus": "pending",
            "rateLimitedCount": 0,
        })
    );
}

/// A store whose rows are these letters, newest first.
async fn store_with(app: &TestApp, name: &str, newest_first: &str) -> TestStore {
    let store = app.register(name).await;
    for (age, letter) in (1_i64..).zip(newest_first.chars()) {
        let status = match letter {
            'S' => "success",
            'F' => "failed",
            'R' => "rate_limited",
            _ => "pending",
        };
        app.insert_row(store, &format!("r{age}"), status, age).await;
    }
    store
}

///
#[rstest]
#[tokio::test]
async fn the_status_follows_the_table_t1_to_t17(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let twenty = |newer: &str, oldest: &str| newer.repeat(20) + oldest;
    for (name, rows, expected) in [
        ("T1", String::new(), "pending"),
        ("T2", "S".into(), "success"),
        ("T3", twenty("S", "F"), "success"),
        ("T4", "SF".into(), "partial"),
        ("T5", "SR".into(), "partial"),
        ("T6", "FS".into(), "partial"),
        ("T7", "RS".into(), "partial"),
        ("T8", "F".into(), "failed"),
        ("T9", "FR".into(), "failed"),
        ("T10", "R".into(), "partial"),
        ("T11", "RF".into(), "partial"),
        ("T12", twenty("F", "S"), "failed"),
        ("T13", twenty("R", "S"), "partial"),
        ("T14", "P".into(), "pending"),
        ("T15", "PS".into(), "success"),
        ("T16", "PF".into(), "failed"),
        ("T17", "SPS".into(), "success"),
        ("20 of many pending", "PS".repeat(20) + "F", "success"),
        ("one within the window", "PS".repeat(19) + "F", "partial"),
    ] {
        let store = store_with(&app, name, &rows).await;
        let status = app.sync_status(store).await;
        assert_eq!(status["syncStatus"], expected, "{name}");
        let limited = rows.matches('R').count();
        assert_eq!(status["rateLimitedCount"], limited, "{name}");
        // Rows that nobody imported through the service are not counted.
        assert_eq!(status["importedOrders"], 0, "{name}");
    }
}

#[rstest]
#[tokio::test]
async fn rows_of_the_same_instant_are_ordered_by_their_id(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.marketplace
        .reply_with(|call| match call.receipt.as_str() {
            "failed" => invalid(),
            _ => rate_limited(None),
        });
    // The clock stands still.
    app.import(store, "limited").await;
    app.import(store, "failed").await;
    assert_eq!(app.sync_status(store).await["syncStatus"], "failed");
    app.import(store, "limited-too").await;
    assert_eq!(app.sync_status(store).await["syncStatus"], "partial");
}

#[rstest]
#[tokio::test]
async fn the_token_in_the_header_wins(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let (one, other) = (app.register("one").await, app.register("other").await);
    app.import(one, "r1").await;
    let ask = async |query: &str, header: Option<&str>| {
        let url = app.server.url(&format!("/stores/sync-status{query}"));
        let mut request = app.http.get(url);
        if let Some(header) = header {
            request = request.header("X-Sync-Token", header);
        }
        let (status, body) = app.send(request).await;
        (status.as_u16(), body["importedOrders"].clone())
    };
    let (one, other) = (one.token.to_string(), format!("?syncToken={}", other.token));
    assert_eq!(ask(&other, None).await, (200, json!(0)));
    assert_eq!(ask("", Some(&one)).await, (200, json!(1)));
    assert_eq!(ask(&other, Some(&one)).await, (200, json!(1)));
    assert_eq!(ask(&other, Some("nonsense")).await, (400, Value::Null));
    let nil = "00000000-0000-0000-0000-000000000000";
    assert_eq!(ask(&other, Some(nil)).await, (404, Value::Null));
}

///
#[rstest]
#[tokio::test]
async fn a_status_needs_a_token_of_the_right_form(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let token = store.token;
    for query in [
        String::new(),
        "?syncToken=".into(),
        "?syncToken=not-a-uuid".into(),
        format!("?syncToken={{{token}}}"),
        format!("?syncToken=urn:uuid:{token}"),
        format!("?syncToken={}", token.simple()),
        format!("?syncToken={token}%00"),
        format!("?synctoken={token}"),
        "?syncToken=%ff%fe".into(),
    ] {
        let (status, body) = app.get(&format!("/stores/sync-status{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {body}");
        assert_eq!(body["error"], "Validation error", "{query}");
        assert_eq!(body["details"][0]["path"], json!(["syncToken"]), "{query}");
    }
    for unknown in [
        "00000000-0000-0000-0000-000000000000",
        &store.id.to_string(),
    ] {
        let (status, body) = app
            .get(&format!("/stores/sync-status?syncToken={unknown}"))
            .await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert_eq!(body["error"], "Store not found");
    }
}

///
#[rstest]
#[tokio::test]
async fn no_log_line_has_a_secret(#[values(Embedded, Server)] on: Profile) {
    let log = Log::start("debug,sqlx=trace,hyper=info");
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.import(store, "r1").await;
    app.sync_status(store).await;
    app.get(&format!("/stores/sync-status?syncToken={}x", store.token))
        .await;
    app.get(&format!("/nowhere?syncToken={}", store.token))
        .await;
    let text = log.text();
    assert!(text.contains("/stores/sync-status"), "something is logged");
    for secret in [
        store.token.to_string(),
        store.token.simple().to_string(),
        "secret-access-token".to_owned(),
        "syncToken=".to_owned(),
    ] {
        assert!(!text.contains(&secret), "{secret}: {text}");
    }
}

///
#[rstest]
#[tokio::test]
async fn registering_takes_the_key_of_the_organization_and_the_rest_the_token(
    #[values(Embedded, Server)] on: Profile,
) {
    let hex = |key: &str| {
        let KeyHash(bytes) = KeyHash::of(key);
        let digits = |text: String, byte| text + &format!("{byte:02x}");
        bytes.iter().fold(String::new(), digits)
    };
    let keys = format!("org-1:{},org-2:{}", hex("key-1"), hex("key-2"));
    let app = TestApp::start_with(on, &[("API_KEYS", &keys)]).await;
    let register = async |headers: &[(&str, &str)], body: &Value| {
        let mut request = app.http.post(app.server.url("/stores/register")).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        app.send(request).await
    };
    let body = store_body("shop");
    for headers in [
        &[][..],
        &[("X-API-Key", "")],
        &[("X-API-Key", "key-3")],
        &[("X-API-Key", &hex("key-1"))],
        &[("Authorization", "Basic key-1")],
    ] {
        let (status, answer) = register(headers, &body).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{headers:?}");
        assert_eq!(answer["error"], "unauthorized");
        // A stranger learns nothing about bodies.
        assert_eq!(
            register(headers, &json!({})).await.0,
            StatusCode::UNAUTHORIZED
        );
    }
    let (status, answer) = register(&[("X-API-Key", "key-2")], &body).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(answer["error"], "forbidden");
    assert_eq!(app.count("SELECT COUNT(*) FROM stores").await, 0);

    let (status, by_key) = register(&[("X-API-Key", "key-1")], &body).await;
    assert_eq!(status, StatusCode::OK);
    let (_, by_bearer) = register(&[("Authorization", "Bearer key-1")], &body).await;
    assert_eq!(by_bearer, by_key);

    let token = by_key["syncToken"].as_str().unwrap();
    let import = json!({ "syncToken": token, "receipt": "r1" });
    let (status, answer) = app.post("/orders/import", &import).await;
    assert_eq!((status, &answer["success"]), (StatusCode::OK, &json!(true)));
    let import = json!({ "syncToken": token, "receipts": ["r1"] });
    let (status, _) = app.post("/orders/import/batch", &import).await;
    assert_eq!(status, StatusCode::OK);
    let (status, answer) = app
        .get(&format!("/stores/sync-status?syncToken={token}"))
        .await;
    assert_eq!(
        (status, &answer["importedOrders"]),
        (StatusCode::OK, &json!(1))
    );
}
