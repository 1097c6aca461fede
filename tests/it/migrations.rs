//! Both databases have the same schema, and every process may bring it up to date.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use marketplace_sync::db::{Db, DbError, Statement};
use rstest::rstest;
use sqlx::AssertSqlSafe;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, on};
use crate::support::database::TestDatabase;

fn folder(dialect: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("migrations")
        .join(dialect)
}

/// The migrations of a dialect: file name and text, without comments.
fn migrations(dialect: &str) -> BTreeMap<String, String> {
    let without_comment = |line: &str| line.split("--").next().unwrap_or_default().to_owned();
    fs::read_dir(folder(dialect))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let text = fs::read_to_string(entry.path()).unwrap();
            let lines: Vec<String> = text.lines().map(without_comment).collect();
            (entry.file_name().into_string().unwrap(), lines.join("\n"))
        })
        .collect()
}

async fn migrated(on: Profile) -> (TestDatabase, Db) {
    let database = TestDatabase::create_empty(on).await;
    let db = Db::connect(database.url(), 4).await.unwrap();
    db.migrate().await.unwrap();
    (database, db)
}

#[test]
fn every_migration_has_its_twin() {
    let [postgres, sqlite] = ["postgres", "sqlite"].map(migrations);
    assert!(!postgres.is_empty());
    assert_eq!(
        postgres.keys().collect::<Vec<_>>(),
        sqlite.keys().collect::<Vec<_>>()
    );
    for (number, name) in (1..).zip(postgres.keys()) {
        assert!(
            name.starts_with(&format!("{number:04}_")),
            "{name} is not number {number}"
        );
    }
}

/// DM-1, DM-6: no default but a constant, no extension, no type that only one database has.
#[test]
fn no_migration_does_what_the_application_should() {
    for (name, text) in migrations("postgres")
        .into_iter()
        .chain(migrations("sqlite"))
    {
        let text = text.to_uppercase();
        for word in [
            "NOW()",
            "CURRENT_TIMESTAMP",
            "DATETIME(",
            "RANDOM",
            "UUID_GENERATE",
            "EXTENSION",
            "CREATE TYPE",
            "SERIAL",
            "AUTOINCREMENT",
            "TRIGGER",
            "CREATE FUNCTION",
            "TIMESTAMP ",
        ] {
            assert!(!text.contains(word), "{name} has `{word}`");
        }
    }
    for (name, text) in migrations("sqlite") {
        for statement in text.split(';').filter(|part| part.contains("CREATE TABLE")) {
            assert!(
                statement.trim_end().ends_with("STRICT"),
                "{name}: not STRICT: {statement}"
            );
        }
    }
}

/// Rolling upgrades: the former release runs on while the database is migrated, so what it knows
/// must stay as it is. Later migrations add tables, columns that old rows and old statements need
/// not fill, and indexes that no old row breaks. An index that no statement names may go, which
/// makes the former release slower at worst, and how full pages are is nobody's business.
#[test]
fn migrations_after_the_first_release_only_add() {
    for (name, text) in migrations("postgres")
        .into_iter()
        .chain(migrations("sqlite"))
        .filter(|(name, _)| name.as_str() > "0004")
    {
        let mut own = BTreeSet::new();
        for statement in text.split(';').map(str::trim).filter(|it| !it.is_empty()) {
            let flat = statement.split_whitespace().collect::<Vec<_>>().join(" ");
            let words: Vec<&str> = flat.split(' ').collect();
            let only_adds = match words[..] {
                ["CREATE", "TABLE", table, ..] => own.insert(table.to_owned()),
                // The last two: the text of a check, replaced by one that lets more in.
                ["CREATE", "INDEX", ..]
                | ["ALTER", "TABLE", _, "SET", "(fillfactor", "=", _]
                | ["PRAGMA", "writable_schema", ..]
                | ["UPDATE", "sqlite_schema", ..] => true,
                ["CREATE", "UNIQUE", "INDEX", _, "ON", table, ..] => own.contains(table),
                ["DROP", "INDEX", index] => {
                    let named = format!("INDEXED BY {index}");
                    !Statement::all().any(|it| it.text.contains(&named))
                }
                ["ALTER", "TABLE", _, "ADD", "COLUMN", ..] => {
                    let may_be_left_out = flat.contains(" DEFAULT ") || !flat.contains("NOT NULL");
                    may_be_left_out && !flat.contains("UNIQUE") && !flat.contains("REFERENCES")
                }
                // The same: it comes back at once, wider.
                ["ALTER", "TABLE", _, "DROP", "CONSTRAINT", check] => {
                    text.contains(&format!("ADD CONSTRAINT {check}"))
                }
                ["ALTER", "TABLE", _, "ADD", "CONSTRAINT", check, ..] => {
                    text.contains(&format!("DROP CONSTRAINT {check}"))
                }
                _ => false,
            };
            assert!(only_adds, "{name}: the release before may fail on: {flat}");
        }
    }
}

