//! Starts that cannot work: one clear line on stderr, and the exit code that fits.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rstest::rstest;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, SqliteConnection};
use tempfile::TempDir;

use super::Installation;
use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::app::{on, store_body};
use crate::support::process::{Environment, Exit, Process, environment, run};

const BAD_SETTING: i32 = 2;
const UNAVAILABLE: i32 = 3;
const NEWER_DATABASE: i32 = 4;

/// Nothing listens there.
const NOBODY: &str = "127.0.0.1:1";

/// Runs `serve`, which must refuse; on stdout is at most where it listened so long.
async fn refused(settings: &Environment) -> Exit {
    let exit = run(&["serve"], settings).await;
    let tells_where = |line: &String| line.contains(" is at http://");
    assert!(exit.stdout.iter().all(tells_where), "{exit:#?}");
    exit
}

#[rstest]
#[case("PORT", "70000")]
#[case("SYNC_CRON", "whenever")]
#[case("SYNC_ROW_CONCURRENCY", "0")]
#[case("DATABASE_URL", "mysql://user:hunter2@host/db")]
#[case("REDIS_URL", "redis://127.0.0.1:6379")]
#[case("API_KEYS", "hunter2")]
#[case("RUST_LOG", "[=hunter2")]
#[case("TOKEN_ENCRYPTION_KEY", "hunter2")]
#[case("TOKEN_ENCRYPTION_KEY", "aHVudGVyMg==")]
#[tokio::test]
async fn a_bad_setting_is_named(#[case] name: &str, #[case] value: &str) {
    let exit = refused(&environment(&[(name, value)])).await;
    let complaint = exit.complaint();
    assert!(complaint.contains(&format!("`{name}`")), "{complaint}");
    assert!(
        name == "RUST_LOG" || !complaint.contains("hunter2"),
        "{complaint}"
    );
    assert_eq!(exit.code, Some(BAD_SETTING));
}

#[tokio::test]
async fn postgres_without_redis_is_told_what_to_set() {
    let settings = environment(&[("DATABASE_URL", "postgres://user:hunter2@localhost/db")]);
    let exit = refused(&settings).await;
    assert!(exit.complaint().contains("`REDIS_URL` must be set"));
    assert!(!exit.complaint().contains("hunter2"));
    assert_eq!(exit.code, Some(BAD_SETTING));
}

#[rstest]
#[case(&["--roles", "cook"], "cook")]
#[case(&["--port", "80"], "--port")]
#[tokio::test]
async fn a_bad_argument_is_named(#[case] arguments: &[&str], #[case] named: &str) {
    let exit = run(&[&["serve"], arguments].concat(), &Vec::new()).await;
    assert!(exit.stderr[0].contains(named), "{exit:#?}");
    assert_eq!(exit.code, Some(BAD_SETTING));
}

#[tokio::test]
async fn an_unreachable_postgres_is_one_line() {
    let settings = environment(&[
        (
            "DATABASE_URL",
            &format!("postgres://user:hunter2@{NOBODY}/db"),
        ),
        ("REDIS_URL", &format!("redis://:hunter3@{NOBODY}")),
    ]);
    let exit = run(&["schedule", "sync"], &settings).await;
    assert!(
        exit.complaint().contains("the database is unreachable")
            && exit.complaint().contains("refused"),
        "{exit:#?}"
    );
    assert!(!exit.complaint().contains("hunter"), "{exit:#?}");
    assert_eq!(exit.code, Some(UNAVAILABLE));
}

#[tokio::test]
async fn an_unreachable_redis_is_one_line() {
    let redis = format!("redis://:hunter3@{NOBODY}");
    let installation = Installation::on_redis(Server, Some(redis), &[]).await;
    let exit = run(&["schedule", "sync"], &installation.environment).await;
    assert!(
        exit.complaint().contains("the queue is unreachable"),
        "{exit:#?}"
    );
    assert!(!exit.complaint().contains("hunter"), "{exit:#?}");
    assert_eq!(exit.code, Some(UNAVAILABLE));
}

#[rstest]
#[tokio::test]
async fn a_port_that_is_taken_is_named(#[values("PORT", "ADMIN_PORT")] setting: &str) {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut settings = environment(&[("PORT", "0"), ("ADMIN_PORT", "0")]);
    settings.push((setting.to_owned(), port.clone()));
    let exit = refused(&settings).await;
    assert!(
        exit.complaint().contains(&format!("`{setting}`")),
        "{exit:#?}"
    );
    assert!(exit.complaint().contains(&port), "{exit:#?}");
    assert_eq!(exit.code, Some(1));
}

/// A SQLite file that `migrate` has made, and settings that name it.
async fn sqlite_file() -> (TempDir, PathBuf, Environment) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.db");
    let url = format!("sqlite:{}", file.display());
    let settings = environment(&[("DATABASE_URL", &url), ("PORT", "0"), ("ADMIN_PORT", "0")]);
    let exit = run(&["migrate"], &settings).await;
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    (folder, file, settings)
}

async fn open(file: &Path) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(file)
        .connect()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_read_only_file_is_refused() {
    let (folder, file, settings) = sqlite_file().await;
    for path in [&file, folder.path()] {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        fs::set_permissions(path, Permissions::from_mode(mode & !0o222)).unwrap();
    }
    // Root may write anything, unless it gives that right up.
    let is_root = fs::OpenOptions::new().append(true).open(&file).is_ok();
    let without_that_right = [
        "setpriv",
        "--bounding-set",
        "-dac_override",
        "--inh-caps",
        "-dac_override",
    ];
    let wrapper = if is_root {
        &without_that_right[..]
    } else {
        &[]
    };
    let exit = Process::start_under(wrapper, &["serve"], &settings)
        .exit()
        .await;
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    assert!(
        exit.complaint().contains("the database is read-only"),
        "{exit:#?}"
    );
    assert_eq!(exit.code, Some(UNAVAILABLE));
}

