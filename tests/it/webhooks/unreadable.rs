//! An event that cannot be read is a dead letter at once, and one that was repaired is delivered.

use std::time::Duration;

use marketplace_sync::db::Db;
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::operators::Operator;
use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::app::{TestApp, on};
use crate::support::log::Log;
use crate::support::subscriber::Subscriber;

/// JSON, and no event.
const OTHER: &str = r#"{"eventId": 1}"#;
/// No JSON, which PostgreSQL does not take.
const TORN: &str = r#"{"eventId": "#;

async fn payload(app: &TestApp, event: Uuid) -> String {
    on!(&app.app.db, pool => sqlx::query_scalar(
        "SELECT CAST(payload AS TEXT) FROM callback_outbox WHERE id = $1")
        .bind(event).fetch_one(pool).await.unwrap())
}

async fn set_payload(app: &TestApp, event: Uuid, payload: &str) {
    match &app.app.db {
        Db::Postgres(pool) => {
            let sql = "UPDATE callback_outbox SET payload = CAST($2 AS JSONB) WHERE id = $1";
            let query = sqlx::query(sql).bind(event).bind(payload);
            query.execute(pool).await.unwrap();
        }
        Db::Sqlite { writer, .. } => {
            let sql = "UPDATE callback_outbox SET payload = $2 WHERE id = $1";
            let query = sqlx::query(sql).bind(event).bind(payload);
            query.execute(writer).await.unwrap();
        }
    }
}

async fn requeue(app: &TestApp, event: Uuid) {
    let path = format!("/callbacks/{event}/requeue");
    let (status, body) = app.post(&path, &json!({})).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    app.run_jobs().await;
}

/// What a list shows of an event.
fn shown(body: &Value, event: Uuid) -> Value {
    let items = body["items"].as_array().unwrap();
    let found = items.iter().find(|item| item["id"] == json!(event));
    found.unwrap_or_else(|| panic!("{body}")).clone()
}

#[rstest]
#[case(Embedded, OTHER)]
#[case(Embedded, TORN)]
#[case(Server, OTHER)]
#[tokio::test]
async fn an_event_that_cannot_be_read_is_a_dead_letter_until_it_is_repaired(
    #[case] on: Profile,
    #[case] damaged: &str,
) {
    let app = TestApp::watched(on, &[]).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    let endpoint = app
        .subscribe("sync.completed", &subscriber.url("/hook"))
        .await;
    let events = app.owe_events(store, 2).await;
    let [event, sound] = events[..] else { panic!() };
    let right = payload(&app, event).await;
    set_payload(&app, event, damaged).await;

    let log = Log::capture();
    app.after(Duration::ZERO).await;
    let row = app.outbox_row(event).await;
    assert_eq!((row.status.as_str(), row.enqueued_until), ("failed", None));
    let delivery = app.delivery(event, endpoint).await;
    assert_eq!(delivery.status, "failed");
    let reason = delivery.last_error.unwrap();
    assert!(reason.starts_with("the event cannot be read: "), "{reason}");
    assert_eq!(row.last_error, Some(format!("{endpoint}: {reason}")));
    assert_eq!(app.outbox_row(sound).await.status, "success");
    let lines = log.of("callback_dead_letter");
    assert_eq!(
        lines,
        [json!({
            "event": "callback_dead_letter", "level": "error", "service": "marketplace-sync",
            "outboxId": event, "organizationId": "org-1", "deliveries": 1, "lastError": reason,
        })]
    );
    let dead = ("dead_letters_total", [("kind", "callbacks")]);
    assert_eq!(app.scrape().await.count(dead.0, &dead.1), 1);

    for path in ["/callbacks/failed", "/callbacks"] {
        let (status, body) = app.get(&format!("{path}?organizationId=org-1")).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert_eq!(shown(&body, event)["lastError"], json!(row.last_error));
    }
    let (status, body) = app.get(&format!("/callbacks/{event}")).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let as_stored = serde_json::from_str(damaged).unwrap_or(json!(damaged));
    assert_eq!(body["payload"], as_stored);
    assert_eq!(body["deliveries"][0]["lastError"], json!(reason));
    let letters = Operator::of(&app)
        .await
        .see("/dead-letters/callbacks")
        .await;
    assert_eq!(shown(&letters, event)["reason"], json!(row.last_error));

    app.after(Duration::from_hours(1)).await;
    assert_eq!(log.count("callback_dead_letter"), 1, "no tick tries again");
    requeue(&app, event).await;
    assert_eq!(app.outbox_row(event).await.status, "failed");
    assert_eq!(log.count("callback_dead_letter"), 2);
    assert_eq!(subscriber.received("/hook").len(), 1, "of the other event");

    set_payload(&app, event, &right).await;
    requeue(&app, event).await;
    assert_eq!(app.outbox_row(event).await.status, "success");
    let received = subscriber.received("/hook").pop().unwrap();
    assert_eq!(received.event_id(), event.to_string());
    assert_eq!(
        received.json(),
        serde_json::from_str::<Value>(&right).unwrap()
    );
    assert_eq!(log.count("job_failed"), 0);
}

/// Whoever sends it has read it before it was damaged.
#[rstest]
#[tokio::test]
async fn a_delivery_on_its_way_is_left_to_whoever_sends_it(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let [near, far] = ["https://example.com/near", "https://example.com/far"];
    let near = app.subscribe("sync.completed", near).await;
    let far = app.subscribe("sync.completed", far).await;
    let event = app.owe_events(store, 1).await[0];
    set_payload(&app, event, OTHER).await;
    let until = app.clock.now() + Duration::from_secs(12);
    on!(&app.app.db, pool => sqlx::query(
        "UPDATE callback_deliveries SET lease_token = $1, lease_expires_at = $2
         WHERE endpoint_id = $3")
        .bind(Uuid::from_u128(1)).bind(until).bind(far)
        .execute(pool).await.map(|_| ()).unwrap());

    app.deliver(event).await.unwrap();
    assert_eq!(app.delivery(event, near).await.status, "failed");
    let sent = app.delivery(event, far).await;
    assert_eq!((sent.status.as_str(), sent.last_error), ("pending", None));
    assert_eq!(app.outbox_row(event).await.status, "pending");

    app.after(Duration::from_secs(13)).await;
    assert_eq!(app.delivery(event, far).await.status, "failed");
    assert_eq!(app.outbox_row(event).await.status, "failed");
}