/// What the enums of the model are on both databases: the words of a CHECK.
#[test]
fn an_enum_has_the_same_check_on_both_databases() {
    let checks = |dialect| -> BTreeSet<String> {
        let text: String = migrations(dialect).into_values().collect();
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let words = |part: &str| Some(format!("{})", part.split_once(')')?.0));
        // `is_active IN (0, 1)` is what SQLite has for BOOLEAN.
        let checks = flat.split("CHECK (").skip(1).filter_map(words);
        let mut checks: BTreeSet<String> = checks.filter(|it| it.contains("IN ('")).collect();
        // In SQLite a check is widened by replacing its text: `'(…)', '(…)')`, quotes doubled.
        for replaced in flat.split("REPLACE(sql, '").skip(1) {
            let (from, rest) = replaced.split_once(")', '").unwrap();
            let to = rest.split_once(")'").unwrap().0;
            let [from, to] = [from, to].map(|it| format!("{})", it.replace("''", "'")));
            let former = checks.iter().find(|it| it.ends_with(&from)).cloned();
            let former = former.unwrap_or_else(|| panic!("no check has {from}"));
            checks.insert(former.replace(&from, &to));
        }
        checks
    };
    let postgres = checks("postgres");
    assert_eq!(postgres, checks("sqlite"));
    for column in ["marketplace", "sync_status", "status", "event"] {
        let start = format!("{column} IN (");
        assert!(
            postgres.iter().any(|check| check.starts_with(&start)),
            "{column} has no CHECK"
        );
    }
}

/// Table and column, to type and nullability.
type Columns = BTreeMap<(String, String), (String, bool)>;

async fn columns(db: &Db) -> Columns {
    let sql = match db {
        Db::Postgres(_) => {
            "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT),
                 CAST(data_type AS TEXT), is_nullable = 'YES'
             FROM information_schema.columns WHERE table_schema = 'public'"
        }
        Db::Sqlite { .. } => {
            "SELECT m.name, c.name, c.type, c.\"notnull\" = 0
             FROM sqlite_schema AS m, pragma_table_info(m.name) AS c WHERE m.type = 'table'"
        }
    };
    let rows: Vec<(String, String, String, bool)> =
        on!(db, pool => sqlx::query_as(sql).fetch_all(pool).await.unwrap());
    rows.into_iter()
        .filter(|(table, ..)| table != "_sqlx_migrations")
        .map(|(table, column, kind, nullable)| ((table, column), (kind, nullable)))
        .collect()
}

/// What SQLite (STRICT) has for a type of PostgreSQL.
fn on_sqlite(kind: &str) -> &str {
    match kind {
        "uuid" => "BLOB",
        "date" | "text" | "character varying" | "timestamp with time zone" | "jsonb" => "TEXT",
        "bigint" | "integer" | "boolean" => "INTEGER",
        "double precision" => "REAL",
        other => panic!("the type table of `db` has no {other}"),
    }
}

