//! What an operator sees of events, and requeues (NF-5).

use chrono::TimeDelta;
use jobs::{DeliverCallback, Job};
use marketplace_sync::timestamp;
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};

const HOUR: TimeDelta = TimeDelta::hours(1);
const REASON: &str = "HTTP 500 Internal Server Error";

/// A webhook of `org-1`.
pub(super) async fn endpoint(app: &TestApp, event: &str, url: &str) -> Uuid {
    let body = json!({ "organizationId": "org-1", "event": event, "targetUrl": url });
    let (status, body) = app.post("/webhooks/register", &body).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body["id"].as_str().unwrap().parse().unwrap()
}

async fn two_endpoints(app: &TestApp) -> [Uuid; 2] {
    let event = "sync.completed";
    [
        endpoint(app, event, "http://127.0.0.1:1/one").await,
        endpoint(app, event, "http://127.0.0.1:1/two").await,
    ]
}

/// Where the jobs go is not the point here.
async fn start(on: Profile) -> TestApp {
    let mut app = TestApp::start(on).await;
    app.leave_jobs();
    app
}

async fn requeue(app: &TestApp, id: Uuid) -> (StatusCode, Value) {
    app.post(&format!("/callbacks/{id}/requeue"), &json!({}))
        .await
}

#[rstest]
#[tokio::test]
async fn dead_letters_have_the_members_of_the_contract_and_come_by_pages(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = start(on).await;
    let store = app.register("shop").await;
    let mut ids = Vec::new();
    for age in 0..5 {
        ids.push(app.insert_event(store, "failed", HOUR * age).await);
        app.insert_event(store, "success", HOUR * age).await;
        app.insert_event(store, "pending", HOUR * age).await;
    }
    let mut found = Vec::new();
    let mut cursor = String::new();
    for size in [2, 2, 1] {
        let path = format!("/callbacks/failed?organizationId=org-1&limit=2{cursor}");
        let (status, body) = app.get(&path).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let items = body["items"].as_array().unwrap().clone();
        assert_eq!(items.len(), size);
        found.extend(items);
        assert_eq!(body["nextCursor"].is_null(), size == 1, "{body}");
        let next = body["nextCursor"].as_str().unwrap_or_default();
        cursor = format!("&cursor={next}");
    }
    let found_ids: Vec<_> = found.iter().map(|item| item["id"].clone()).collect();
    assert_eq!(json!(found_ids), json!(ids));
    let now = timestamp::format(app.clock.now());
    let expected = json!({
        "id": ids[0],
        "storeId": store.id,
        "event": "sync.completed",
        "attempt": 3,
        "lastError": REASON,
        "createdAt": now,
        "updatedAt": now,
    });
    assert_eq!(found[0], expected);
    let (_, all) = app.get("/callbacks?organizationId=org-1").await;
    assert_eq!(all["items"].as_array().unwrap().len(), 15);
    let (_, others) = app.get("/callbacks/failed?organizationId=org-2").await;
    assert_eq!(others, json!({ "items": [], "nextCursor": null }));
}

#[rstest]
#[tokio::test]
async fn a_list_says_what_is_wrong_with_its_parameters(#[values(Embedded, Server)] on: Profile) {
    let app = start(on).await;
    for (query, field) in [
        ("", "organizationId"),
        ("?organizationId=", "organizationId"),
        ("?organizationId=org-1&limit=101", "limit"),
        ("?organizationId=org-1&limit=0", "limit"),
        ("?organizationId=org-1&cursor=page-2", "cursor"),
    ] {
        for path in ["/callbacks", "/callbacks/failed"] {
            let (status, body) = app.get(&format!("{path}{query}")).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path}{query}");
            assert_eq!(body["details"][0]["path"], json!([field]), "{body}");
        }
    }
}

