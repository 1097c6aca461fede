//! How the databases would run the statements that run all the time: by an index, whatever
//! the history.
//!
//! On 2,000 stores and 200,000 receipts, half of them of one store. PostgreSQL is asked
//! often enough for it to change from plans of these very values to the generic one, if that is
//! what it would do with a prepared statement; SQLite before `ANALYZE`, which nobody runs on it, and after.

use std::collections::BTreeSet;

use marketplace_sync::db::{Db, Dialect};
use rstest::rstest;
use sqlx::{AssertSqlSafe, Row};

use crate::sql::statements;
use crate::support::app::Profile;
use crate::support::app::Profile::{Embedded, Server};
use crate::support::database::TestDatabase;

/// A statement that runs all the time.
struct Hot {
    name: &'static str,
    /// What only its text has, whitespace aside.
    part: &'static str,
    /// PostgreSQL's literals for `$1`, `$2`, …
    arguments: &'static str,
    /// The indexes that PostgreSQL uses.
    postgres: &'static [&'static str],
    /// The indexes that SQLite uses; it does not show how it finds a conflict.
    sqlite: &'static [&'static str],
    /// Whether it sorts what it was given, which is never more than a page or a batch.
    sorts: bool,
}

const STORE: &str = "'00000000-0000-0000-0000-000000000001'";
const OTHER: &str = "'00000000-0000-0000-0000-000000000002'";
const NOW: &str = "'2024-01-01T12:00:00Z'";

