//! What an operator does by a request, and what the log has of it.

use std::time::Duration;

use reqwest::{Method, StatusCode, header};
use rstest::rstest;
use secrecy::SecretString;
use serde_json::json;
use uuid::Uuid;

use super::Operator;
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};
use crate::support::log::Log;
use crate::support::scripted_connector::{invalid, valid};
use crate::support::server::TestServer;
use crate::support::subscriber::Answer::Status;
use crate::support::subscriber::Subscriber;
use marketplace_sync::admin::{self, LogStream};
use poem::Route;

#[rstest]
#[tokio::test]
async fn a_store_is_paused_resumed_hurried_and_requeued_by_requests(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_due_rows(store, 2).await;
    app.marketplace.reply("r0001", [invalid(), valid("r0001")]);
    app.marketplace.reply("r0002", [invalid(), valid("r0002")]);
    app.run(store).await.unwrap();
    let operator = Operator::of(&app).await;
    let path = |action: &str| format!("/stores/{}/{action}", store.id);

    let log = Log::capture();
    assert_eq!(
        operator.act(&path("pause")).await,
        json!({ "isChanged": true })
    );
    assert_eq!(
        operator.act(&path("pause")).await,
        json!({ "isChanged": false })
    );
    let (status, body) = operator.ask(&path("sync")).await;
    assert_eq!(
        (status, &body["error"]),
        (StatusCode::CONFLICT, &json!("store_paused"))
    );
    assert_eq!(
        operator.act(&path("resume")).await,
        json!({ "isChanged": true })
    );
    app.run_jobs().await;
    let synced = operator.act(&path("sync")).await;
    assert_eq!(synced["orders"], 2);
    assert_eq!(synced["isEnqueued"], true);
    app.run_jobs().await;
    assert_eq!(app.store_row(store).await.imported_success_count, 2);
    let done = |action: &str, outcome: &str| {
        json!({ "event": "operator_action", "level": "info", "service": "marketplace-sync",
            "actor": "anonymous", "action": action, "kind": "store", "id": store.id,
            "outcome": outcome })
    };
    let mut lines = log.of("operator_action");
    assert_eq!(lines.pop().unwrap()["orders"], 2);
    assert_eq!(
        lines,
        [
            done("pause", "done"),
            done("pause", "nothing to do"),
            done("sync", "the store is paused"),
            done("resume", "done"),
        ]
    );

    app.insert_row(store, "order-9", "failed", 60).await;
    app.give_up_orders().await;
    assert_eq!(
        operator.act(&path("requeue")).await,
        json!({ "isChanged": true, "orders": 1, "hasMore": false, "isEnqueued": true })
    );
    app.run_jobs().await;
    assert_eq!(app.store_row(store).await.imported_success_count, 3);
}

#[rstest]
#[tokio::test]
async fn a_webhook_is_paused_resumed_and_tried_by_requests(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    let endpoint = app.subscribe("sync.completed", &subscriber.url("/")).await;
    subscriber.answer("/", [Status(500), Status(200)]);
    app.owe_events(store, 1).await;
    app.after(Duration::ZERO).await;
    assert_eq!(subscriber.count("/"), 1);
    let operator = Operator::of(&app).await;
    let path = |action: &str| format!("/endpoints/{endpoint}/{action}");
    assert_eq!(operator.act(&path("pause")).await["isChanged"], true);
    let (status, body) = operator.ask(&path("probe")).await;
    assert_eq!(
        (status, &body["error"]),
        (StatusCode::CONFLICT, &json!("webhook_inactive"))
    );
    assert_eq!(operator.act(&path("resume")).await["isChanged"], true);
    assert_eq!(
        operator.act(&path("probe")).await["isChanged"],
        false,
        "it was not open"
    );
    app.run_jobs().await;
    assert_eq!(subscriber.count("/"), 2, "without waiting for its next try");
    app.change_endpoint(endpoint, &json!({ "isActive": false }))
        .await;
    let (status, body) = operator.ask(&path("resume")).await;
    assert_eq!(
        (status, &body["error"]),
        (StatusCode::CONFLICT, &json!("webhook_switched_off"))
    );
}

