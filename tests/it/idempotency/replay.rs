//! What is answered again, and what is another request.

use std::time::Duration;

use marketplace_sync::schedule::tidy_up;
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{OK, keys, post, receipt, send, webhook};
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, store_body};
use crate::support::subscriber::{Answer, Subscriber};

const DAY: Duration = Duration::from_hours(24);
/// One second less.
const ALMOST_A_DAY: Duration = Duration::from_secs(24 * 60 * 60 - 1);

#[rstest]
#[tokio::test]
async fn a_repeated_registration_of_a_store_changes_nothing(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let first = post(&app, "key", "/stores/register", &store_body("shop")).await;
    assert_eq!((first.status, first.is_replayed), (OK, false));
    // Somebody changes it in between, and is not undone.
    let mut other = store_body("shop");
    other["storeName"] = json!("Another Name");
    app.post("/stores/register", &other).await;
    let again = post(&app, "key", "/stores/register", &store_body("shop")).await;
    assert_eq!(again, first.replayed());
    let name = "SELECT COUNT(*) FROM stores WHERE store_name = 'Another Name'";
    assert_eq!(app.count(name).await, 1);
}

#[rstest]
#[tokio::test]
async fn a_repeated_registration_of_a_webhook_shows_its_secret_again(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let body = webhook("http://127.0.0.1:9/hook");
    let first = post(&app, "key", "/webhooks/register", &body).await;
    assert!(first.json()["secret"].is_string(), "{first:?}");
    let again = post(&app, "key", "/webhooks/register", &body).await;
    assert_eq!(again, first.replayed());
    // Without the key it is a repeated registration as ever.
    let (_, plain) = app.post("/webhooks/register", &body).await;
    assert_eq!(plain["secret"], Value::Null);
}

#[rstest]
#[tokio::test]
async fn a_secret_is_replaced_and_a_webhook_tried_out_once(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let id = app
        .subscribe("sync.completed", &subscriber.url("/hook"))
        .await;
    for action in ["rotate-secret", "test"] {
        let path = format!("/webhooks/{id}/{action}?organizationId=org-1");
        let first = post(&app, "key", &path, &json!({})).await;
        assert_eq!((first.status, first.is_replayed), (OK, false));
        let again = post(&app, "key", &path, &json!({})).await;
        assert_eq!(again, first.replayed());
    }
    assert_eq!(app.count("SELECT COUNT(*) FROM webhook_secrets").await, 2);
    assert_eq!(subscriber.count("/hook"), 1);
}

#[rstest]
#[tokio::test]
async fn a_dead_letter_is_requeued_once(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start_with(on, &[("CALLBACK_MAX_ATTEMPTS", "1")]).await;
    let subscriber = Subscriber::start().await;
    subscriber.answer("/hook", [Answer::Status(500)]);
    let store = app.register("shop").await;
    let id = app
        .subscribe("sync.completed", &subscriber.url("/hook"))
        .await;
    let event = app.owe_events(store, 1).await[0];
    app.after(Duration::ZERO).await;
    let path = format!("/callbacks/{event}/requeue");
    let first = post(&app, "key", &path, &json!({})).await;
    assert_eq!(
        (first.status, &*first.body, &first.content_type),
        (202, "", &None)
    );
    app.run_jobs().await;
    // It is a dead letter once more, and stays one.
    assert_eq!(post(&app, "key", &path, &json!({})).await, first.replayed());
    app.run_jobs().await;
    assert_eq!(subscriber.count("/hook"), 2);

    let path = format!("/webhooks/{id}/recover");
    let body = json!({ "since": "2020-01-01T00:00:00Z" });
    let first = post(&app, "key", &path, &body).await;
    assert_eq!(
        (first.status, &first.json()["deliveries"]),
        (202, &json!(1))
    );
    app.run_jobs().await;
    assert_eq!(post(&app, "key", &path, &body).await, first.replayed());
    app.run_jobs().await;
    assert_eq!(subscriber.count("/hook"), 3);
}

