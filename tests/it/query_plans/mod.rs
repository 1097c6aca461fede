//! How the databases would run the statements that run all the time: by an index, whatever
//! the history.
//!
//! PostgreSQL is asked often enough for it to change from plans of these very values to the
//! generic one, if that is what it would do with a prepared statement. Its statistics are of every
//! row and nobody else gathers any, so that it answers the same each time. SQLite is asked before
//! `ANALYZE`, which nobody runs on it, and after.

#![expect(clippy::print_stdout, reason = "plans to read when one is wrong")]

mod idempotency;
mod keys;
mod marketplace;
mod movements;
mod operators;
mod operators_stock;
mod stock_catalogue;
mod stock_history;
mod stock_push;
mod webhooks;

use std::collections::BTreeSet;

use marketplace_sync::db::{Db, Dialect, Statement};
use rstest::rstest;
use sqlx::{AssertSqlSafe, Row};

use crate::sql::statements;
use crate::support::app::Profile;
use crate::support::app::Profile::{Embedded, Server};
use crate::support::database::TestDatabase;

/// A statement that runs all the time.
struct Hot {
    name: &'static str,
    /// What only its text has, whitespace aside; with `$` at the end, all of it.
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
/// A list of one id.
const ONE: &str = r#"'["00000000000000000000000000000001"]'"#;
const NOW: &str = "'2024-01-01T12:00:00Z'";

impl Hot {
    fn text(&self, on: Dialect) -> &'static str {
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut found = statements(on)
            .into_iter()
            .map(|statement| statement.text)
            .filter(|text| match self.part.strip_suffix('$') {
                Some(whole) => flat(text) == whole,
                None => flat(text).contains(self.part),
            });
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
    fn fault(&self, way: &str, expected: &[&str], plan: &[String]) -> Option<Fault> {
        let used: BTreeSet<&str> = plan.iter().filter_map(|line| index_of(line)).collect();
        let scans =
            plan.iter().any(|line| is_scan(line)) || joins_all(plan) || reads_whole_index(plan);
        let sorts = plan
            .iter()
            .any(|line| line.contains("Sort") || line.contains("TEMP B-TREE"));
        let is_as_expected = used.iter().copied().eq(expected.iter().copied());
        let is_wrong = !is_as_expected || scans || (sorts && !self.sorts);
        let plan = plan.join("\n");
        let text = format!("{} ({way}): expected {expected:?}\n{plan}\n", self.name);
        is_wrong.then_some((self.name, text))
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

/// Whether PostgreSQL joins all that a condition on one of the tables lets through, instead of
/// looking up what belongs to each row of the other, or what a list names.
fn joins_all(plan: &[String]) -> bool {
    let has_join = plan.iter().any(|line| {
        ["Hash ", "Merge "]
            .iter()
            .any(|way| line.contains(way) && line.contains("Join"))
    });
    has_join && !plan.iter().any(|line| line.contains("= ANY ($"))
}

/// Whether PostgreSQL reads an index from end to end; those of what is rare are short.
fn reads_whole_index(plan: &[String]) -> bool {
    let rest = plan.iter().skip(1).map(String::as_str).chain([""]);
    plan.iter().zip(rest).any(|(line, next)| {
        line.contains("Index")
            && line.contains(" Scan ")
            && !next.contains("Index Cond:")
            && !index_of(line).is_some_and(|name| RARE.contains(&name))
    })
}

/// Indexes of what is rare, whatever the history.
const RARE: [&str; 5] = [
    "marketplace_rate_limits_resync_idx",
    "stock_reservation_items_shortfall_idx",
    "stores_stock_recount_idx",
    "webhook_endpoints_inactive_idx",
    "webhook_endpoints_open_idx",
];

/// Whether SQLite reads a list anew for each row of a table.
fn rereads_list(plan: &[(i64, String)]) -> bool {
    plan.iter().enumerate().any(|(at, (parent, line))| {
        line.contains("VIRTUAL TABLE")
            && plan[..at]
                .iter()
                .any(|(of, before)| of == parent && before.starts_with("SEARCH "))
    })
}

/// Whether a line of a plan reads a whole table, or a whole index (which a hashed sub-plan does);
/// lists given as JSON are short (`ended` is one), and so are the first rows that a co-routine hands
/// over as `aged`, `head`, `live` and `waiting`, the priorities of a queue (`levels`), and the
/// indexes of endpoints that are inactive, of stores that wait for a recount, of orders that lack
/// something and of pushes on the way.
fn is_scan(line: &str) -> bool {
    line.contains("Seq Scan")
        || line.contains("hashed SubPlan")
        || line.starts_with("SCAN ")
            && line != "SCAN head"
            && line != "SCAN waiting"
            && line != "SCAN levels"
            && line != "SCAN affected"
            && line != "SCAN aged"
            && line != "SCAN ended"
            && line != "SCAN live"
            && line != "SCAN CONSTANT ROW"
            && !line.contains("json_each")
            && !line.contains("VIRTUAL")
            && !line.ends_with("USING INDEX webhook_endpoints_inactive_idx")
            && !line.ends_with("USING INDEX stores_stock_recount_idx")
            && !line.ends_with("USING INDEX stock_reservation_items_shortfall_idx")
            && !line.ends_with("USING INDEX stock_pushes_outstanding_idx")
}

/// No autovacuum gathers statistics or marks pages while the plans are looked at.
const ALONE: &str = "
    DO $$ DECLARE name TEXT; BEGIN
        FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
            EXECUTE format('ALTER TABLE %I SET (autovacuum_enabled = false)', name);
        END LOOP;
    END $$";

/// The sample is 300 rows for each unit of the target: all there are, in the same order.
const KNOW_EVERY_ROW: &str = "SET default_statistics_target = 1000; ANALYZE";

/// What is wrong with the plan of a statement: its name, and all of it.
type Fault = (&'static str, String);

/// Statements of a domain, on a history of its own.
struct Domain {
    hot: &'static [Hot],
    seed_postgres: &'static str,
    seed_sqlite: &'static str,
}

#[rstest]
#[tokio::test]
async fn what_runs_all_the_time_runs_by_an_index(
    #[values(Embedded, Server)] on: Profile,
    #[values(
        marketplace::DOMAIN,
        webhooks::DOMAIN,
        keys::DOMAIN,
        idempotency::DOMAIN,
        stock_catalogue::DOMAIN,
        stock_push::DOMAIN,
        operators::DOMAIN,
        movements::DOMAIN,
        operators_stock::DOMAIN
    )]
    domain: Domain,
) {
    let database = TestDatabase::create(on).await;
    let db = Db::connect(database.url(), 2).await.unwrap();
    db.migrate().await.unwrap();
    let faults = match &db {
        Db::Postgres(pool) => {
            for sql in [ALONE, domain.seed_postgres, KNOW_EVERY_ROW] {
                sqlx::raw_sql(sql).execute(pool).await.unwrap();
            }
            faults_on_postgres(domain.hot, pool).await
        }
        Db::Sqlite { writer, .. } => {
            sqlx::raw_sql(domain.seed_sqlite)
                .execute(writer)
                .await
                .unwrap();
            let mut faults = faults_on_sqlite(domain.hot, writer, "without statistics").await;
            sqlx::raw_sql("ANALYZE").execute(writer).await.unwrap();
            faults.extend(faults_on_sqlite(domain.hot, writer, "with statistics").await);
            faults
        }
    };
    assert_none(&faults, on);
}

fn assert_none(faults: &[Fault], on: Profile) {
    let names: BTreeSet<&str> = faults.iter().map(|(name, _)| *name).collect();
    println!("{on:?}: wrong plans: {names:?}");
    for (_, text) in faults {
        println!("{text}");
    }
    assert!(names.is_empty(), "{on:?}: wrong plans: {names:?}");
}

async fn faults_on_postgres(
    hot: impl IntoIterator<Item = &'static Hot>,
    pool: &sqlx::PgPool,
) -> Vec<Fault> {
    let mut connection = pool.acquire().await.unwrap();
    let mut faults = Vec::new();
    for hot in hot {
        let prepare = format!("PREPARE hot AS {}", hot.text(Dialect::Postgres));
        sqlx::raw_sql(AssertSqlSafe(prepare))
            .execute(&mut *connection)
            .await
            .unwrap();
        let arguments = hot
            .arguments
            .replace("STORE", STORE)
            .replace("OTHER", OTHER)
            .replace("NOW", NOW)
            .replace("ONE", ONE);
        let execute = match arguments.as_str() {
            "" => "EXPLAIN EXECUTE hot".to_owned(),
            arguments => format!("EXPLAIN EXECUTE hot ({arguments})"),
        };
        // The first five plans are made for the values; then PostgreSQL weighs the generic one.
        for way in ["1st", "2nd", "3rd", "4th", "5th", "6th", "7th"] {
            let plan: Vec<String> = sqlx::raw_sql(AssertSqlSafe(execute.as_str()))
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

async fn faults_on_sqlite(hot: &'static [Hot], pool: &sqlx::SqlitePool, way: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    for hot in hot {
        let explain = format!("EXPLAIN QUERY PLAN {}", hot.text(Dialect::Sqlite));
        let steps: Vec<(i64, String)> = sqlx::query(AssertSqlSafe(explain))
            .fetch_all(pool)
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", hot.name))
            .iter()
            .map(|row| (row.get("parent"), row.get("detail")))
            .collect();
        let is_quadratic = rereads_list(&steps);
        let plan: Vec<String> = steps.into_iter().map(|(_, line)| line).collect();
        if is_quadratic {
            let plan = plan.join("\n");
            let text = format!("{} ({way}): reads a list for each row\n{plan}\n", hot.name);
            faults.push((hot.name, text));
        }
        faults.extend(hot.fault(way, hot.sqlite, &plan));
    }
    faults
}

/// A list that a statement is given is read once, and not again for each row of a table: SQLite,
/// which has no statistics of lists, may think that nothing is cheaper than that.
#[tokio::test]
async fn sqlite_reads_no_list_for_each_row_of_a_table() {
    let database = TestDatabase::create(Embedded).await;
    let db = Db::connect(database.url(), 2).await.unwrap();
    db.migrate().await.unwrap();
    let Db::Sqlite { writer, .. } = &db else {
        panic!("the embedded profile is on SQLite")
    };
    let mut lists = 0;
    let mut faults = Vec::new();
    for Statement {
        text, file, line, ..
    } in statements(Dialect::Sqlite)
    {
        let explain = format!("EXPLAIN QUERY PLAN {text}");
        let plan = sqlx::query(AssertSqlSafe(explain))
            .fetch_all(writer)
            .await
            .unwrap_or_else(|error| panic!("{file}:{line}: {error}"));
        let mut has_table = BTreeSet::new();
        for step in plan {
            let (parent, detail): (i64, String) = (step.get("parent"), step.get("detail"));
            let is_list = detail.contains(" VIRTUAL TABLE ");
            lists += usize::from(is_list);
            if is_list && has_table.contains(&parent) {
                faults.push(format!("{file}:{line}: {detail}"));
            } else if !is_list && (detail.starts_with("SEARCH ") || detail.starts_with("SCAN ")) {
                has_table.insert(parent);
            }
        }
    }
    assert!(lists > 30, "only {lists} lists are read");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