#[rstest]
#[tokio::test]
async fn an_event_that_was_given_up_is_requeued_by_a_request(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start_with(on, &[("CALLBACK_MAX_ATTEMPTS", "1")]).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    app.subscribe("sync.completed", &subscriber.url("/")).await;
    subscriber.answer("/", [Status(500), Status(200)]);
    let event = app.owe_events(store, 1).await[0];
    app.after(Duration::ZERO).await;
    assert_eq!(app.outbox_row(event).await.status, "failed");
    let operator = Operator::of(&app).await;
    let path = format!("/callbacks/{event}/requeue");
    assert_eq!(operator.act(&path).await, json!({ "isChanged": true }));
    app.run_jobs().await;
    assert_eq!(app.outbox_row(event).await.status, "success");
    let (status, body) = operator.ask(&path).await;
    assert_eq!(
        (status, &body["error"]),
        (StatusCode::CONFLICT, &json!("callback_not_failed"))
    );
}

/// Also what a form of another site could send.
#[rstest]
#[tokio::test]
async fn what_cannot_be_done_is_a_problem_and_changes_nothing(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let operator = Operator::of(&app).await;
    let pause = format!("/stores/{}/pause", store.id);
    for (path, expected) in [
        (
            format!("/stores/{}/pause", Uuid::nil()),
            StatusCode::NOT_FOUND,
        ),
        (
            format!("/endpoints/{}/pause", Uuid::nil()),
            StatusCode::NOT_FOUND,
        ),
        (
            format!("/callbacks/{}/requeue", Uuid::nil()),
            StatusCode::NOT_FOUND,
        ),
        (
            format!("/stores/{}/delete", store.id),
            StatusCode::NOT_FOUND,
        ),
        ("/nothing".to_owned(), StatusCode::NOT_FOUND),
        ("/stores/1/pause".to_owned(), StatusCode::BAD_REQUEST),
        ("/overview".to_owned(), StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let (status, body) = operator.ask(&path).await;
        assert_eq!(status, expected, "{path}: {body}");
        assert_eq!(body["status"], expected.as_u16(), "{path}");
    }
    let form = operator
        .request(Method::POST, &pause)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body("a=b");
    let plain = operator.request(Method::POST, &pause);
    for request in [form, plain] {
        let (status, _) = app.send(request).await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let get = operator.request(Method::GET, &pause).send().await.unwrap();
    assert_eq!(get.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(get.headers()[header::ALLOW], "POST");
    let seen = operator.see("/stores?state=paused").await;
    assert_eq!(seen["items"], json!([]));
}

#[rstest]
#[tokio::test]
async fn everything_is_behind_the_login_of_the_admin_listener(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let pages = Route::new().nest("/admin", admin::operators::routes(&app.app));
    let password = Some(SecretString::from("hunter2"));
    let site = admin::with_pages(pages, &app.app.queue, LogStream::new(), password.as_ref());
    let server = TestServer::start(site).await;
    let pause = format!("/admin/api/stores/{}/pause", store.id);
    for (method, path) in [
        (Method::GET, "/admin/"),
        (Method::GET, "/admin"),
        (Method::GET, "/admin/operators.js"),
        (Method::GET, "/admin/api/overview"),
        (Method::POST, pause.as_str()),
    ] {
        let request = || {
            app.http
                .request(method.clone(), server.url(path))
                .json(&json!({}))
        };
        let stranger = request().send().await.unwrap();
        assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED, "{path}");
        let known = request()
            .basic_auth("me", Some("hunter2"))
            .send()
            .await
            .unwrap();
        assert_eq!(known.status(), StatusCode::OK, "{path}");
    }
}
