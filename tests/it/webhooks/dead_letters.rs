//! `dead-letters`: what was given up, and another chance for it (NF-5).

use chrono::TimeDelta;
use jobs::{DeliverCallback, Job, SyncStore};
use rstest::rstest;
use serde_json::{Value, json};

use super::callbacks::endpoint;
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, TestStore, on};
use crate::support::process::{Environment, environment, run};
use crate::support::queues::shared_redis;

const HOUR: TimeDelta = TimeDelta::hours(1);

/// A store with a receipt that is dead, and an event that is.
async fn dead_store(app: &TestApp, name: &str) -> TestStore {
    let store = app.register(name).await;
    app.insert_row(store, "gone", "failed", 60).await;
    on!(&app.app.db, pool => sqlx::query(
        "UPDATE sync_logs SET dead_at = updated_at, failed_attempt = 5, error_details = 'invalid_receipt'
         WHERE store_id = $1")
        .bind(store.id).execute(pool).await.map(|_| ()).unwrap());
    store
}

fn settings(app: &TestApp, on: Profile) -> Environment {
    let mut settings = environment(&[
        ("DATABASE_URL", app.database.url()),
        ("QUEUE_PREFIX", &app.app.settings.queue_prefix),
    ]);
    if on == Profile::Server {
        settings.push(("REDIS_URL".to_owned(), shared_redis()));
    }
    settings
}

/// The lines that a command prints.
async fn lines(arguments: &[&str], settings: &Environment) -> Vec<Value> {
    let exit = run(&[&["dead-letters"], arguments].concat(), settings).await;
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let lines = exit.stdout.iter();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn kinds(lines: &[Value]) -> Vec<&str> {
    lines
        .iter()
        .map(|line| line["kind"].as_str().unwrap())
        .collect()
}

#[rstest]
#[tokio::test]
async fn the_list_has_a_line_for_each_dead_letter_of_the_store_or_kind_that_was_asked_for(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let [store, other] = [dead_store(&app, "one").await, dead_store(&app, "two").await];
    app.insert_row(store, "fine", "success", 60).await;
    let id = app.insert_event(store, "failed", HOUR).await;
    app.insert_event(store, "success", HOUR).await;
    let settings = settings(&app, on);
    assert_eq!(
        kinds(&lines(&["list"], &settings).await),
        ["orders", "orders", "callbacks"]
    );
    let of_other = lines(&["list", "--store", &other.id.to_string()], &settings).await;
    assert_eq!(kinds(&of_other), ["orders"]);
    assert_eq!(of_other[0]["storeId"], json!(other.id));
    assert_eq!(of_other[0]["receipt"], "gone");
    assert_eq!(of_other[0]["failedAttempt"], 5);
    let callbacks = lines(&["list", "--kind", "callbacks"], &settings).await;
    assert_eq!(kinds(&callbacks), ["callbacks"]);
    assert_eq!(callbacks[0]["id"], json!(id));
    assert_eq!(callbacks[0]["organizationId"], "org-1");
}

#[rstest]
#[tokio::test]
async fn requeued_letters_are_due_from_the_first_attempt_on_and_their_jobs_are_pushed(
    #[values(Embedded, Server)] on: Profile,
) {
    let mut app = TestApp::start(on).await;
    app.leave_jobs();
    let [store, other] = [dead_store(&app, "one").await, dead_store(&app, "two").await];
    let webhook = endpoint(&app, "sync.completed", "http://127.0.0.1:1/").await;
    let id = app.insert_event(store, "failed", HOUR).await;
    app.insert_delivery(id, webhook, "failed", HOUR).await;
    let settings = settings(&app, on);

    let arguments = ["requeue", "--store", &store.id.to_string()];
    assert_eq!(
        kinds(&lines(&arguments, &settings).await),
        ["orders", "callbacks"]
    );

    let row = app.row(store, "gone").await.unwrap();
    assert_eq!(
        (row.failed_attempt, row.dead_at, row.next_retry_at),
        (0, None, None)
    );
    assert_eq!(row.status, "failed");
    assert!(app.row(other, "gone").await.unwrap().dead_at.is_some());
    assert_eq!(app.event_row(id).await.unwrap().status, "pending");
    for queue in [SyncStore::QUEUE, DeliverCallback::QUEUE] {
        assert_eq!(app.app.queue.waiting(queue).await.unwrap(), 1, "{queue}");
    }
    assert_eq!(lines(&arguments, &settings).await, Vec::<Value>::new());
}
