//! Hands of the tests about deliveries: endpoints, events in bulk, jobs without the queue, and
//! how the rows stand.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use chrono::{DateTime, Utc};
use jobs::{DeliverCallback, OutboxId};
use marketplace_sync::db::Db;
use marketplace_sync::webhooks::{CallbackPass, enqueue_due_events};
use marketplace_sync::{App, worker};
use redis::aio::ConnectionManager;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::FromRow;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::app::{TestApp, TestStore, on};
use super::queues::shared_redis;

/// How an event stands.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub(crate) struct OutboxRow {
    pub(crate) id: Uuid,
    pub(crate) status: String,
    pub(crate) attempt: i32,
    pub(crate) next_retry_at: Option<DateTime<Utc>>,
    pub(crate) last_error: Option<String>,
    pub(crate) enqueued_until: Option<DateTime<Utc>>,
}

/// How the delivery of an event to an endpoint stands.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub(crate) struct Delivery {
    pub(crate) id: Uuid,
    pub(crate) status: String,
    pub(crate) http_status: Option<i32>,
    pub(crate) attempt: i32,
    pub(crate) next_attempt_at: Option<DateTime<Utc>>,
    pub(crate) last_error: Option<String>,
    pub(crate) delivered_at: Option<DateTime<Utc>>,
    pub(crate) lease_token: Option<Uuid>,
    pub(crate) lease_expires_at: Option<DateTime<Utc>>,
}

/// One request, as it is remembered.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub(crate) struct Attempt {
    pub(crate) number: i32,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) http_status: Option<i32>,
    pub(crate) error: Option<String>,
    pub(crate) response: Option<String>,
}

/// How an endpoint stands.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub(crate) struct Endpoint {
    pub(crate) is_active: bool,
    pub(crate) inactive_reason: Option<String>,
    pub(crate) consecutive_failures: i32,
    pub(crate) open_until: Option<DateTime<Utc>>,
}

impl TestApp {
    /// Subscribes `org-1` to an event at a URL.
    pub(crate) async fn subscribe(&self, event: &str, target_url: &str) -> Uuid {
        let body = json!({ "organizationId": "org-1", "event": event, "targetUrl": target_url });
        let (status, body) = self.post("/webhooks/register", &body).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body["id"].as_str().unwrap().parse().unwrap()
    }

    /// Changes an endpoint of `org-1`.
    pub(crate) async fn change_endpoint(&self, id: Uuid, change: &Value) {
        let url = self
            .server
            .url(&format!("/webhooks/{id}?organizationId=org-1"));
        let (status, body) = self.send(self.http.patch(url).json(change)).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }

