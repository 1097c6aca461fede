//! A year of an installation that nobody looks after: what is there in the end is no more than
//! what was there after a few months.

#![expect(clippy::print_stdout, reason = "figures to read")]

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
use crate::support::database::TestDatabase;
use crate::support::queues::shared_redis;
use crate::support::subscriber::Answer::Status;
use crate::support::subscriber::Subscriber;

/// Of three days each, which makes a year.
const ROUNDS: u32 = 122;
/// When everything that is kept for a while has come to its end once: an event waits for thirty
/// days for an endpoint that does not come back, and is a dead letter for sixty.
const SETTLED: u32 = 40;
/// What grows on purpose: what the business is about.
const BUSINESS: [&str; 2] = ["stores", "sync_logs"];

/// How much there is, by what it is: the rows of each table, pages of the file, keys of Redis.
type Sizes = BTreeMap<String, i64>;

struct Year {
    app: TestApp,
    stores: [TestStore; 2],
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
        let stores = [app.register("shop").await, app.register("other").await];
        for event in ["sync.started", "sync.completed"] {
            app.subscribe(event, &subscriber.url("/good")).await;
            // Left in peace, it is asked once a round, as there is one tick; it is owed twice that.
            app.subscribe(event, &subscriber.url("/bad")).await;
        }
        subscriber.answer("/bad", [Status(500)]);
        let away = app.subscribe("sync.started", &subscriber.url("/off")).await;
        app.change_endpoint(away, &json!({ "isActive": false }))
            .await;
        let redis = match on {
            Embedded => None,
            Server => {
                let client = redis::Client::open(shared_redis()).unwrap();
                Some(ConnectionManager::new(client).await.unwrap())
            }
        };
        Self {
            app,
            stores,
            redis,
            subscriber,
        }
    }

    /// Three days with an order of each store, their runs and the events of these, and one tick of
    /// each schedule; now and then a webhook comes and goes.
    async fn live_on(&self, round: u32) {
        let Self { app, stores, .. } = self;
        let receipt = format!("r{round}");
        for store in stores {
            app.insert_row(*store, &receipt, "failed", 3_600).await;
        }
        if round % 5 == 2 {
            self.come_and_go(round).await;
        }
        app.clock.advance(Duration::from_hours(72));
        let now = app.clock.now();
        for schedule in SCHEDULES {
            let claimed = claim_tick(&app.app.db, schedule.name, now, now).await;
            assert!(claimed.unwrap());
        }
        app.schedule().await;
        app.sweep().await;
        app.run_jobs().await;
        tidy_up(&app.app).await;
        for store in stores {
            assert_eq!(app.row(*store, &receipt).await.unwrap().status, "success");
        }
    }

    async fn come_and_go(&self, round: u32) {
        let app = &self.app;
        let url = self.subscriber.url(&format!("/of-round-{round}"));
        let body =
            json!({ "organizationId": "org-1", "event": "sync.completed", "targetUrl": url });
        let request = app.http.post(app.server.url("/webhooks/register"));
        let request = request.header("Idempotency-Key", format!("round-{round}"));
        let (status, body) = app.send(request.json(&body)).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let id: Uuid = body["id"].as_str().unwrap().parse().unwrap();
        let path = format!("/webhooks/{id}/rotate-secret?organizationId=org-1");
        let (status, body) = app.post(&path, &json!({})).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let path = format!("/webhooks/{id}?organizationId=org-1");
        let (status, body) = app.send(app.http.delete(app.server.url(&path))).await;
        assert!(status.is_success(), "{body}");
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
        if let Db::Sqlite { readers, .. } = db {
            let pages = "SELECT (SELECT page_count FROM pragma_page_count) - (
                SELECT COUNT(*) FROM dbstat WHERE name LIKE '%sync_logs%')";
            let pages = sqlx::query_scalar(pages).fetch_one(readers).await.unwrap();
            sizes.insert("pages of the file".to_owned(), pages);
        }
        if let Some(mut redis) = self.redis.clone() {
            let pattern = format!("{}*", self.app.app.settings.queue_prefix);
            let script = redis::Script::new(include_str!("fixtures/sizes.lua"));
            let found = script.arg(pattern).invoke_async(&mut redis).await;
            let (keys, bytes): (i64, i64) = found.unwrap();
            sizes.insert("keys of Redis".to_owned(), keys);
            sizes.insert("bytes of Redis".to_owned(), bytes);
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
    for round in 0..ROUNDS {
        year.live_on(round).await;
        // The most of each there ever was until then.
        if round < SETTLED && round % 5 == 4 {
            for (name, size) in year.sizes().await {
                let known = most.entry(name).or_default();
                *known = size.max(*known);
            }
        }
    }
    let last = year.sizes().await;
    println!("{on:?}: {most:#?}, then {last:#?}");
    assert!(last.len() > 12, "{last:#?}");
    let grown = last.iter().filter(|(name, size)| {
        let known = most.get(*name).copied().unwrap_or_default();
        **size > known + known / 10 + 2
    });
    let grown: Vec<&String> = grown.map(|(name, _)| name).collect();
    assert!(grown.is_empty(), "{on:?}: {grown:?} grew all year");
    let orders = year.app.count("SELECT COUNT(*) FROM sync_logs").await;
    assert_eq!(orders, 2 * i64::from(ROUNDS), "every order is kept");
    let events = year.subscriber.count("/good");
    assert_eq!(events, 4 * ROUNDS as usize, "and everybody heard of it");
}

/// What is written while many things happen at once needs room beside the file only until then.
#[tokio::test]
async fn the_write_ahead_log_is_cut_after_a_burst() {
    let database = TestDatabase::create_empty(Embedded).await;
    let db = Db::connect(database.url(), 2).await.unwrap();
    let Db::Sqlite { writer, .. } = &db else {
        unreachable!()
    };
    let log = format!("{}-wal", database.url().trim_start_matches("sqlite:"));
    let megabytes = || std::fs::metadata(&log).unwrap().len() >> 20;
    let burst = "CREATE TABLE burst AS
         WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 100)
         SELECT zeroblob(1000000) AS bytes FROM series";
    sqlx::raw_sql(burst).execute(writer).await.unwrap();
    assert!(megabytes() > 90, "{}", megabytes());
    // It begins anew with the next write.
    let next = "DELETE FROM burst WHERE rowid = 1";
    sqlx::raw_sql(next).execute(writer).await.unwrap();
    assert!(megabytes() <= 64, "{}", megabytes());
}
