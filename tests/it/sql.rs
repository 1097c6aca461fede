//! Every statement of the program is one that both databases understand.

use std::collections::{BTreeMap, BTreeSet};

use marketplace_sync::db::{Db, Dialect, Statement};
use rstest::rstest;
use sqlx::{Executor, SqlSafeStr};

use crate::support::app::Profile;
use crate::support::app::Profile::{Embedded, Server};
use crate::support::database::TestDatabase;

/// The statements of one dialect, or those of both, each text once.
pub(crate) fn statements(on: Dialect) -> Vec<&'static Statement> {
    let meant = |only: Option<Dialect>| only.is_none_or(|only| only == on);
    let by_text: BTreeMap<&str, &Statement> = Statement::all()
        .filter(|statement| meant(statement.only))
        .map(|statement| (statement.text, statement))
        .collect();
    by_text.into_values().collect()
}

/// DM-5, and the contract of `sql!`: whatever is marked can be prepared on the migrated schema.
#[rstest]
#[tokio::test]
async fn every_statement_can_be_prepared(#[values(Embedded, Server)] on: Profile) {
    let database = TestDatabase::create(on).await;
    let db = Db::connect(database.url(), 2).await.unwrap();
    db.migrate().await.unwrap();
    let statements = statements(db.dialect());
    assert!(
        statements.len() > 30,
        "only {} statements are registered",
        statements.len()
    );
    let mut failures = Vec::new();
    for Statement {
        text, file, line, ..
    } in statements
    {
        // Outside a transaction: on PostgreSQL the first failure would end it.
        let outcome = match &db {
            Db::Postgres(pool) => pool.prepare(text.into_sql_str()).await.map(|_| ()),
            Db::Sqlite { writer, .. } => writer.prepare(text.into_sql_str()).await.map(|_| ()),
        };
        if let Err(error) = outcome {
            failures.push(format!("{file}:{line} {error}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// How many statements have a text for each database.
const SPLITS: usize = 104;

#[test]
fn few_statements_have_two_texts() {
    let texts = |only| -> BTreeSet<&str> {
        Statement::all()
            .filter(|statement| statement.only == only)
            .map(|it| it.text)
            .collect()
    };
    let shared = texts(None).len();
    let [postgres, sqlite] = [Dialect::Postgres, Dialect::Sqlite].map(|on| texts(Some(on)).len());
    assert_eq!(
        postgres, sqlite,
        "a statement of one database only has no twin"
    );
    assert!(
        postgres <= SPLITS,
        "{postgres} of {} statements have a text for each database, and {SPLITS} is what we \
         have got by with: lists bound as JSON, of one store or of many callers' at once, what is aggregated as JSON, series of numbers, the locks (of rows, of an organization, of a key, for one or for many) that SQLite has no need of, the index that it does not choose by itself, and \
         an index that it must be told to use, and the export of the schema. A new split doubles what must be read, tested and kept in \
         step; look for one text first (bind the clock, `ON CONFLICT`, `IS DISTINCT FROM`, \
         `CAST($1 AS TEXT) IS NULL OR …`), then raise the number in the same commit and say why.",
        shared + postgres
    );
}
