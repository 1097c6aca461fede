//! A year of an installation that nobody looks after: what is there in the end is no more than
//! what was there after a few months.

use std::collections::BTreeMap;
use std::time::Duration;

use jobs::schedule::SCHEDULES;
use marketplace_sync::clock::Clock;
use marketplace_sync::db::Db;
use marketplace_sync::schedule::{claim_tick, tidy_up};
use redis::aio::ConnectionManager;
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::json;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, TestStore, on};
use crate::support::queues::shared_redis;
use crate::support::subscriber::Answer::Status;
use crate::support::subscriber::Subscriber;

const DAYS: u32 = 365;
/// When everything that is kept for a while has come to its end once.
const SETTLED: u32 = 100;
/// What grows on purpose: what the business is about.
const BUSINESS: [&str; 2] = ["stores", "sync_logs"];

/// How many rows each table has, and how many members all Redis keys, by kind.
type Sizes = BTreeMap<String, i64>;

struct Year {
    app: TestApp,
    store: TestStore,
    redis: Option<ConnectionManager>,
    subscriber: Subscriber,
}

impl Year {
    async fn begin(on: Profile) -> Self {
        let settings = [
            ("DEAD_LETTER_RETENTION_DAYS", "60"),
            ("WEBHOOK_MAX_ENDPOINTS_PER_ORG", "9"),
            ("CALLBACK_MAX_ATTEMPTS", "1"),
        ];
        let app = TestApp::start_with(on, &settings).await;
        // Both transports note real time.
        app.clock.set(Clock::system().now());
        let subscriber = Subscriber::start().await;
        let store = app.register("shop").await;
        for event in ["sync.started", "sync.completed"] {
            app.subscribe(event, &subscriber.url("/good")).await;
        }
        let redis = match on {
            Embedded => None,
            Server => {
                let client = redis::Client::open(shared_redis()).unwrap();
                Some(ConnectionManager::new(client).await.unwrap())
            }
        };
        Self {
            app,
            store,
            redis,
            subscriber,
        }
    }

    /// A day with an order, its events, a webhook that comes and goes, one that never answers
    /// well, and every tick there is, four times.
    async fn live_a_day(&self, day: u32) {
        let Self { app, store, .. } = self;
        let receipt = format!("r{day}");
        app.insert_row(*store, &receipt, "failed", 3_600).await;
        let bad = self.subscriber.url("/bad");
        if day.is_multiple_of(10) {
            app.subscribe("sync.completed", &bad).await;
        }
        if day % 10 == 5 {
            self.come_and_go(day).await;
            self.requeue_all().await;
        }
        self.subscriber.answer("/bad", [Status(500)]);
        for _ in 0..4 {
            app.clock.advance(Duration::from_hours(6));
            let now = app.clock.now();
            for schedule in SCHEDULES {
                assert!(
                    claim_tick(&app.app.db, schedule.name, now, now)
                        .await
                        .unwrap()
                );
            }
            app.schedule().await;
            app.sweep().await;
            app.run_jobs().await;
            tidy_up(&app.app).await;
        }
        assert_eq!(app.row(*store, &receipt).await.unwrap().status, "success");
    }

    async fn come_and_go(&self, day: u32) {
        let app = &self.app;
        let url = self.subscriber.url(&format!("/of-day-{day}"));
        let body =
            json!({ "organizationId": "org-1", "event": "sync.completed", "targetUrl": url });
        let request = app.http.post(app.server.url("/webhooks/register"));
        let key = format!("day-{day}");
        let (status, body) = app
            .send(request.header("Idempotency-Key", key).json(&body))
            .await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let id: Uuid = body["id"].as_str().unwrap().parse().unwrap();
        let path = format!("/webhooks/{id}/rotate-secret");
        let (status, body) = app.post(&path, &json!({ "organizationId": "org-1" })).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let url = app
            .server
            .url(&format!("/webhooks/{id}?organizationId=org-1"));
        let (status, body) = app.send(app.http.delete(url)).await;
        assert!(status.is_success(), "{body}");
    }

    async fn requeue_all(&self) {
        let failed: Vec<Uuid> = on!(&self.app.app.db, pool => sqlx::query_scalar(
            "SELECT id FROM callback_outbox WHERE status = 'failed' ORDER BY id LIMIT 3")
            .fetch_all(pool).await.unwrap());
        for id in failed {
            let path = format!("/callbacks/{id}/requeue");
            let (status, body) = self.app.post(&path, &json!({})).await;
            assert!(
                status.is_success() || status == StatusCode::CONFLICT,
                "{body}"
            );
        }
    }

    async fn sizes(&self) -> Sizes {
        let db = &self.app.app.db;
        let tables: Vec<String> = on!(db, pool => sqlx::query_scalar(match db {
            Db::Postgres(_) => "SELECT CAST(tablename AS TEXT) FROM pg_tables
                 WHERE schemaname = 'public'",
            Db::Sqlite { .. } => "SELECT name FROM sqlite_schema WHERE type = 'table'",
        }).fetch_all(pool).await.unwrap());
        let mut sizes = Sizes::new();
        for table in tables {
            if BUSINESS.contains(&table.as_str()) {
                continue;
            }
            let sql = format!("SELECT COUNT(*) FROM \"{table}\"");
            let count: i64 = on!(db, pool => sqlx::query_scalar(AssertSqlSafe(sql.clone()))
                .fetch_one(pool).await.unwrap());
            sizes.insert(table, count);
        }
        if let Some(mut redis) = self.redis.clone() {
            let pattern = format!("{}*", self.app.app.settings.queue_prefix);
            let script = redis::Script::new(include_str!("fixtures/sizes.lua"));
            let (keys, members): (i64, i64) =
                script.arg(pattern).invoke_async(&mut redis).await.unwrap();
            sizes.insert("redis keys".to_owned(), keys);
            sizes.insert("redis members".to_owned(), members);
        }
        sizes
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn nothing_grows_in_a_year_that_nobody_looks_after(#[values(Embedded, Server)] on: Profile) {
    let mut year = Year::begin(on).await;
    year.app.leave_jobs();
    let mut most = Sizes::new();
    for day in 0..DAYS {
        year.live_a_day(day).await;
        // The most of each there ever was until then.
        if day < SETTLED && day % 10 == 9 {
            for (name, size) in year.sizes().await {
                let known = most.entry(name).or_default();
                *known = size.max(*known);
            }
        }
    }
    let last = year.sizes().await;
    println!("{on:?}: {last:#?}");
    assert!(last.len() > 12, "{last:#?}");
    for (name, size) in last {
        let known = most[&name];
        assert!(
            size <= known + known / 5 + 2,
            "{name}: {known}, {size} at the end of the year"
        );
    }
    let orders = year.app.count("SELECT COUNT(*) FROM sync_logs").await;
    assert_eq!(orders, i64::from(DAYS), "every order is kept");
    let events = year.subscriber.count("/good");
    assert_eq!(events, 2 * DAYS as usize, "and everybody heard of it");
}
