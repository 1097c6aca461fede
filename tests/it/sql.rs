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
const SPLITS: usize = 18;

#[test]
fn few_statements_have_two_texts() {
    let texts = |only, is_written_apart| -> BTreeSet<&str> {
        Statement::all()
            .filter(|it| it.only == only && it.is_written_apart == is_written_apart)
            .map(|it| it.text)
            .collect()
    };
    let of_each = |is_written_apart| {
        let [postgres, sqlite] =
            [Dialect::Postgres, Dialect::Sqlite].map(|on| texts(Some(on), is_written_apart).len());
        assert_eq!(
            postgres, sqlite,
            "a statement of one database only has no twin"
        );
        postgres
    };
    let in_pieces = of_each(false);
    let split = of_each(true);
    let all = texts(None, false).len() + in_pieces + split;
    assert!(
        split <= SPLITS,
        "{split} of {all} statements have a text for each database, and {SPLITS} is what we have \
         got by with. A new split doubles what must be read, tested and kept in step; look for one \
         text first (bind the clock, `ON CONFLICT`, `IS DISTINCT FROM`, \
         `CAST($1 AS TEXT) IS NULL OR …`), or for one in pieces (`both!`: a list bound as JSON, a \
         lock, an index that SQLite must be told to use), then raise the number in the same commit \
         and say why."
    );
}