    /// Puts so many `sync.completed` events of `org-1` into the outbox, one second after the
    /// other up to now, owed to each endpoint that is subscribed; nothing is enqueued.
    pub(crate) async fn owe_events(&self, store: TestStore, count: u32) -> Vec<Uuid> {
        let endpoints: Vec<Uuid> = on!(&self.app.db, pool => sqlx::query_scalar(
            "SELECT id FROM webhook_endpoints
             WHERE organization_id = 'org-1' AND event = 'sync.completed' ORDER BY id")
            .fetch_all(pool).await.unwrap());
        let mut made = Vec::new();
        // One transaction, for SQLite's sake.
        on!(&self.app.db, pool => {
            let mut tx = pool.begin_with("BEGIN").await.unwrap();
            for age in (0..count).rev() {
                let at = self.clock.now() - Duration::from_secs(age.into());
                let id = self.app.ids.new_id(at);
                let payload = json!({
                    "eventId": id, "event": "sync.completed", "timestamp": at,
                    "organizationId": "org-1", "storeId": store.id, "data": { "number": made.len() },
                });
                sqlx::query(
                    "INSERT INTO callback_outbox (id, organization_id, store_id, event, payload,
                         created_at, updated_at)
                     VALUES ($1, 'org-1', $2, 'sync.completed', $3, $4, $4)")
                    .bind(id).bind(store.id).bind(sqlx::types::Json(payload)).bind(at)
                    .execute(&mut *tx).await.map(|_| ()).unwrap();
                for endpoint in &endpoints {
                    sqlx::query(
                        "INSERT INTO callback_deliveries (id, outbox_id, endpoint_id, created_at,
                             updated_at)
                         VALUES ($1, $2, $3, $4, $4)")
                        .bind(self.app.ids.new_id(at)).bind(id).bind(endpoint).bind(at)
                        .execute(&mut *tx).await.map(|_| ()).unwrap();
                }
                made.push(id);
            }
            tx.commit().await.unwrap();
        });
        made
    }

    /// One pass of the `callback` scheduler.
    pub(crate) async fn sweep(&self) -> CallbackPass {
        enqueue_due_events(&self.app).await.unwrap()
    }

    /// Moves the clock, and does what ticks and workers do then.
    pub(crate) async fn after(&self, time: Duration) {
        self.clock.advance(time);
        self.sweep().await;
        self.run_jobs().await;
    }

    /// Runs the job of an event, without the queue.
    pub(crate) async fn deliver(&self, event: Uuid) -> Result<(), String> {
        deliver_in(&self.app, event).await
    }

    /// From now on a queue answers and takes nothing.
    pub(crate) async fn refuse_pushes(&self, queue: &str) {
        match self.app.db {
            Db::Postgres(_) => {
                redis(
                    redis::cmd("SET")
                        .arg(self.data_key(queue))
                        .arg("not a hash"),
                )
                .await;
            }
            Db::Sqlite { .. } => {
                self.execute(
                    "CREATE TRIGGER refuse BEFORE INSERT ON Jobs
                     BEGIN SELECT RAISE(ABORT, 'no room on the disk'); END",
                )
                .await;
            }
        }
    }

    /// The queue is as it was.
    pub(crate) async fn accept_pushes(&self, queue: &str) {
        match self.app.db {
            Db::Postgres(_) => redis(redis::cmd("DEL").arg(self.data_key(queue))).await,
            Db::Sqlite { .. } => self.execute("DROP TRIGGER refuse").await,
        }
    }

    /// From now on a queue does not tell how many jobs wait.
    pub(crate) async fn hide_queue(&self, queue: &str) {
        match self.app.db {
            Db::Postgres(_) => {
                redis(
                    redis::cmd("SET")
                        .arg(self.waiting_key(queue))
                        .arg("no list"),
                )
                .await;
            }
            Db::Sqlite { .. } => self.execute("ALTER TABLE Jobs RENAME TO Hidden").await,
        }
    }

    /// The queue is as it was.
    pub(crate) async fn show_queue(&self, queue: &str) {
        match self.app.db {
            Db::Postgres(_) => redis(redis::cmd("DEL").arg(self.waiting_key(queue))).await,
            Db::Sqlite { .. } => self.execute("ALTER TABLE Hidden RENAME TO Jobs").await,
        }
    }

    fn waiting_key(&self, queue: &str) -> String {
        format!("{}{queue}:active", self.app.settings.queue_prefix)
    }

    fn data_key(&self, queue: &str) -> String {
        format!("{}{queue}:data", self.app.settings.queue_prefix)
    }

    /// All events, the oldest first.
    pub(crate) async fn outbox(&self) -> Vec<OutboxRow> {
        on!(&self.app.db, pool => sqlx::query_as(
            "SELECT id, status, attempt, next_retry_at, last_error, enqueued_until
             FROM callback_outbox ORDER BY created_at, id")
            .fetch_all(pool).await.unwrap())
    }

    /// An event.
    pub(crate) async fn outbox_row(&self, id: Uuid) -> OutboxRow {
        let outbox = self.outbox().await;
        outbox.into_iter().find(|event| event.id == id).unwrap()
    }

    /// The delivery of an event to an endpoint.
    pub(crate) async fn delivery(&self, event: Uuid, endpoint: Uuid) -> Delivery {
        on!(&self.app.db, pool => sqlx::query_as(
            "SELECT id, status, http_status, attempt, next_attempt_at, last_error, delivered_at,
                 lease_token, lease_expires_at
             FROM callback_deliveries WHERE outbox_id = $1 AND endpoint_id = $2")
            .bind(event).bind(endpoint).fetch_one(pool).await.unwrap())
    }

    /// How many deliveries to an endpoint have a status.
    pub(crate) async fn deliveries_with(&self, endpoint: Uuid, status: &str) -> i64 {
        on!(&self.app.db, pool => sqlx::query_scalar(
            "SELECT COUNT(*) FROM callback_deliveries WHERE endpoint_id = $1 AND status = $2")
            .bind(endpoint).bind(status).fetch_one(pool).await.unwrap())
    }

    /// The attempts of the delivery of an event to an endpoint, the oldest first.
    pub(crate) async fn attempts(&self, event: Uuid, endpoint: Uuid) -> Vec<Attempt> {
        on!(&self.app.db, pool => sqlx::query_as(
            "SELECT a.attempt AS number, a.started_at, a.http_status, a.error, a.response
             FROM callback_attempts AS a
             JOIN callback_deliveries AS d ON d.id = a.delivery_id
             WHERE d.outbox_id = $1 AND d.endpoint_id = $2 ORDER BY a.started_at, a.id")
            .bind(event).bind(endpoint).fetch_all(pool).await.unwrap())
    }

    /// An endpoint.
    pub(crate) async fn endpoint(&self, id: Uuid) -> Endpoint {
        on!(&self.app.db, pool => sqlx::query_as(
            "SELECT is_active, inactive_reason, consecutive_failures, open_until
             FROM webhook_endpoints WHERE id = $1")
            .bind(id).fetch_one(pool).await.unwrap())
    }
}

async fn redis(command: &redis::Cmd) {
    let client = redis::Client::open(shared_redis()).unwrap();
    let mut connection = ConnectionManager::new(client).await.unwrap();
    let _: redis::Value = command.query_async(&mut connection).await.unwrap();
}

/// Runs the job of an event in a process, without the queue.
pub(crate) async fn deliver_in(process: &Arc<App>, event: Uuid) -> Result<(), String> {
    let outbox_id = OutboxId(event);
    let stop = CancellationToken::new();
    worker::deliver_callback(process, DeliverCallback { outbox_id }, &stop).await
}

/// The same in a task of its own.
pub(crate) fn spawn_delivery(
    process: &Arc<App>,
    event: Uuid,
) -> tokio::task::JoinHandle<Result<(), String>> {
    let process = process.clone();
    tokio::spawn(async move { deliver_in(&process, event).await })
}

/// Lets work go on until it has waited so many times, and kills it there; tells what it came to,
/// if it got to its end before.
pub(crate) async fn killed_after<T>(waits: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut left = waits;
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// Lets work go on until it has waited so many times; there it stands still while the other does
/// what it can, for as long as it need not wait for the work. Then both go on to their ends. Tells
/// what they came to, and whether the work had ended before.
pub(crate) async fn interrupted<T, U>(
    waits: usize,
    work: impl Future<Output = T>,
    other: impl Future<Output = U>,
) -> (T, U, bool) {
    let (mut work, mut other) = (pin!(work), pin!(other));
    let before = killed_after(waits, work.as_mut()).await;
    let ended = before.is_some();
    let meanwhile = tokio::time::timeout(Duration::from_millis(30), other.as_mut()).await;
    let (before, meanwhile) = match (before, meanwhile) {
        (None, Err(_)) => tokio::join!(work, other),
        (None, Ok(meanwhile)) => (work.await, meanwhile),
        (Some(before), Err(_)) => (before, other.await),
        (Some(before), Ok(meanwhile)) => (before, meanwhile),
    };
    (before, meanwhile, ended)
}
