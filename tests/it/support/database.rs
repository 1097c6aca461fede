//! A database a test: a SQLite file, or a copy of a migrated PostgreSQL database.

use std::process::id;

use marketplace_sync::db::Db;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::app::Profile;

/// Runs one expression on the pool of either database.
macro_rules! on {
    ($db:expr, $pool:ident => $query:expr) => {
        match $db {
            marketplace_sync::db::Db::Postgres($pool) => $query,
            marketplace_sync::db::Db::Sqlite { writer: $pool, .. } => $query,
        }
    };
}
pub(crate) use on;

/// Gone when it is dropped.
pub(crate) struct TestDatabase {
    url: String,
    name: Option<String>,
    _folder: TempDir,
}

impl TestDatabase {
    /// A migrated database.
    pub(crate) async fn create(on: Profile) -> Self {
        match on {
            Profile::Embedded => Self::sqlite(),
            Profile::Server => {
                let template = TEMPLATE.get_or_init(create_template).await;
                Self::postgres(&format!(" TEMPLATE {template}")).await
            }
        }
    }

    /// A database without any table.
    pub(crate) async fn create_empty(on: Profile) -> Self {
        match on {
            Profile::Embedded => Self::sqlite(),
            Profile::Server => Self::postgres("").await,
        }
    }

    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("test.db").display());
        Self {
            url,
            name: None,
            _folder: folder,
        }
    }

    async fn postgres(options: &str) -> Self {
        let name = format!("test_{}_{:x}", id(), getrandom::u64().unwrap());
        execute(&format!("CREATE DATABASE {name}{options}")).await;
        let url = url_of(&name);
        Self {
            url,
            name: Some(name),
            _folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Its address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Its address for somebody with this password; SQLite has none.
    pub(crate) async fn url_with_password(&self, password: &str) -> String {
        if self.name.is_none() {
            return self.url.clone();
        }
        let user = format!("somebody_{:x}", getrandom::u64().unwrap());
        execute(&format!(
            "CREATE ROLE {user} SUPERUSER LOGIN PASSWORD '{password}'"
        ))
        .await;
        let mut url: reqwest::Url = self.url.parse().unwrap();
        url.set_username(&user).unwrap();
        url.set_password(Some(password)).unwrap();
        url.into()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Some(name) = self.name.take() else { return };
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(execute(&format!("DROP DATABASE {name} WITH (FORCE)")));
        });
        dropped.join().ok();
    }
}

static TEMPLATE: OnceCell<String> = OnceCell::const_new();

/// Migrated once a test run, copied for each test.
async fn create_template() -> String {
    let name = format!("template_{}_{:x}", id(), getrandom::u64().unwrap());
    execute(&format!("CREATE DATABASE {name}")).await;
    let db = Db::connect(&url_of(&name), 2).await.unwrap();
    db.migrate().await.unwrap();
    db.close().await;
    name
}

fn server() -> PgConnectOptions {
    #[expect(clippy::disallowed_methods, reason = "the tests' own setting")]
    let url = std::env::var("TEST_DATABASE_URL")
        .expect("TEST_DATABASE_URL names a PostgreSQL server: run scripts/test");
    url.parse().unwrap()
}

fn url_of(database: &str) -> String {
    server().database(database).to_url_lossy().to_string()
}

async fn execute(sql: &str) {
    let mut connection = PgConnection::connect_with(&server()).await.unwrap();
    connection
        .execute(AssertSqlSafe(sql.to_owned()))
        .await
        .unwrap();
    connection.close().await.unwrap();
}