#[rstest]
#[tokio::test]
async fn a_requeued_event_is_due_for_those_who_did_not_take_it(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = start(on).await;
    let store = app.register("shop").await;
    let [took_it, failed] = two_endpoints(&app).await;
    let id = app.insert_event(store, "failed", HOUR).await;
    app.insert_delivery(id, took_it, "success", HOUR).await;
    app.insert_delivery(id, failed, "failed", HOUR).await;

    let (status, body) = requeue(&app, id).await;
    assert_eq!((status, body), (StatusCode::ACCEPTED, json!("")));

    let event = app.event_row(id).await.unwrap();
    assert_eq!((&event.status[..], event.attempt), ("pending", 0));
    assert_eq!(event.next_retry_at, None);
    assert_eq!(event.updated_at, app.clock.now());
    let kept = app.delivery_row(id, took_it).await;
    assert_eq!((&kept.status[..], kept.attempt), ("success", 1));
    let due = app.delivery_row(id, failed).await;
    assert_eq!((&due.status[..], due.attempt), ("pending", 0));
    assert!(due.next_attempt_at.is_none_or(|at| at <= app.clock.now()));
    let waiting = app.app.queue.waiting(DeliverCallback::QUEUE).await.unwrap();
    assert_eq!(waiting, 1, "its job was not pushed");

    let (status, body) = requeue(&app, id).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(body["error"], "callback_not_failed");
}

#[rstest]
#[tokio::test]
async fn what_is_not_there_cannot_be_requeued(#[values(Embedded, Server)] on: Profile) {
    let app = start(on).await;
    let (status, body) = requeue(&app, Uuid::nil()).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(body["error"], "Callback not found");
    let (status, _) = app.post("/callbacks/7/requeue", &json!({})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, body) = app.get(&format!("/callbacks/{}", Uuid::nil())).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(body["error"], "Callback not found");
}