const HOT: &[Hot] = &[
    Hot {
        name: "store_by_token",
        part: "FROM stores WHERE sync_token = $1",
        arguments: "STORE",
        postgres: &["stores_sync_token_key"],
        sqlite: &["sqlite_autoindex_stores_2"],
        sorts: false,
    },
    Hot {
        name: "receipts",
        part: "next_retry_at, imported_at FROM sync_logs WHERE store_id = $1 AND receipt",
        arguments: r#"STORE, '["receipt-2", "receipt-4"]'"#,
        postgres: &["sync_logs_store_id_receipt_key"],
        sqlite: &["sqlite_autoindex_sync_logs_2"],
        sorts: false,
    },
    Hot {
        name: "claim_receipts",
        part: "INSERT INTO sync_logs",
        arguments: r#"'[{"id": "00000000000000000000000000ffffff", "receipt": "new"}]', STORE, NOW, NOW"#,
        postgres: &["sync_logs_store_id_receipt_key"],
        sqlite: &[],
        sorts: true,
    },
    Hot {
        name: "take_over_claim",
        part: "UPDATE sync_logs SET next_retry_at = $2",
        arguments: "STORE, NOW, NOW",
        postgres: &["sync_logs_pkey"],
        sqlite: &["sqlite_autoindex_sync_logs_1"],
        sorts: false,
    },
    Hot {
        name: "record_outcomes",
        part: "SET status = o.status",
        arguments: r#"'[{"id": "00000000000000000000000000000001", "status": "failed"}]', NOW"#,
        postgres: &["sync_logs_pkey"],
        sqlite: &["sqlite_autoindex_sync_logs_1"],
        sorts: false,
    },
    Hot {
        name: "newest_outcomes",
        part: "SELECT status FROM sync_logs",
        arguments: "STORE",
        postgres: &["sync_logs_window_idx"],
        sqlite: &["sync_logs_window_idx"],
        sorts: false,
    },
    Hot {
        name: "newest_states",
        part: "SELECT receipt, status, attempt",
        arguments: "STORE, 20",
        postgres: &["sync_logs_window_idx"],
        sqlite: &["sync_logs_window_idx"],
        sorts: false,
    },
    Hot {
        name: "rate_limited_count",
        part: "SELECT COUNT(*) FROM sync_logs WHERE store_id = $1 AND status = 'rate_limited'",
        arguments: "STORE",
        postgres: &["sync_logs_rate_limited_idx"],
        sqlite: &["sync_logs_rate_limited_idx"],
        sorts: false,
    },
    Hot {
        name: "due_rows",
        part: "SELECT id, receipt, created_at, attempt, failed_attempt",
        arguments: "STORE, NOW, '1970-01-01T00:00:00Z', OTHER, 100",
        postgres: &["sync_logs_batch_idx"],
        sqlite: &["sync_logs_batch_idx"],
        sorts: false,
    },
    Hot {
        name: "due_stores",
        part: "SELECT s.id, s.created_at",
        arguments: "'1970-01-01T00:00:00Z', OTHER, NOW, NOW, '2024-01-01T11:50:00Z', 100",
        postgres: &["stores_created_at_id_idx", "sync_logs_due_idx"],
        sqlite: &["stores_created_at_id_idx", "sync_logs_due_idx"],
        sorts: false,
    },
    Hot {
        name: "claim_slots",
        part: "UPDATE stores SET enqueued_until = $2",
        arguments: r#"'["00000000-0000-0000-0000-000000000001"]', NOW, NOW"#,
        postgres: &["stores_pkey"],
        sqlite: &["sqlite_autoindex_stores_1"],
        sorts: true,
    },
    Hot {
        name: "move_slots",
        part: "UPDATE stores SET enqueued_until = $3",
        arguments: r#"'["00000000-0000-0000-0000-000000000001"]', NOW, NOW"#,
        postgres: &["stores_pkey"],
        sqlite: &["sqlite_autoindex_stores_1"],
        sorts: true,
    },
    Hot {
        name: "lock_leased_store",
        part: "SELECT 1 FROM stores WHERE id = $1 AND lease_token = $2",
        arguments: "STORE, OTHER",
        postgres: &["stores_pkey"],
        sqlite: &["sqlite_autoindex_stores_1"],
        sorts: false,
    },
    Hot {
        name: "record_attempt",
        part: "SET imported_success_count = imported_success_count + $2",
        arguments: "STORE, 1, 'success', NOW",
        postgres: &["stores_pkey"],
        sqlite: &["sqlite_autoindex_stores_1"],
        sorts: false,
    },
    Hot {
        name: "clear_expired_leases",
        part: "WHERE lease_expires_at <= $1",
        arguments: "NOW",
        postgres: &["stores_lease_idx"],
        sqlite: &["stores_lease_idx"],
        sorts: false,
    },
    Hot {
        name: "claim_tick",
        part: "INSERT INTO schedule_ticks",
        arguments: "'sync', NOW, NOW",
        postgres: &["schedule_ticks_pkey"],
        sqlite: &[],
        sorts: false,
    },
    Hot {
        name: "purge_ticks",
        part: "DELETE FROM schedule_ticks",
        arguments: "'2023-12-31T00:00:00Z'",
        postgres: &["schedule_ticks_tick_idx"],
        sqlite: &["schedule_ticks_tick_idx"],
        sorts: false,
    },
];

impl Hot {
    fn text(&self, on: Dialect) -> &'static str {
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut found = statements(on)
            .into_iter()
            .map(|statement| statement.text)
            .filter(|text| flat(text).contains(self.part));
        let text = found
            .next()
            .unwrap_or_else(|| panic!("no statement has `{}`", self.part));
        assert_eq!(
            found.next(),
            None,
            "several statements have `{}`",
            self.part
        );
        text
    }

    /// What is wrong with a plan, given line by line; nothing if it is as it should be.
    fn fault(&self, way: &str, expected: &[&str], plan: &[String]) -> Option<String> {
        let used: BTreeSet<&str> = plan.iter().filter_map(|line| index_of(line)).collect();
        let scans = plan.iter().any(|line| is_scan(line));
        let sorts = plan
            .iter()
            .any(|line| line.contains("Sort") || line.contains("TEMP B-TREE"));
        let is_as_expected = used.iter().copied().eq(expected.iter().copied());
        (!is_as_expected || scans || (sorts && !self.sorts)).then(|| {
            format!(
                "{} ({way}): expected {expected:?}\n{}\n",
                self.name,
                plan.join("\n")
            )
        })
    }
}