#[rstest]
#[tokio::test]
async fn an_import_is_answered_as_it_was(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let batch = json!({ "syncToken": store.token, "receipts": ["r1", "r2"] });
    for (path, body) in [
        ("/orders/import", receipt(store, "r1")),
        ("/orders/import/batch", batch),
    ] {
        let first = post(&app, "key", path, &body).await;
        assert_eq!((first.status, first.is_replayed), (OK, false), "{first:?}");
        assert_eq!(post(&app, "key", path, &body).await, first.replayed());
    }
    assert_eq!(app.marketplace.calls().len(), 2);
    let unknown = json!({ "syncToken": Uuid::nil(), "receipt": "r1" });
    let answer = post(&app, "key", "/orders/import", &unknown).await;
    assert_eq!((answer.status, answer.is_replayed), (404, false));
    assert_eq!(keys(&app).await, 2, "nobody's key is not kept");
}

/// The same bytes make the same request, and nothing else does.
#[rstest]
#[tokio::test]
async fn a_key_of_another_request_is_refused(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let body = store_body("shop");
    post(&app, "key", "/stores/register", &body).await;
    let spaced = serde_json::to_string_pretty(&body).unwrap();
    for text in [spaced, store_body("other").to_string()] {
        let request = app.http.post(app.server.url("/stores/register"));
        let request = request.header("content-type", "application/json");
        let answer = send(request.header("idempotency-key", "key").body(text)).await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (422, "idempotency_key_reused")
        );
        assert!(!answer.is_replayed);
    }
    assert_eq!(app.count("SELECT COUNT(*) FROM stores").await, 1);

    let mut ids = Vec::new();
    for name in ["one", "two"] {
        ids.push(
            app.subscribe("sync.completed", &format!("http://127.0.0.1:9/{name}"))
                .await,
        );
    }
    let rotate = |id: Uuid| format!("/webhooks/{id}/rotate-secret?organizationId=org-1");
    let first = post(&app, "key", &rotate(ids[0]), &json!({})).await;
    assert_eq!(first.status, OK, "another route is another key");
    let answer = post(&app, "key", &rotate(ids[1]), &json!({})).await;
    assert_eq!(answer.status, 422, "another path is another request");
}

#[rstest]
#[tokio::test]
async fn the_same_key_of_somebody_else_is_another_one(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let mut stores = Vec::new();
    for organization in ["org-1", "org-2"] {
        let mut body = store_body("shop");
        body["organizationId"] = json!(organization);
        let answer = post(&app, "key", "/stores/register", &body).await;
        assert_eq!((answer.status, answer.is_replayed), (OK, false));
        stores.push(answer.json()["syncToken"].clone());
    }
    for token in &stores {
        let body = json!({ "syncToken": token, "receipt": "r1" });
        let answer = post(&app, "key", "/orders/import", &body).await;
        assert_eq!((answer.status, answer.is_replayed), (OK, false));
    }
    assert_eq!(app.marketplace.calls().len(), 2);
}

/// With API keys, the key is of the organization that the API key acts for.
#[rstest]
#[tokio::test]
async fn two_organizations_do_not_meet(#[values(Embedded, Server)] on: Profile) {
    let listed = ["one", "two"].map(|key| format!("org-{key}:{:x}", Sha256::digest(key)));
    let app = TestApp::start_with(on, &[("API_KEYS", &listed.join(","))]).await;
    let unknown = format!("/callbacks/{}/requeue", Uuid::nil());
    let ask = async |key: &str| {
        let request = super::request(&app, &app.server, "key", &unknown, &json!({}));
        send(request.header("x-api-key", key)).await
    };
    let first = ask("one").await;
    assert_eq!((first.status, first.is_replayed), (404, false));
    assert_eq!(ask("one").await, first.replayed());
    assert!(!ask("two").await.is_replayed);
    // Who may not act leaves nothing behind.
    let before = keys(&app).await;
    let stranger = ask("three").await;
    assert_eq!((stranger.status, stranger.is_replayed), (401, false));
    let foreign = super::request(
        &app,
        &app.server,
        "k",
        "/stores/register",
        &store_body("shop"),
    );
    let answer = send(foreign.header("x-api-key", "one")).await;
    assert_eq!(answer.status, 403);
    assert_eq!(keys(&app).await, before);
}