#[tokio::test]
async fn a_file_that_another_process_holds_is_refused() {
    let (_folder, file, mut settings) = sqlite_file().await;
    let mut holder = open(&file).await;
    // Beyond WAL: readers are shut out as well.
    holder
        .execute("PRAGMA locking_mode = EXCLUSIVE")
        .await
        .unwrap();
    holder.execute("BEGIN EXCLUSIVE").await.unwrap();
    let exit = run(&["schedule", "sync"], &settings).await;
    let expected = "marketplace-sync: the database is locked by another process";
    let complains = |line: &String| line.starts_with(expected);
    assert!(exit.stderr.iter().any(complains), "{exit:#?}");
    assert_eq!(exit.code, Some(UNAVAILABLE));

    // A service waits: whoever holds it may be about to end.
    settings.push(("LOG_FORMAT".to_owned(), "json".to_owned()));
    let service = Process::start(&["serve"], &settings);
    service.wait_for_event("waiting_to_start").await;
    holder.execute("ROLLBACK").await.unwrap();
    holder.close().await.unwrap();
    service.wait_for_event("started").await;
}

/// Thirty-two bytes of zero and of one, and the id of the first.
const KEYS: [&str; 2] = [
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
];
const KEY_ID: &str = "66687aad";

#[tokio::test]
async fn a_public_host_without_a_key_for_secrets_is_told_how_to_make_one() {
    let settings = environment(&[("HOST", "0.0.0.0"), ("AUTH", "anonymous")]);
    let exit = refused(&settings).await;
    assert!(
        exit.complaint()
            .contains("`TOKEN_ENCRYPTION_KEY` must be set")
            && exit.complaint().contains("openssl rand -base64 32"),
        "{exit:#?}"
    );
    assert_eq!(exit.code, Some(BAD_SETTING));
}

#[rstest]
#[tokio::test]
async fn a_start_without_a_key_that_secrets_are_encrypted_with_is_refused(
    #[values(Embedded, Server)] on: Profile,
) {
    let installation = Installation::new(on, &[]).await;
    let with_key = |keys: String| {
        let mut settings = installation.environment.clone();
        settings.push(("TOKEN_ENCRYPTION_KEY".to_owned(), keys));
        settings
    };
    let start = |settings: Environment| async move {
        let process = Process::start(&["serve", "--roles", "api"], &settings);
        process.wait_for_event("started").await;
        process
    };
    let process = start(with_key(KEYS[0].to_owned())).await;
    assert_eq!(process.events("unencrypted_secrets").len(), 0);
    let url = format!("http://{}/stores/register", process.address("public").await);
    let request = installation.http().post(url).json(&store_body("shop"));
    assert_eq!(request.send().await.unwrap().status(), 200);
    process.kill().await;

    for settings in [
        installation.environment.clone(),
        with_key(KEYS[1].to_owned()),
    ] {
        for command in [&["serve"][..], &["schedule", "sync"]] {
            let exit = run(command, &settings).await;
            let complaint = exit.complaint();
            assert!(
                complaint.contains("`TOKEN_ENCRYPTION_KEY` lacks"),
                "{complaint}"
            );
            assert!(complaint.contains(KEY_ID), "{complaint}");
            assert_eq!(exit.code, Some(BAD_SETTING));
        }
    }
    start(with_key(format!("{},{}", KEYS[1], KEYS[0]))).await;
}

#[tokio::test]
async fn secrets_that_are_stored_plain_are_warned_of() {
    let installation = Installation::new(Embedded, &[]).await;
    let process = installation.start_all().await;
    assert_eq!(process.events("unencrypted_secrets").len(), 1);
}

#[rstest]
#[tokio::test]
async fn a_database_of_a_newer_release_is_refused(#[values(Embedded, Server)] on: Profile) {
    let installation = Installation::new(on, &[]).await;
    let checksum = match on {
        Embedded => "x'00'",
        Server => "'\\x00'",
    };
    let sql = format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'of tomorrow', TRUE, {checksum}, 0)"
    );
    on!(&installation.db, pool => sqlx::query(AssertSqlSafe(sql.clone()))
        .execute(pool).await.map(|_| ()).unwrap());
    for command in [
        &["serve"][..],
        &["migrate"],
        &["schedule", "sync"],
        &["reconcile"],
    ] {
        let exit = run(command, &installation.environment).await;
        assert!(exit.complaint().contains("9999"), "{command:?}: {exit:#?}");
        assert_eq!(exit.code, Some(NEWER_DATABASE), "{command:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("letter.txt");
    let text = "Dear customer, this is not a database.\n".repeat(100);
    fs::write(&file, &text).unwrap();
    let url = format!("sqlite:{}", file.display());
    let exit = refused(&environment(&[
        ("DATABASE_URL", &url),
        ("PORT", "0"),
        ("ADMIN_PORT", "0"),
    ]))
    .await;
    assert!(exit.complaint().contains("not a database"), "{exit:#?}");
    assert_eq!(exit.code, Some(UNAVAILABLE));
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let url = format!("sqlite:{}", folder.path().join("file/test.db").display());
    let exit = refused(&environment(&[
        ("DATABASE_URL", &url),
        ("PORT", "0"),
        ("ADMIN_PORT", "0"),
    ]))
    .await;
    assert!(exit.complaint().contains("/file"), "{exit:#?}");
    assert_eq!(exit.code, Some(UNAVAILABLE));
}
