//! What a run writes to the outbox.

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, on};
use crate::support::scripted_connector::{invalid, rate_limited, valid};

/// Everything of an outbox row that a run writes.
#[derive(sqlx::FromRow)]
struct Outbox {
    id: uuid::Uuid,
    organization_id: String,
    event: String,
    status: String,
    attempt: i32,
    next_retry_at: Option<chrono::DateTime<chrono::Utc>>,
    created_at: chrono::DateTime<chrono::Utc>,
    payload: sqlx::types::Json<Value>,
}

async fn outbox(app: &TestApp) -> Vec<Outbox> {
    on!(&app.app.db, pool => sqlx::query_as(
        "SELECT id, organization_id, event, status, attempt, next_retry_at, created_at, payload
         FROM callback_outbox ORDER BY created_at, id")
        .fetch_all(pool).await.unwrap())
}

/// A-71, 7.3: complete at insert, and the id is the row's; no endpoint is needed.
#[rstest]
#[tokio::test]
async fn an_event_is_complete_when_it_is_written(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    for (receipt, reply) in [
        ("r1", valid("r1")),
        ("r2", valid("r2")),
        ("r3", invalid()),
        ("r4", rate_limited(None)),
    ] {
        app.insert_row(store, receipt, "pending", 60).await;
        app.marketplace.reply(receipt, [reply]);
    }
    app.execute("UPDATE stores SET imported_success_count = 5")
        .await;
    app.run(store).await.unwrap();
    let rows = outbox(&app).await;
    let data = [
        json!({ "syncStatus": "pending" }),
        json!({
            "syncStatus": "partial",
            "processedCount": 4,
            "successCount": 2,
            "failedCount": 1,
            "rateLimitedCount": 1,
            "importedOrders": 7,
            "remainingBacklog": false,
        }),
    ];
    let names = ["sync.started", "sync.completed"];
    assert_eq!(rows.len(), 2);
    for ((row, name), data) in rows.iter().zip(names).zip(data) {
        assert_eq!(row.event, name);
        assert_eq!(row.organization_id, "org-1");
        assert_eq!((row.status.as_str(), row.attempt), ("success", 0));
        assert_eq!((row.next_retry_at, row.created_at), (None, app.clock.now()));
        let envelope = json!({
            "eventId": row.id.to_string(),
            "event": name,
            "timestamp": "2024-01-01T12:00:00.123Z",
            "organizationId": "org-1",
            "storeId": store.id.to_string(),
            "data": data,
        });
        assert_eq!(row.payload.0, envelope);
    }
}

/// `partial` completes, `failed` fails.
#[rstest]
#[case::all_succeed(&[true, true], "success", "sync.completed")]
#[case::some_fail(&[true, false], "partial", "sync.completed")]
#[case::all_fail(&[false, false], "failed", "sync.failed")]
#[tokio::test]
async fn the_closing_event_tells_how_the_store_is(
    #[case] replies: &[bool],
    #[case] status: &str,
    #[case] event: &str,
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_due_rows(store, 2).await;
    for (receipt, is_valid) in ["r0001", "r0002"].into_iter().zip(replies) {
        let reply = if *is_valid { valid(receipt) } else { invalid() };
        app.marketplace.reply(receipt, [reply]);
    }
    app.run(store).await.unwrap();
    let events = app.events(store).await;
    assert_eq!(events.len(), 2);
    assert_eq!(events[1].0, event);
    assert_eq!(events[1].1["data"]["syncStatus"], status);
    assert_eq!(app.store_row(store).await.sync_status, status);
}

/// The second run's start tells how the first one left the store.
#[rstest]
#[tokio::test]
async fn the_start_of_a_run_tells_how_the_store_was(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_row(store, "r1", "failed", 60).await;
    app.marketplace.reply("r1", [invalid(), valid("r1")]);
    app.run(store).await.unwrap();
    app.clock.advance(std::time::Duration::from_mins(5));
    app.run(store).await.unwrap();
    let events = app.events(store).await;
    let told: Vec<(&str, &Value)> = events
        .iter()
        .map(|(name, payload)| (name.as_str(), &payload["data"]["syncStatus"]))
        .collect();
    assert_eq!(
        told,
        [
            ("sync.started", &json!("pending")),
            ("sync.failed", &json!("failed")),
            ("sync.started", &json!("failed")),
            ("sync.completed", &json!("success")),
        ]
    );
}

/// the totals are those of the run, not of its last batch.
#[rstest]
#[tokio::test]
async fn three_batches_are_one_run(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start_with(on, &[("SYNC_CHUNK_SIZE", "2")]).await;
    let store = app.register("shop").await;
    app.insert_due_rows(store, 5).await;
    app.marketplace.reply("r0001", [invalid()]);
    app.marketplace.reply("r0003", [rate_limited(None)]);
    app.run(store).await.unwrap();
    let events = app.events(store).await;
    assert_eq!(events.len(), 2);
    let data = &events[1].1["data"];
    let counts = [
        "processedCount",
        "successCount",
        "failedCount",
        "rateLimitedCount",
    ]
    .map(|name| data[name].as_i64().unwrap());
    assert_eq!(counts, [5, 3, 1, 1]);
}

/// nothing to do, nothing to tell, nothing written.
#[rstest]
#[tokio::test]
async fn a_run_without_work_leaves_no_trace(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_row(store, "done", "success", 60).await;
    let before = app.store_row(store).await;
    app.clock.advance(std::time::Duration::from_secs(1));
    app.run(store).await.unwrap();
    assert_eq!(app.store_row(store).await, before);
    assert_eq!(app.events(store).await, []);
    assert_eq!(app.marketplace.calls(), []);
}

/// The import endpoint tells nobody.
#[rstest]
#[tokio::test]
async fn an_import_emits_nothing(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.marketplace.reply("r2", [invalid()]);
    app.import(store, "r1").await;
    app.import(store, "r2").await;
    assert_eq!(app.events(store).await, []);
}