#[rstest]
#[tokio::test]
async fn a_problem_is_answered_again_too(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start_with(on, &[("WEBHOOK_MAX_ENDPOINTS_PER_ORG", "1")]).await;
    let id = app
        .subscribe("sync.completed", "http://127.0.0.1:9/one")
        .await;
    let body = webhook("http://127.0.0.1:9/two");
    let first = post(&app, "key", "/webhooks/register", &body).await;
    assert_eq!(
        (first.status, &*first.code()),
        (409, "webhook_limit_reached")
    );
    app.change_endpoint(id, &json!({ "isActive": false })).await;
    let again = post(&app, "key", "/webhooks/register", &body).await;
    assert_eq!(again, first.replayed());
    assert_eq!(
        post(&app, "other", "/webhooks/register", &body)
            .await
            .status,
        OK
    );
    // What is wrong with the request itself is said each time, and leaves nothing behind.
    let before = keys(&app).await;
    let answer = post(&app, "wrong", "/webhooks/register", &json!({})).await;
    assert_eq!((answer.status, answer.is_replayed), (400, false));
    assert_eq!(keys(&app).await, before);
}

#[rstest]
#[tokio::test]
async fn a_key_is_forgotten_after_a_day(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let body = store_body("shop");
    post(&app, "key", "/stores/register", &body).await;
    app.clock.advance(ALMOST_A_DAY);
    tidy_up(&app.app).await;
    assert!(
        post(&app, "key", "/stores/register", &body)
            .await
            .is_replayed
    );
    app.clock.advance(Duration::from_secs(1));
    // Also when nobody has tidied up, and also for another request.
    let answer = post(&app, "key", "/stores/register", &store_body("other")).await;
    assert_eq!((answer.status, answer.is_replayed), (OK, false));
    assert_eq!(keys(&app).await, 1);
    app.clock.advance(DAY);
    tidy_up(&app.app).await;
    assert_eq!(keys(&app).await, 0);
}

#[tokio::test]
async fn a_bad_key_is_named() {
    let app = TestApp::start(Embedded).await;
    let long = "k".repeat(256);
    for key in ["", "schl\u{fc}ssel", &long] {
        let request = app.http.post(app.server.url("/stores/register"));
        let value = reqwest::header::HeaderValue::from_bytes(key.as_bytes()).unwrap();
        let request = request.header("idempotency-key", value);
        let answer = send(request.json(&store_body("shop"))).await;
        assert_eq!(answer.status, 400, "{key}");
        assert_eq!(
            answer.json()["details"][0]["path"],
            json!(["Idempotency-Key"])
        );
    }
    assert_eq!(app.count("SELECT COUNT(*) FROM stores").await, 0);
    let longest = "k".repeat(255);
    for key in ["order 7: \"again\"", &longest] {
        assert_eq!(
            post(&app, key, "/stores/register", &store_body("shop"))
                .await
                .status,
            OK
        );
    }
}

#[tokio::test]
async fn other_methods_know_no_key() {
    let app = TestApp::start(Embedded).await;
    let list = "/webhooks?organizationId=org-1";
    for (method, path, status) in [
        (Method::GET, list, 200),
        (Method::HEAD, list, 405),
        (Method::OPTIONS, "/stores/register", 204),
        (Method::PUT, "/stores/register", 405),
        (Method::POST, "/nowhere", 404),
    ] {
        for _ in 0..2 {
            let request = app.http.request(method.clone(), app.server.url(path));
            let answer = send(request.header("idempotency-key", "key")).await;
            let expected = if method == Method::HEAD {
                answer.status
            } else {
                status
            };
            assert_eq!(
                (answer.status, answer.is_replayed),
                (expected, false),
                "{method}"
            );
        }
    }
    assert_eq!(keys(&app).await, 0);
}