#[tokio::test]
async fn both_databases_have_the_same_tables_columns_and_nullability() {
    let (_first, sqlite) = migrated(Embedded).await;
    let (_second, postgres) = migrated(Server).await;
    let expected: Columns = columns(&postgres)
        .await
        .into_iter()
        .map(|(place, (kind, nullable))| (place, (on_sqlite(&kind).to_owned(), nullable)))
        .collect();
    assert!(expected.len() > 50, "{expected:#?}");
    assert_eq!(columns(&sqlite).await, expected);
    assert_eq!(indexes(&sqlite).await, indexes(&postgres).await);
}

/// The indexes that have a name of ours.
async fn indexes(db: &Db) -> BTreeSet<String> {
    let schema = db.schema().await.unwrap();
    let name = |line: &str| {
        line.strip_prefix("CREATE INDEX ")?
            .split(' ')
            .next()
            .map(str::to_owned)
    };
    schema.lines().filter_map(name).collect()
}

/// The applied migrations, and when.
async fn applied(db: &Db) -> Vec<(i64, String)> {
    on!(db, pool => sqlx::query_as(
        "SELECT version, CAST(installed_on AS TEXT) FROM _sqlx_migrations ORDER BY version")
        .fetch_all(pool).await.unwrap())
}

///
#[rstest]
#[tokio::test]
async fn migrating_twice_changes_nothing(#[values(Embedded, Server)] on: Profile) {
    let (_database, db) = migrated(on).await;
    let before = (applied(&db).await, db.schema().await.unwrap());
    db.migrate().await.unwrap();
    assert_eq!((applied(&db).await, db.schema().await.unwrap()), before);
    db.ping().await.unwrap();
}

#[rstest]
#[tokio::test]
async fn several_processes_may_migrate_at_once(#[values(Embedded, Server)] on: Profile) {
    let database = TestDatabase::create_empty(on).await;
    let migrate = async || {
        let db = Db::connect(database.url(), 2).await.unwrap();
        db.migrate().await.unwrap();
        applied(&db).await.len()
    };
    let (a, b, c, d) = tokio::join!(migrate(), migrate(), migrate(), migrate());
    assert_eq!([a, b, c, d], [migrations("sqlite").len(); 4]);
}

#[rstest]
#[tokio::test]
async fn a_newer_database_is_refused(#[values(Embedded, Server)] on: Profile) {
    let (_database, db) = migrated(on).await;
    on!(&db, pool => sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         SELECT 9999, 'from the future', success, checksum, 0 FROM _sqlx_migrations LIMIT 1")
        .execute(pool).await.map(|_| ()).unwrap());
    let error = db.migrate().await.unwrap_err();
    assert!(matches!(error, DbError::NewerThanBinary(9999)), "{error:?}");
    assert_eq!(
        error.to_string(),
        "the database has migration 9999, which this release does not know: \
         start the release that made it, or a newer one"
    );
}

/// DM-15.
#[rstest]
#[case(Embedded, "sqlite", "sqlite:/tmp/schema.db")]
#[case(Server, "postgres", "postgres://… REDIS_URL=redis://…")]
#[tokio::test]
async fn the_committed_schema_is_what_the_migrations_make(
    #[case] on: Profile,
    #[case] dialect: &str,
    #[case] url: &str,
) {
    let (_database, db) = migrated(on).await;
    let path = folder("").join(format!("schema.{dialect}.sql"));
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == db.schema().await.unwrap(),
        "migrations/schema.{dialect}.sql is stale: on an empty database, run\n\
         DATABASE_URL={url} cargo run -- export-schema --output migrations/schema.{dialect}.sql"
    );
}

/// Nothing is left out: the exported text makes the same schema.
#[rstest]
#[tokio::test]
async fn the_exported_schema_makes_the_same_schema(#[values(Embedded, Server)] on: Profile) {
    let (_database, db) = migrated(on).await;
    let schema = db.schema().await.unwrap();
    let database = TestDatabase::create_empty(on).await;
    let copy = Db::connect(database.url(), 2).await.unwrap();
    on!(&copy, pool => sqlx::raw_sql(AssertSqlSafe(schema.clone()))
        .execute(pool).await.map(|_| ()).unwrap());
    assert_eq!(copy.schema().await.unwrap(), schema);
    assert_eq!(columns(&copy).await, columns(&db).await);
}
