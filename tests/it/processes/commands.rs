//! The one-shot commands: the result on stdout, logs on stderr, an exit code for scripts.

use rstest::rstest;
use serde_json::Value;

use super::Installation;
use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::app::on;
use crate::support::database::TestDatabase;
use crate::support::process::{Environment, Exit, Process, environment, run};
use crate::support::queues::{fresh_prefix, shared_redis};

/// Runs a command that must succeed.
async fn succeed(arguments: &[&str], settings: &Environment) -> Exit {
    let exit = run(arguments, settings).await;
    assert_eq!(exit.code, Some(0), "{arguments:?}: {exit:#?}");
    exit
}

/// The one line on stdout, which is a JSON object.
fn json_line(exit: &Exit) -> Value {
    let [line] = &exit.stdout[..] else {
        panic!("not one line on stdout: {exit:#?}")
    };
    serde_json::from_str(line).unwrap()
}

#[tokio::test]
async fn every_command_has_help() {
    let help = succeed(&["--help"], &Vec::new()).await;
    let commands = help
        .stdout
        .iter()
        .skip_while(|line| *line != "Commands:")
        .skip(1);
    let commands: Vec<&str> = commands
        .take_while(|line| !line.is_empty())
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    assert!(
        commands.contains(&"serve") && commands.len() >= 7,
        "{commands:?}"
    );
    for command in commands.into_iter().filter(|command| *command != "help") {
        let exit = succeed(&[command, "--help"], &Vec::new()).await;
        assert!(
            exit.stdout.iter().any(|line| line.contains("Usage:")),
            "{exit:#?}"
        );
        assert!(exit.stderr.is_empty(), "{exit:#?}");
    }
    succeed(&["schedule", "sync", "--help"], &Vec::new()).await;
}

/// an own cron can run passes.
#[rstest]
#[tokio::test]
async fn one_pass_prints_one_line(#[values(Embedded, Server)] on: Profile) {
    let installation = Installation::new(on, &[]).await;
    installation.insert(3, 1).await;
    for enqueued in [3, 0] {
        let exit = succeed(&["schedule", "sync"], &installation.environment).await;
        let line = json_line(&exit);
        assert_eq!(line["event"], "scheduler_run");
        assert_eq!(line["scannedStores"], 3);
        assert_eq!(
            line["enqueuedJobs"], enqueued,
            "the second pass finds them waiting"
        );
        let logs = exit
            .stderr
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        assert!(
            logs.filter(|line| line["event"] == "scheduler_run").count() == 1,
            "logs: {exit:#?}"
        );
    }
}

///
#[tokio::test]
async fn a_pass_fails_without_redis() {
    let redis = Some("redis://127.0.0.1:1".to_owned());
    let installation = Installation::on_redis(Server, redis, &[]).await;
    installation.insert(1, 1).await;
    let exit = run(&["schedule", "sync"], &installation.environment).await;
    assert_eq!(exit.code, Some(3));
    assert!(exit.stdout.is_empty(), "{exit:#?}");
    assert!(exit.complaint().contains("the queue is unreachable"));
}

/// Settings of a database without any table.
fn empty(database: &TestDatabase, on: Profile) -> Environment {
    let mut settings = environment(&[
        ("DATABASE_URL", database.url()),
        ("QUEUE_PREFIX", &fresh_prefix()),
    ]);
    if on == Profile::Server {
        settings.push(("REDIS_URL".to_owned(), shared_redis()));
    }
    settings
}

async fn schema(settings: &Environment) -> String {
    succeed(&["export-schema", "--output", "-"], settings)
        .await
        .stdout
        .join("\n")
}

///
#[rstest]
#[tokio::test]
async fn the_second_migration_changes_nothing(#[values(Embedded, Server)] on: Profile) {
    let database = TestDatabase::create_empty(on).await;
    let settings = empty(&database, on);
    succeed(&["migrate"], &settings).await;
    let first = schema(&settings).await;
    assert!(
        first.contains("CREATE TABLE") && first.contains("sync_logs"),
        "{first}"
    );
    let exit = succeed(&["migrate"], &settings).await;
    assert_eq!(exit.stdout, ["the database is up to date"]);
    assert_eq!(schema(&settings).await, first);
}

/// A deployment starts all its replicas at the same time, on a database without any table.
#[rstest]
#[tokio::test]
async fn processes_may_migrate_at_the_same_time(#[values(Embedded, Server)] on: Profile) {
    let database = TestDatabase::create_empty(on).await;
    let settings = empty(&database, on);
    let migrate = || run(&["migrate"], &settings);
    let exits = futures::future::join_all([(); 8].map(|()| migrate())).await;
    for exit in exits {
        assert_eq!(exit.code, Some(0), "{exit:#?}");
    }
    succeed(&["reconcile"], &settings).await;
}

/// The same with services, which have more to make than the schema.
#[rstest]
#[tokio::test]
async fn services_may_start_at_the_same_time(#[values(Embedded, Server)] on: Profile) {
    let database = TestDatabase::create_empty(on).await;
    let mut settings = empty(&database, on);
    settings.extend(environment(&[
        ("PORT", "0"),
        ("ADMIN_PORT", "0"),
        ("LOG_FORMAT", "json"),
        ("DATABASE_MAX_CONNECTIONS", "4"),
    ]));
    let fleet = [(); 8].map(|()| Process::start(&["serve"], &settings));
    for process in &fleet {
        process.wait_for_event("started").await;
        assert!(process.events("waiting_to_start").is_empty());
    }
}

#[rstest]
#[tokio::test]
async fn drift_is_reported_and_repaired(#[values(Embedded, Server)] on: Profile) {
    let installation = Installation::new(on, &[]).await;
    installation.insert(2, 3).await;
    let settings = &installation.environment;
    on!(&installation.db, pool => sqlx::query(
        "UPDATE stores SET imported_success_count = 7 WHERE external_store_id = 'shop2'")
        .execute(pool).await.map(|_| ()).unwrap());

    let exit = run(&["reconcile"], settings).await;
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    let drift = json_line(&exit);
    assert_eq!(drift["importedSuccessCount"], 7);
    assert_eq!(
        (&drift["successRows"], &drift["isFixed"]),
        (&0.into(), &false.into())
    );

    let drift = json_line(&succeed(&["reconcile", "--fix"], settings).await);
    assert_eq!(drift["isFixed"], true);
    assert!(succeed(&["reconcile"], settings).await.stdout.is_empty());
    assert_eq!(
        installation
            .count("SELECT MAX(imported_success_count) FROM stores")
            .await,
        0
    );
}

/// It needs no settings at all, not even good ones.
#[tokio::test]
async fn the_document_of_the_api_is_printed() {
    let exit = succeed(&["openapi"], &environment(&[("PORT", "nonsense")])).await;
    let document: Value = serde_json::from_str(&exit.stdout.join("\n")).unwrap();
    assert!(document["paths"]["/orders/import"].is_object());
    assert!(exit.stderr.is_empty(), "{exit:#?}");
}

/// The default is a file.
#[tokio::test]
async fn the_schema_goes_where_it_is_wanted() {
    let database = TestDatabase::create(Embedded).await;
    let settings = empty(&database, Embedded);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("schema.sql");
    let exit = succeed(
        &["export-schema", "--output", file.to_str().unwrap()],
        &settings,
    )
    .await;
    assert!(exit.stdout.is_empty(), "{exit:#?}");
    assert_eq!(
        std::fs::read_to_string(file).unwrap().trim_end(),
        schema(&settings).await
    );
}
