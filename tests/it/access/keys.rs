//! Stored keys, from their making to their end.

use std::time::Duration;

use chrono::TimeDelta;
use marketplace_sync::http::auth::{KeyHash, Scope};
use marketplace_sync::keys::{list_keys, revoke_key};
use reqwest::{Method, StatusCode};
use rstest::rstest;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::locked;
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, on, store_body};
use crate::support::log::Log;

const OWN: &str = "/webhooks?organizationId=org-1";

#[rstest]
#[tokio::test]
async fn a_key_opens_its_organization_and_no_other(#[values(Embedded, Server)] on: Profile) {
    let app = locked(on).await;
    let (own, foreign) = (app.key_of("org-1").await, app.key_of("org-2").await);
    let store = store_body("shop");
    assert_eq!(app.post_as(&own, "/stores/register", &store).await.0, 200);
    let bearer = app.http.get(app.server.url(OWN));
    let (status, _) = app.send(bearer.bearer_auth(own.expose_secret())).await;
    assert_eq!(status, 200);

    let (status, body) = app.post_as(&foreign, "/stores/register", &store).await;
    assert_eq!(
        (status, &body["error"]),
        (StatusCode::FORBIDDEN, &json!("forbidden"))
    );
    assert_eq!(app.get_as(&foreign, OWN).await.0, 403);
    assert_eq!(app.get(OWN).await.0, 401);
    // Nobody made this one, though it looks as if.
    let text = own.expose_secret();
    let last = if text.ends_with('A') { 'B' } else { 'A' };
    let guess = SecretString::from(format!("{}{last}", &text[..text.len() - 1]));
    assert_eq!(app.get_as(&guess, OWN).await.0, 401);
}