#[rstest]
#[tokio::test]
async fn an_event_whose_last_webhook_was_deleted_stays_a_dead_letter(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = start(on).await;
    let store = app.register("shop").await;
    let [gone, _] = two_endpoints(&app).await;
    let id = app.insert_event(store, "failed", HOUR).await;
    app.insert_delivery(id, gone, "failed", HOUR).await;
    let path = format!("/webhooks/{gone}?organizationId=org-1");
    app.send(app.http.delete(app.server.url(&path))).await;

    let (status, body) = requeue(&app, id).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(body["error"], "webhooks_deleted");
    assert_eq!(app.event_row(id).await.unwrap().status, "failed");
    let path = format!("/webhooks/{gone}/recover");
    let (status, _) = app
        .post(&path, &json!({ "since": "2020-01-01T00:00:00Z" }))
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[rstest]
#[tokio::test]
async fn an_event_shows_every_delivery_with_its_attempts(#[values(Embedded, Server)] on: Profile) {
    let app = start(on).await;
    let store = app.register("shop").await;
    let [took_it, failed] = two_endpoints(&app).await;
    let id = app.insert_event(store, "failed", HOUR).await;
    app.insert_delivery(id, took_it, "success", HOUR).await;
    let delivery = app.insert_delivery(id, failed, "failed", HOUR).await;
    for attempt in 1..=3 {
        let at = app.clock.now() + TimeDelta::seconds(attempt.into());
        app.insert_attempt(delivery, attempt, at).await;
    }
    let (status, body) = app.get(&format!("/callbacks/{id}")).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(
        (&body["id"], &body["status"]),
        (&json!(id), &json!("failed"))
    );
    assert_eq!(body["payload"]["eventId"], json!(id));
    let deliveries = body["deliveries"].as_array().unwrap();
    assert_eq!(deliveries.len(), 2);
    let of = |endpoint: Uuid| {
        let found = deliveries
            .iter()
            .find(|it| it["webhookId"] == json!(endpoint));
        found.unwrap().clone()
    };
    assert_eq!(of(took_it)["attempts"], json!([]));
    let failed = of(failed);
    assert_eq!(failed["targetUrl"], "http://127.0.0.1:1/two");
    assert_eq!(failed["lastError"], REASON);
    let numbers: Vec<_> = failed["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["attempt"].clone())
        .collect();
    assert_eq!(json!(numbers), json!([3, 2, 1]));
    let newest = &failed["attempts"][0];
    assert_eq!(newest["httpStatus"], 500);
    assert_eq!(newest["durationMs"], 12);
    assert_eq!(newest["response"], "no");
    assert!(newest["error"].is_null());
}

#[rstest]
#[tokio::test]
async fn a_webhook_gets_what_it_missed_since_an_instant_after_it_was_counted(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = start(on).await;
    let store = app.register("shop").await;
    let [ours, other] = two_endpoints(&app).await;
    let mut recent = Vec::new();
    for age in 1..=3 {
        let id = app.insert_event(store, "failed", HOUR * age).await;
        app.insert_delivery(id, ours, "failed", HOUR * age).await;
        app.insert_delivery(id, other, "failed", HOUR * age).await;
        recent.push(id);
    }
    let old = app.insert_event(store, "failed", HOUR * 5).await;
    app.insert_delivery(old, ours, "failed", HOUR * 5).await;
    let since = timestamp::format(app.clock.now() - HOUR * 3);
    let path = format!("/webhooks/{ours}/recover");

    let dry = json!({ "since": since, "dryRun": true });
    let counted = app.post(&path, &dry).await;
    let expected = json!({ "deliveries": 3, "dryRun": true });
    assert_eq!(counted, (StatusCode::OK, expected));
    assert_eq!(app.event_row(recent[0]).await.unwrap().status, "failed");

    let recovered = app.post(&path, &json!({ "since": since })).await;
    let expected = json!({ "deliveries": 3, "dryRun": false });
    assert_eq!(recovered, (StatusCode::ACCEPTED, expected));
    for id in recent {
        assert_eq!(app.event_row(id).await.unwrap().status, "pending");
        assert_eq!(app.delivery_row(id, ours).await.status, "pending");
        assert_eq!(app.delivery_row(id, other).await.status, "failed");
    }
    assert_eq!(app.event_row(old).await.unwrap().status, "failed");
    let (_, again) = app.post(&path, &json!({ "since": since })).await;
    assert_eq!(again["deliveries"], 0);
    let (status, _) = app.post(&path, &json!({ "since": "yesterday" })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

///
#[rstest]
#[tokio::test]
async fn a_key_shows_and_requeues_the_events_of_its_organization_only(
    #[values(Embedded, Server)] on: Profile,
) {
    let hash = |key: &str| {
        let digest = Sha256::digest(key.as_bytes());
        digest
            .iter()
            .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
    };
    let keys = format!("org-1:{},org-2:{}", hash("ours"), hash("theirs"));
    let mut app = TestApp::start_with(on, &[("API_KEYS", &keys)]).await;
    app.leave_jobs();
    let register = app.http.post(app.server.url("/stores/register"));
    let register = register.json(&crate::support::app::store_body("shop"));
    let (_, store) = app.send(register.header("X-API-Key", "ours")).await;
    let store = crate::support::app::TestStore {
        id: store["storeId"].as_str().unwrap().parse().unwrap(),
        token: store["syncToken"].as_str().unwrap().parse().unwrap(),
    };
    let id = app.insert_event(store, "failed", HOUR).await;
    let list = "/callbacks/failed?organizationId=org-1".to_owned();
    for (path, key, expected) in [
        (&list, "ours", StatusCode::OK),
        (&list, "theirs", StatusCode::FORBIDDEN),
        (&list, "nobody's", StatusCode::UNAUTHORIZED),
        (&format!("/callbacks/{id}"), "ours", StatusCode::OK),
        (&format!("/callbacks/{id}"), "theirs", StatusCode::NOT_FOUND),
    ] {
        let request = app.http.get(app.server.url(path)).header("X-API-Key", key);
        let (status, body) = app.send(request).await;
        assert_eq!(status, expected, "{path} with {key}: {body}");
    }
    let path = format!("/callbacks/{id}/requeue");
    let request = app
        .http
        .post(app.server.url(&path))
        .header("X-API-Key", "theirs");
    assert_eq!(app.send(request).await.0, StatusCode::NOT_FOUND);
    assert_eq!(app.event_row(id).await.unwrap().status, "failed");
}