/// The index that a line of a plan names.
fn index_of(line: &str) -> Option<&str> {
    [
        "Conflict Arbiter Indexes: ",
        "Index Scan on ",
        " using ",
        "COVERING INDEX ",
        "USING INDEX ",
    ]
    .into_iter()
    .find_map(|before| line.split_once(before))
    .and_then(|(_, after)| after.split_whitespace().next())
}

/// Whether a line of a plan reads a whole table, or a whole index (which a hashed sub-plan does);
/// lists given as JSON are short.
fn is_scan(line: &str) -> bool {
    line.contains("Seq Scan")
        || line.contains("hashed SubPlan")
        || line.starts_with("SCAN ") && !line.contains("json_each") && !line.contains("VIRTUAL")
}

#[rstest]
#[tokio::test]
async fn what_runs_all_the_time_runs_by_an_index(#[values(Embedded, Server)] on: Profile) {
    let database = TestDatabase::create(on).await;
    let db = Db::connect(database.url(), 2).await.unwrap();
    db.migrate().await.unwrap();
    let faults = match &db {
        Db::Postgres(pool) => {
            sqlx::raw_sql(SEED_POSTGRES).execute(pool).await.unwrap();
            faults_on_postgres(pool).await
        }
        Db::Sqlite { writer, .. } => {
            sqlx::raw_sql(SEED_SQLITE).execute(writer).await.unwrap();
            let mut faults = faults_on_sqlite(writer, "without statistics").await;
            sqlx::raw_sql("ANALYZE").execute(writer).await.unwrap();
            faults.extend(faults_on_sqlite(writer, "with statistics").await);
            faults
        }
    };
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

async fn faults_on_postgres(pool: &sqlx::PgPool) -> Vec<String> {
    let mut connection = pool.acquire().await.unwrap();
    let mut faults = Vec::new();
    for hot in HOT {
        let prepare = format!("PREPARE hot AS {}", hot.text(Dialect::Postgres));
        sqlx::raw_sql(AssertSqlSafe(prepare))
            .execute(&mut *connection)
            .await
            .unwrap();
        let arguments = hot
            .arguments
            .replace("STORE", STORE)
            .replace("OTHER", OTHER)
            .replace("NOW", NOW);
        // The first five plans are made for the values; then PostgreSQL weighs the generic one.
        for way in ["1st", "2nd", "3rd", "4th", "5th", "6th", "7th"] {
            let explain = format!("EXPLAIN EXECUTE hot ({arguments})");
            let plan: Vec<String> = sqlx::raw_sql(AssertSqlSafe(explain))
                .fetch_all(&mut *connection)
                .await
                .unwrap_or_else(|error| panic!("{}: {error}", hot.name))
                .iter()
                .map(|row| row.get(0))
                .collect();
            faults.extend(hot.fault(way, hot.postgres, &plan));
        }
        sqlx::raw_sql("DEALLOCATE hot")
            .execute(&mut *connection)
            .await
            .unwrap();
    }
    faults
}

async fn faults_on_sqlite(pool: &sqlx::SqlitePool, way: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for hot in HOT {
        let explain = format!("EXPLAIN QUERY PLAN {}", hot.text(Dialect::Sqlite));
        let plan: Vec<String> = sqlx::query(AssertSqlSafe(explain))
            .fetch_all(pool)
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", hot.name))
            .iter()
            .map(|row| row.get("detail"))
            .collect();
        faults.extend(hot.fault(way, hot.sqlite, &plan));
    }
    faults
}

const SEED_POSTGRES: &str = "
    INSERT INTO stores (id, organization_id, marketplace, external_store_id, store_name,
        access_token, currency, sync_token, last_sync_at, created_at, updated_at, lease_expires_at)
    SELECT CAST(lpad(to_hex(n), 32, '0') AS UUID), 'org-' || n % 50, 'etsy', 'shop-' || n, 'Shop',
        'token', 'USD', CAST(lpad(to_hex(n + 1000000), 32, '0') AS UUID),
        TIMESTAMPTZ '2024-01-01 12:00:00Z' - n % 100 * INTERVAL '10 seconds',
        TIMESTAMPTZ '2023-01-01 00:00:00Z' + n * INTERVAL '1 hour',
        TIMESTAMPTZ '2023-01-01 00:00:00Z' + n * INTERVAL '1 hour',
        CASE WHEN n % 100 = 0 THEN TIMESTAMPTZ '2024-01-01 12:00:10Z' END
    FROM generate_series(1, 2000) AS n;
    INSERT INTO sync_logs (id, store_id, receipt, status, next_retry_at, dead_at, created_at,
        updated_at)
    SELECT CAST(lpad(to_hex(n), 32, '0') AS UUID),
        CAST(lpad(to_hex(CASE n % 2 WHEN 0 THEN 1 ELSE 2 + n / 2 % 1999 END), 32, '0') AS UUID),
        'receipt-' || n,
        CASE WHEN n / 2 % 100 < 90 THEN 'success' WHEN n / 2 % 100 < 95 THEN 'failed'
            WHEN n / 2 % 100 < 98 THEN 'rate_limited' WHEN n / 2 % 100 < 99 THEN 'pending'
            ELSE 'failed' END,
        CASE WHEN n / 2 % 100 BETWEEN 92 AND 97
            THEN TIMESTAMPTZ '2024-01-01 11:00:00Z' + n % 7200 * INTERVAL '1 second' END,
        CASE WHEN n / 2 % 100 = 99 THEN TIMESTAMPTZ '2023-12-01 00:00:00Z' END,
        TIMESTAMPTZ '2023-06-01 00:00:00Z' + n * INTERVAL '1 second',
        TIMESTAMPTZ '2023-06-01 00:00:00Z' + n * INTERVAL '1 second'
    FROM generate_series(1, 200000) AS n;
    INSERT INTO schedule_ticks (schedule, tick, claimed_at)
    SELECT s, TIMESTAMPTZ '2024-01-01 12:00:00Z' - n * INTERVAL '30 seconds', now()
    FROM generate_series(1, 2900) AS n, unnest(ARRAY['sync', 'callback', 'housekeeping']) AS s;
    ANALYZE;";

const SEED_SQLITE: &str = "
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 2000)
    INSERT INTO stores (id, organization_id, marketplace, external_store_id, store_name,
        access_token, currency, sync_token, last_sync_at, created_at, updated_at, lease_expires_at)
    SELECT unhex(printf('%032x', n)), 'org-' || n % 50, 'etsy', 'shop-' || n, 'Shop',
        'token', 'USD', unhex(printf('%032x', n + 1000000)),
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1704110400 - n % 100 * 10, 'unixepoch'),
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1672531200 + n * 3600, 'unixepoch'),
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1672531200 + n * 3600, 'unixepoch'),
        CASE WHEN n % 100 = 0 THEN '2024-01-01T12:00:10+00:00' END
    FROM series;
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 200000)
    INSERT INTO sync_logs (id, store_id, receipt, status, next_retry_at, dead_at, created_at,
        updated_at)
    SELECT unhex(printf('%032x', n)),
        unhex(printf('%032x', CASE n % 2 WHEN 0 THEN 1 ELSE 2 + n / 2 % 1999 END)),
        'receipt-' || n,
        CASE WHEN n / 2 % 100 < 90 THEN 'success' WHEN n / 2 % 100 < 95 THEN 'failed'
            WHEN n / 2 % 100 < 98 THEN 'rate_limited' WHEN n / 2 % 100 < 99 THEN 'pending'
            ELSE 'failed' END,
        CASE WHEN n / 2 % 100 BETWEEN 92 AND 97
            THEN strftime('%Y-%m-%dT%H:%M:%S+00:00', 1704106800 + n % 7200, 'unixepoch') END,
        CASE WHEN n / 2 % 100 = 99 THEN '2023-12-01T00:00:00+00:00' END,
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1685577600 + n, 'unixepoch'),
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1685577600 + n, 'unixepoch')
    FROM series;
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 2900)
    INSERT INTO schedule_ticks (schedule, tick, claimed_at)
    SELECT value, strftime('%Y-%m-%dT%H:%M:%S+00:00', 1704110400 - n * 30, 'unixepoch'),
        '2024-01-01T12:00:00+00:00'
    FROM series, json_each('[\"sync\", \"callback\", \"housekeeping\"]');";
