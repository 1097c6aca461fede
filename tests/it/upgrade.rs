//! From release 0.1.0 to this one, with rows in every table and the former release still running.
//!
//! What the former release needs of a database is its statements. They are kept in
//! `fixtures/statements_0_1_0.sql`, as its sources had them; here each is prepared on the schema
//! of this release, so no table, column or type they name is gone. That what they insert is
//! still complete is shown by the rows that release wrote, inserted after the migration as well
//! as before, and by the lint of migrations, which may only add
//! (`migrations_after_the_first_release_only_add`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use marketplace_sync::clock::Clock;
use marketplace_sync::db::Db;
use rstest::rstest;
use serde_json::{Value, json};
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Executor, SqlSafeStr};

use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::app::on;
use crate::support::counting_marketplace::CountingMarketplace;
use crate::support::database::TestDatabase;
use crate::support::process::{Process, environment};
use crate::support::queues::{fresh_prefix, shared_redis};
use crate::support::subscriber::Subscriber;

/// The last migration of release 0.1.0.
const RELEASED: i64 = 3;
const TABLES: [&str; 10] = [
    "stores",
    "sync_logs",
    "webhook_endpoints",
    "webhook_secrets",
    "callback_outbox",
    "callback_deliveries",
    "callback_attempts",
    "schedule_ticks",
    "schedule_cursors",
    "queue_epochs",
];

fn dialect(on: Profile) -> &'static str {
    match on {
        Embedded => "sqlite",
        Server => "postgres",
    }
}

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// A database as release 0.1.0 made it, by the migrations it had.
async fn released(on: Profile) -> (TestDatabase, Db) {
    let database = TestDatabase::create_empty(on).await;
    let db = Db::connect(database.url(), 4).await.unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut migrator = Migrator::new(folder.join(dialect(on))).await.unwrap();
    let kept = migrator.iter().filter(|it| it.version <= RELEASED);
    migrator.migrations = Cow::Owned(kept.cloned().collect());
    on!(&db, pool => migrator.run(pool).await.unwrap());
    (database, db)
}

async fn insert_rows(on: Profile, db: &Db) {
    let rows = fixture(&format!("rows_0_1_0.{}.sql", dialect(on)));
    on!(db, pool => sqlx::raw_sql(AssertSqlSafe(rows.clone())).execute(pool).await.map(|_| ()).unwrap());
}

/// Every row of a table as JSON, by its text, with the columns of release 0.1.0 only.
async fn rows(db: &Db, columns: &BTreeMap<&str, Vec<String>>) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    for (table, columns) in columns {
        let texts = columns.iter().map(|column| match db {
            Db::Postgres(_) => format!("COALESCE(CAST({column} AS TEXT), '-')"),
            Db::Sqlite { .. } => format!("quote({column})"),
        });
        let sql = format!(
            "SELECT {} FROM {table} ORDER BY 1",
            texts.collect::<Vec<_>>().join(" || ', ' || ")
        );
        let rows: Vec<String> = on!(db, pool => sqlx::query_scalar(AssertSqlSafe(sql.clone()))
            .fetch_all(pool).await.unwrap());
        assert!(!rows.is_empty(), "{table} has no row");
        found.insert((*table).to_owned(), rows);
    }
    found
}

async fn columns(db: &Db) -> BTreeMap<&'static str, Vec<String>> {
    let mut found = BTreeMap::new();
    for table in TABLES {
        let sql = match db {
            Db::Postgres(_) => format!(
                "SELECT CAST(column_name AS TEXT) FROM information_schema.columns
                 WHERE table_name = '{table}' ORDER BY 1"
            ),
            Db::Sqlite { .. } => {
                format!("SELECT name FROM pragma_table_info('{table}') ORDER BY 1")
            }
        };
        let names: Vec<String> = on!(db, pool => sqlx::query_scalar(AssertSqlSafe(sql.clone()))
            .fetch_all(pool).await.unwrap());
        found.insert(table, names);
    }
    found
}

#[rstest]
#[tokio::test]
async fn an_upgrade_keeps_every_row(#[values(Embedded, Server)] on: Profile) {
    let (_database, db) = released(on).await;
    insert_rows(on, &db).await;
    let columns = columns(&db).await;
    let before = rows(&db, &columns).await;
    db.migrate().await.unwrap();
    assert_eq!(rows(&db, &columns).await, before);
}

/// What the former release does, the new schema can take.
#[rstest]
#[tokio::test]
async fn the_former_release_runs_on_after_the_upgrade(#[values(Embedded, Server)] on: Profile) {
    let (_database, db) = released(on).await;
    db.migrate().await.unwrap();
    insert_rows(on, &db).await;
    let mut prepared = 0;
    let text = fixture("statements_0_1_0.sql");
    for part in text.split("\n-- for ").skip(1) {
        let (wanted, statement) = part.split_once('\n').unwrap();
        if wanted != "both" && wanted != dialect(on) {
            continue;
        }
        let sql = AssertSqlSafe(statement.to_owned()).into_sql_str();
        let outcome = on!(&db, pool => pool.prepare(sql).await.map(|_| ()));
        assert!(outcome.is_ok(), "{outcome:?}: {statement}");
        prepared += 1;
    }
    assert!(prepared > 90, "only {prepared} statements");
}

/// A process of this release takes over what the former one left: it imports what is due,
/// with the token that was stored in clear, and delivers what was pending.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_work_of_the_former_release_is_taken_over(#[values(Embedded, Server)] on: Profile) {
    let (database, db) = released(on).await;
    insert_rows(on, &db).await;
    let (marketplace, subscriber) = (
        CountingMarketplace::start().await,
        Subscriber::start().await,
    );
    let past = Clock::system().now() - chrono::TimeDelta::minutes(1);
    let target = subscriber.url("/webhook");
    on!(&db, pool => {
        sqlx::query("UPDATE webhook_endpoints SET target_url = $1 WHERE deleted_at IS NULL")
            .bind(target).execute(pool).await.map(|_| ()).unwrap();
    });
    on!(&db, pool => {
        sqlx::query("UPDATE callback_deliveries SET next_attempt_at = $1 WHERE status = 'pending'")
            .bind(past).execute(pool).await.map(|_| ()).unwrap();
    });
    let mut settings = environment(&[
        ("PORT", "0"),
        ("ADMIN_PORT", "0"),
        ("DATABASE_URL", database.url()),
        ("QUEUE_PREFIX", &fresh_prefix()),
        ("MOCK_API_BASE_URL", &marketplace.url()),
        (
            "TOKEN_ENCRYPTION_KEY",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        ),
        ("SYNC_CRON", "* * * * * *"),
        ("CALLBACK_CRON", "* * * * * *"),
        ("LOG_FORMAT", "json"),
    ]);
    if on == Server {
        settings.push(("REDIS_URL".to_owned(), shared_redis()));
    }
    let process = Process::start(&["serve"], &settings);
    process.wait_for_event("job_completed").await;
    subscriber.has_received("/webhook", 1).await;
    // The failed, the rate-limited and the pending row; the dead letter stays one.
    let url = format!(
        "http://{}/stores/sync-status",
        process.address("public").await
    );
    let answer = reqwest::get(format!(
        "{url}?syncToken=019b0000-0000-7000-8000-000000000002"
    ));
    let status: Value = answer.await.unwrap().json().await.unwrap();
    assert_eq!(status["importedOrders"], json!(4), "{status}");
    assert_eq!(marketplace.calls().len(), 3);
    process.signal("TERM");
    let stopped = tokio::time::timeout(Duration::from_secs(20), process.exit()).await;
    assert_eq!(stopped.unwrap().code, Some(0));
}
