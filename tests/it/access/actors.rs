//! Who did what: a line in the log for each change, with a name and without a secret.

use std::time::Duration;

use jobs::StoreId;
use marketplace_sync::admin::{self, LogStream};
use marketplace_sync::http::auth::{KeyHash, Scope};
use poem::Route;
use reqwest::{Method, StatusCode};
use rstest::rstest;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, TestStore, store_body};
use crate::support::log::Log;
use crate::support::server::TestServer;
use crate::support::subscriber::Answer::Status;
use crate::support::subscriber::Subscriber;

/// The changes that were logged: actor, organization, action, kind, id.
fn changes(log: &Log) -> Vec<Value> {
    let members = ["actor", "organizationId", "action", "kind", "id"];
    let of = |line: &Value| json!(members.map(|member| line[member].clone()));
    log.of("api_action").iter().map(of).collect()
}

#[rstest]
#[tokio::test]
async fn every_change_by_the_api_is_logged_with_the_key_that_made_it(
    #[values(Embedded, Server)] on: Profile,
) {
    let settings = [("AUTH", "required"), ("CALLBACK_MAX_ATTEMPTS", "1")];
    let app = TestApp::start_with(on, &settings).await;
    let (key, text) = app.make_key("org-1", Scope::Write, None).await;
    let subscriber = Subscriber::start().await;
    let log = Log::start("trace");
    let (status, store) = app
        .post_as(&text, "/stores/register", &store_body("shop"))
        .await;
    assert_eq!(status, StatusCode::OK, "{store}");
    let webhook = json!({
        "organizationId": "org-1", "event": "sync.completed", "targetUrl": subscriber.url("/"),
    });
    let (_, webhook) = app.post_as(&text, "/webhooks/register", &webhook).await;
    let (id, secret) = (&webhook["id"], webhook["secret"].as_str().unwrap());
    let id = id.as_str().unwrap();
    let path = |action: &str| format!("/webhooks/{id}{action}?organizationId=org-1");
    let change = app.request_as(&text, Method::PATCH, &path(""));
    let (status, body) = app.send(change.json(&json!({ "isActive": true }))).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    for action in ["/test", "/rotate-secret"] {
        let (status, body) = app.post_as(&text, &path(action), &json!({})).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }
    let registered = TestStore {
        id: StoreId(store["storeId"].as_str().unwrap().parse().unwrap()),
        token: store["syncToken"].as_str().unwrap().parse().unwrap(),
    };
    subscriber.answer("/", [Status(500), Status(500), Status(200)]);
    let event = app.owe_events(registered, 1).await[0];
    app.after(Duration::ZERO).await;
    let requeue = format!("/callbacks/{event}/requeue");
    let (status, body) = app.post_as(&text, &requeue, &json!({})).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    app.run_jobs().await;
    for dry_run in [true, false] {
        let body = json!({ "since": "2020-01-01T00:00:00Z", "dryRun": dry_run });
        let path = format!("/webhooks/{id}/recover");
        app.post_as(&text, &path, &body).await;
    }
    app.run_jobs().await;
    let gone = app.request_as(&text, Method::DELETE, &path(""));
    assert_eq!(gone.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    // What is refused, and what is only looked at, changes nothing.
    app.post_as(&text, &requeue, &json!({})).await;
    app.get_as(&text, &path("")).await;

    let actor = &key.prefix;
    let done = |action: &str, kind: &str, id: &Value| json!([actor, "org-1", action, kind, id]);
    let webhook = json!(id);
    let expected = [
        done("register", "store", &store["storeId"]),
        done("register", "webhook", &webhook),
        done("update", "webhook", &webhook),
        done("test", "webhook", &webhook),
        done("rotate_secret", "webhook", &webhook),
        done("requeue", "callback", &json!(event)),
        done("recover", "webhook", &webhook),
        done("delete", "webhook", &webhook),
    ];
    assert_eq!(changes(&log), expected);
    let written = log.text();
    let token = store["syncToken"].as_str().unwrap();
    for hidden in [text.expose_secret(), secret, token] {
        assert!(!written.contains(hidden), "{hidden} is in the log");
    }
}

#[rstest]
#[tokio::test]
async fn a_key_of_the_settings_is_named_by_its_entry_and_nobody_is_anonymous(
    #[values(Embedded, Server)] on: Profile,
) {
    let hash = KeyHash::of("listed-key").to_hex();
    let listed = format!("org-1:{hash}");
    let app = TestApp::start_with(on, &[("API_KEYS", &listed)]).await;
    let log = Log::capture();
    let key = SecretString::from("listed-key");
    let (_, store) = app
        .post_as(&key, "/stores/register", &store_body("shop"))
        .await;
    let name = format!("API_KEYS:{}", &hash[..8]);
    let id = &store["storeId"];
    assert_eq!(
        changes(&log),
        [json!([name, "org-1", "register", "store", id])]
    );
    drop(log);

    let open = TestApp::start(on).await;
    let log = Log::capture();
    let store = open.register("shop").await;
    assert_eq!(
        changes(&log),
        [json!(["anonymous", null, "register", "store", store.id])]
    );
}

#[rstest]
#[tokio::test]
async fn who_logs_in_at_the_admin_listener_is_named_with_what_they_do(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await.id;
    let pages = Route::new().nest("/admin", admin::operators::routes(&app.app));
    let password = Some(SecretString::from("hunter2"));
    let site = admin::with_pages(pages, &app.app.queue, LogStream::new(), password.as_ref());
    let server = TestServer::start(site).await;
    let long = "x".repeat(100);
    let log = Log::start("trace");
    for (name, shown) in [
        ("alice", "alice"),
        ("", "anonymous"),
        // The password twice: it must not be in the log.
        ("hunter2", "anonymous"),
        ("two\nlines", "twolines"),
        (&long, &long[..64]),
    ] {
        let pause = format!("/admin/api/stores/{store}/pause");
        let request = app.http.post(server.url(&pause)).json(&json!({}));
        let answer = request.basic_auth(name, Some("hunter2")).send().await;
        assert_eq!(answer.unwrap().status(), StatusCode::OK);
        let line = log.of("operator_action").pop().unwrap();
        assert_eq!(
            (&line["actor"], &line["action"]),
            (&json!(shown), &json!("pause"))
        );
        assert_eq!(line["id"], json!(store));
    }
    let request = app.http.post(server.url("/admin/api/overview"));
    let wrong = request.basic_auth("mallory", Some("guess")).send().await;
    assert_eq!(wrong.unwrap().status(), StatusCode::UNAUTHORIZED);
    let written = log.text();
    for hidden in ["hunter2", "mallory", "guess"] {
        assert!(!written.contains(hidden), "{hidden} is in the log");
    }
    assert_eq!(log.lines().len(), written.lines().count(), "one line each");
}