/// Every method of the API, and those that are never a route.
#[rstest]
#[tokio::test]
async fn a_key_that_may_only_read_changes_nothing(#[values(Embedded, Server)] on: Profile) {
    let app = locked(on).await;
    let write = app.key_of("org-1").await;
    let read = app.make_key("org-1", Scope::Read, None).await.1;
    let webhook = json!({
        "organizationId": "org-1", "event": "sync.completed", "targetUrl": "http://127.0.0.1:9/",
    });
    let (status, body) = app.post_as(&write, "/webhooks/register", &webhook).await;
    assert_eq!(status, 200, "{body}");
    let one = format!(
        "/webhooks/{}?organizationId=org-1",
        body["id"].as_str().unwrap()
    );
    let before = app.get_as(&write, &one).await;

    for method in [Method::GET, Method::HEAD] {
        let answer = app.request_as(&read, method, &one).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    let changes = [
        (Method::POST, "/stores/register", store_body("shop")),
        (Method::POST, "/webhooks/register", webhook),
        (Method::PATCH, &one, json!({ "isActive": false })),
        (Method::DELETE, &one, Value::Null),
    ];
    for (method, path, body) in changes {
        let request = app.request_as(&read, method.clone(), path).json(&body);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 403, "{method} {path}");
        let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
        assert!(challenge.contains("insufficient_scope"), "{challenge}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], "forbidden");
    }
    assert_eq!(app.get_as(&write, &one).await, before);
    assert_eq!(app.count("SELECT COUNT(*) FROM stores").await, 0);
    // What is asked of the server itself needs no key.
    let options = app
        .http
        .request(Method::OPTIONS, app.server.url("/webhooks/register"));
    let answer = options.send().await.unwrap();
    assert_eq!(answer.status(), 204);
    assert_eq!(answer.headers()["allow"], "OPTIONS, POST");
}

#[rstest]
#[tokio::test]
async fn a_key_that_is_over_is_like_one_that_never_was(#[values(Embedded, Server)] on: Profile) {
    let app = locked(on).await;
    let log = Log::capture();
    let expires_at = app.clock.now() + TimeDelta::days(1);
    let (_, expiring) = app.make_key("org-1", Scope::Write, Some(expires_at)).await;
    let (revocable, revoked) = app.make_key("org-1", Scope::Write, None).await;
    app.clock.set(expires_at - TimeDelta::milliseconds(1));
    assert_eq!(app.get_as(&expiring, OWN).await.0, 200);
    assert_eq!(app.get_as(&revoked, OWN).await.0, 200);

    app.clock.set(expires_at);
    let now = app.clock.now();
    let first = revoke_key(&app.app.db, revocable.id, now)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(first.revoked_at, Some(now));
    let never = SecretString::from(format!("mps_aaaaaaaa_{}", "A".repeat(43)));
    let answer = async |key: &SecretString| {
        let (status, mut body) = app.get_as(key, OWN).await;
        body["requestId"].take();
        (status, body)
    };
    let unknown = answer(&never).await;
    assert_eq!(unknown.0, 401);
    for _ in 0..3 {
        assert_eq!(answer(&expiring).await, unknown);
        assert_eq!(answer(&revoked).await, unknown);
    }
    // The operator can tell, once a minute; revoking again changes nothing.
    let reasons = |log: &Log| -> Vec<Value> {
        let lines = log.lines().into_iter();
        let refused = lines.filter(|line| line["event"] == "api_key_refused");
        refused.map(|line| line["reason"].clone()).collect()
    };
    assert_eq!(reasons(&log), ["expired", "revoked"]);
    app.clock.advance(Duration::from_mins(1));
    let again = revoke_key(&app.app.db, revocable.id, app.clock.now()).await;
    assert_eq!(again.unwrap().unwrap().revoked_at, Some(now));
    answer(&revoked).await;
    assert_eq!(reasons(&log), ["expired", "revoked", "revoked"]);
    app.settle().await;
}

#[rstest]
#[tokio::test]
async fn the_use_of_a_key_is_noted_once_a_minute(#[values(Embedded, Server)] on: Profile) {
    let app = locked(on).await;
    let key = app.key_of("org-1").await;
    assert_eq!(app.only_key().await.last_used_at, None);
    let first = app.clock.now();
    for (seconds, noted) in [(0, 0), (1, 0), (58, 0), (1, 60), (59, 60), (1, 120)] {
        app.clock.advance(Duration::from_secs(seconds));
        let requests = (0..4).map(|_| app.get_as(&key, OWN));
        for (status, body) in futures::future::join_all(requests).await {
            assert_eq!(status, 200, "{body}");
        }
        app.settle().await;
        let last_used_at = app.only_key().await.last_used_at;
        assert_eq!(last_used_at, Some(first + TimeDelta::seconds(noted)));
    }
    // Another process notes it as well; neither takes it back.
    let other = app.other_process().await;
    app.clock.set(first);
    let keys = list_keys(&other.db, Some("org-1")).await.unwrap();
    assert_eq!(keys[0].last_used_at, Some(first + TimeDelta::seconds(120)));
    assert_eq!(list_keys(&other.db, Some("org-2")).await.unwrap(), []);
}

#[rstest]
#[tokio::test]
async fn the_first_key_ends_anonymous_access_for_good(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    assert_eq!(app.get(OWN).await.0, 200, "nobody has a key yet");
    let (key, text) = app.make_key("org-1", Scope::Write, None).await;
    assert_eq!(app.get(OWN).await.0, 401);
    assert_eq!(app.get_as(&text, OWN).await.0, 200);
    revoke_key(&app.app.db, key.id, app.clock.now())
        .await
        .unwrap();
    assert_eq!(app.get(OWN).await.0, 401, "a revoked key opens no door");
    app.settle().await;
}

#[rstest]
#[tokio::test]
async fn anonymous_access_that_is_asked_for_stays(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start_with(on, &[("AUTH", "anonymous")]).await;
    let key = app.key_of("org-1").await;
    assert_eq!(app.get(OWN).await.0, 200);
    assert_eq!(
        app.get_as(&key, "/webhooks?organizationId=org-2").await.0,
        200
    );
}

/// A key that cannot be looked up is no reason to call it wrong, or to let it pass.
#[rstest]
#[tokio::test]
async fn without_the_table_a_key_is_a_500(#[values(Embedded, Server)] on: Profile) {
    for auth in ["required", ""] {
        let app = TestApp::start_with(on, &[("AUTH", auth)]).await;
        let key = app.key_of("org-1").await;
        on!(&app.app.db, pool => sqlx::query("ALTER TABLE api_keys RENAME TO elsewhere")
            .execute(pool).await.map(|_| ()).unwrap());
        let (status, body) = app.get_as(&key, OWN).await;
        assert_eq!(status, 500, "{body}");
        assert_eq!(body["code"], "internal_server_error");
        assert!(!body.to_string().contains("api_keys"), "{body}");
    }
}

#[rstest]
#[tokio::test]
async fn no_log_and_no_row_has_a_key(#[values(Embedded, Server)] on: Profile) {
    let log = Log::start("trace");
    let app = locked(on).await;
    let (made, key) = app.make_key("org-1", Scope::Write, None).await;
    for path in [
        OWN,
        "/webhooks?organizationId=org-2",
        "/nothing",
        "/webhooks/7",
    ] {
        app.get_as(&key, path).await;
    }
    revoke_key(&app.app.db, made.id, app.clock.now())
        .await
        .unwrap();
    assert_eq!(app.get_as(&key, OWN).await.0, 401);
    app.settle().await;

    let (secret, hash) = (&key.expose_secret()[13..], KeyHash::of(key.expose_secret()));
    let text = log.text();
    assert!(text.contains("api_key_created"));
    // SQLite works on a thread of its own, whose log is looked at in `processes`.
    assert!(on == Embedded || text.contains("INSERT INTO api_keys"));
    assert!(!text.contains(secret) && !text.contains(&hash.to_hex()));
    let row: String = on!(&app.app.db, pool => sqlx::query_scalar(
        "SELECT organization_id || prefix || hash || scope FROM api_keys")
        .fetch_one(pool).await.unwrap());
    assert!(row.contains(&hash.to_hex()) && !row.contains(secret));
    assert!(!format!("{made:?} {key:?} {hash:?}").contains(secret));
}
