//! Everything that others hold us to, in one place: a diff of these snapshots is a change that
//! clients, dashboards, or jobs and rows of the last release will notice.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use jobs::schedule::SCHEDULES;
use jobs::{DeliverCallback, Job, OutboxId, StoreId, SyncStore};
use marketplace_sync::http::fields;
use marketplace_sync::http::kind::KINDS;
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, TestStore, store_body};
use crate::support::scripted_connector::{invalid, rate_limited, valid};

const ID: Uuid = Uuid::from_u128(0x0193_c5d0_7b1c_7b6e_9d0a_2f5d_8c3e_4a1b);

fn job<J: Job>(job: &J) -> Value {
    json!({ "name": J::NAME, "queue": J::QUEUE, "identity": job.identity(), "payload": job })
}

#[test]
fn jobs_keep_their_names_queues_identities_and_payloads() {
    let jobs = [
        job(&SyncStore {
            store_id: StoreId(ID),
        }),
        job(&DeliverCallback {
            outbox_id: OutboxId(ID),
        }),
    ];
    insta::assert_json_snapshot!("jobs", jobs);
}

#[test]
fn schedules_keep_their_names() {
    let schedules = SCHEDULES.map(|entry| format!("{} {}", entry.name, entry.default_cron));
    insta::assert_snapshot!("schedules", schedules.join("\n"));
}

#[test]
fn problems_and_faults_keep_their_codes() {
    let kinds = KINDS
        .iter()
        .map(|kind| format!("{} {}", kind.status.as_u16(), kind.code));
    insta::assert_snapshot!("problem_kinds", kinds.collect::<Vec<_>>().join("\n"));
    insta::assert_snapshot!("field_codes", fields::code::ALL.join("\n"));
}

/// Dashboards and alerts search for the `event` of a log line.
#[test]
fn log_lines_keep_their_event_names() {
    let mut names = BTreeSet::new();
    for folder in ["src", "jobs/src"] {
        collect_event_names(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join(folder),
            &mut names,
        );
    }
    insta::assert_snapshot!(
        "log_events",
        names.into_iter().collect::<Vec<_>>().join("\n")
    );
}

fn collect_event_names(path: &Path, names: &mut BTreeSet<String>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            collect_event_names(&entry.unwrap().path(), names);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        let text = fs::read_to_string(path).unwrap();
        let found = text
            .split("event = \"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next());
        names.extend(found.map(str::to_owned));
    }
}

/// Ids are another each time: their place is what counts.
fn without_ids(store: TestStore, value: &Value) -> Value {
    let text = value
        .to_string()
        .replace(&store.id.to_string(), "[store id]")
        .replace(&store.token.to_string(), "[sync token]");
    let mut value: Value = serde_json::from_str(&text).unwrap();
    for id in ["eventId", "requestId"] {
        if let Some(id) = value.get_mut(id) {
            *id = json!("[id]");
        }
    }
    value
}

#[rstest]
#[tokio::test]
async fn answers_keep_their_shape(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    app.marketplace.reply("order-2", [invalid()]);
    app.marketplace.reply("order-3", [rate_limited(None)]);
    let store = app.register("shop").await;
    let batch = json!({ "syncToken": store.token, "receipts": ["order-1", "order-2", "order-3"] });
    let answers = json!({
        "register": app.post("/stores/register", &store_body("shop")).await.1,
        "status before": app.sync_status(store).await,
        "import": app.import(store, "order-1").await.1,
        "import of no order": app.import(store, "order-2").await.1,
        "import too fast": app.import(store, "order-3").await.1,
        "batch": app.post("/orders/import/batch", &batch).await.1,
        "status after": app.sync_status(store).await,
    });
    insta::assert_json_snapshot!("answers", without_ids(store, &answers));
}

#[rstest]
#[tokio::test]
async fn events_keep_their_names_and_payloads(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.marketplace
        .reply("order-1", [invalid(), invalid(), valid("order-1")]);
    app.import(store, "order-1").await;
    for _ in 0..2 {
        app.make_due(store, "order-1").await;
        app.schedule().await;
        app.run_jobs().await;
        app.clock.advance(Duration::from_hours(1));
    }
    let events: Vec<Value> = app
        .events(store)
        .await
        .iter()
        .map(|(name, payload)| json!({ "event": name, "payload": without_ids(store, payload) }))
        .collect();
    insta::assert_json_snapshot!("events", events);
}
