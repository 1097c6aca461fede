//! What becomes of a claim whose owner dies, is late, or cannot write.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use marketplace_sync::db::Db;
use marketplace_sync::service;
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::json;
use tokio::time::timeout;

use super::import_at;
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, TestStore, on};
use crate::support::scripted_connector::{ScriptedConnector, invalid, valid};
use crate::support::server::TestServer;

/// How long a claim lasts.
const CLAIM: Duration = Duration::from_secs(30);

async fn impatient(on: Profile) -> TestApp {
    TestApp::build(on, &[], |app| app.import_wait = Duration::from_millis(200)).await
}

/// A second process with a marketplace of its own.
async fn rival(app: &TestApp) -> (TestServer, ScriptedConnector) {
    let mut process = app.other_process().await;
    let marketplace = ScriptedConnector::default();
    let inner = Arc::get_mut(&mut process).unwrap();
    inner.connector = Arc::new(marketplace.clone());
    (
        TestServer::start(service::site(&process)).await,
        marketplace,
    )
}

/// A claim of a process that does nothing more.
async fn claim(app: &TestApp, store: TestStore, receipt: &str, until: Option<DateTime<Utc>>) {
    app.insert_row(store, receipt, "pending", 0).await;
    on!(&app.app.db, pool => sqlx::query(
        "UPDATE sync_logs SET next_retry_at = $3 WHERE store_id = $1 AND receipt = $2")
        .bind(store.id).bind(receipt).bind(until).execute(pool).await.map(|_| ()).unwrap());
}

/// A-29
#[rstest]
#[tokio::test]
async fn a_receipt_in_other_hands_is_a_409_until_its_claim_ends(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = impatient(on).await;
    let store = app.register("shop").await;
    claim(&app, store, "r1", Some(app.clock.now() + CLAIM)).await;
    let left = app.row(store, "r1").await.unwrap();

    let request = app.http.post(app.server.url("/orders/import"));
    let body = json!({ "syncToken": store.token, "receipt": "r1" });
    let answer = request.json(&body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CONFLICT);
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let id = answer.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let body: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(body["error"], "import_in_progress");
    assert_eq!(body["success"], false);
    assert_eq!(body["requestId"], id);
    assert!(app.marketplace.calls().is_empty());
    assert_eq!(app.row(store, "r1").await.unwrap(), left);

    app.clock.advance(CLAIM);
    let (status, body) = app.import(store, "r1").await;
    assert_eq!((status, &body["success"]), (StatusCode::OK, &json!(true)));
    assert_eq!(app.row(store, "r1").await.unwrap().id, left.id);
    assert_eq!(app.marketplace.calls_of("r1"), 1);
    assert_eq!(app.store_row(store).await.imported_success_count, 1);
}

/// A-29
#[rstest]
#[tokio::test]
async fn a_claim_without_an_end_is_taken_over_at_once(#[values(Embedded, Server)] on: Profile) {
    let app = impatient(on).await;
    let store = app.register("shop").await;
    claim(&app, store, "r1", None).await;
    let (status, body) = app.import(store, "r1").await;
    assert_eq!((status, &body["success"]), (StatusCode::OK, &json!(true)));
}

/// A-29
#[rstest]
#[tokio::test]
async fn a_run_finishes_what_a_dead_import_left(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    claim(&app, store, "r1", Some(app.clock.now() + CLAIM)).await;
    assert_eq!(app.schedule().await.enqueued_jobs, 0, "it is claimed");
    app.clock.advance(CLAIM);
    assert_eq!(app.schedule().await.enqueued_jobs, 1);
    assert_eq!(app.run_jobs().await, 1);
    assert_eq!(app.row(store, "r1").await.unwrap().status, "success");
    assert_eq!(app.store_row(store).await.imported_success_count, 1);
}

#[rstest]
#[tokio::test]
async fn a_waiting_caller_takes_over_when_the_claim_ends(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    claim(&app, store, "r1", Some(app.clock.now() + CLAIM)).await;
    let end = async {
        // Nothing shows that somebody waits; if nobody did yet, the outcome is the same.
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert!(app.marketplace.calls().is_empty());
        app.clock.advance(CLAIM);
    };
    let ((status, body), ()) = tokio::join!(app.import(store, "r1"), end);
    assert_eq!((status, &body["success"]), (StatusCode::OK, &json!(true)));
}

#[rstest]
#[tokio::test]
async fn a_claim_outlasts_the_call_it_is_for(#[values(Embedded, Server)] on: Profile) {
    for (timeout, claim) in [("10000", CLAIM), ("60000", Duration::from_mins(3))] {
        let app = TestApp::start_with(on, &[("MARKETPLACE_TIMEOUT_MS", timeout)]).await;
        let store = app.register("shop").await;
        app.marketplace.hold();
        let look = async {
            app.marketplace.in_flight(1).await;
            let row = app.row(store, "r1").await.unwrap();
            assert_eq!((row.status.as_str(), row.attempt), ("pending", 0));
            assert_eq!(row.next_retry_at, Some(app.clock.now() + claim));
            app.marketplace.release();
        };
        tokio::join!(app.import(store, "r1"), look);
    }
}

/// A-29: the first owner is slow, not dead, and comes back with another outcome.
#[rstest]
#[tokio::test]
async fn a_late_outcome_is_not_written_over_that_of_the_new_owner(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let (other, faster) = rival(&app).await;
    faster.reply("r1", [invalid()]);
    app.marketplace.reply("r1", [valid("r1")]);
    app.marketplace.hold();
    let meanwhile = async {
        app.marketplace.in_flight(1).await;
        app.clock.advance(CLAIM);
        let answer = import_at(&app.http, &other, store, "r1").await;
        let row = app.row(store, "r1").await.unwrap();
        assert_eq!(row.status, "failed");
        app.marketplace.release();
        (answer, row)
    };
    let late = import_at(&app.http, &app.server, store, "r1");
    let (late, (answer, row)) = tokio::join!(late, meanwhile);
    assert!(answer.1.contains("invalid_receipt"), "{}", answer.1);
    assert_eq!(late, answer, "both tell what is stored");
    assert_eq!(app.row(store, "r1").await.unwrap(), row);
    assert_eq!(app.store_row(store).await.imported_success_count, 0);
}

/// The same while the new owner is still at it.
#[rstest]
#[tokio::test]
async fn the_outcome_of_a_lost_claim_is_not_written(#[values(Embedded, Server)] on: Profile) {
    let app = impatient(on).await;
    let store = app.register("shop").await;
    let (other, second) = rival(&app).await;
    app.marketplace.reply("r1", [invalid()]);
    app.marketplace.hold();
    second.hold();
    let loser = async {
        let answer = import_at(&app.http, &app.server, store, "r1").await;
        // It had an outcome, and nowhere to write it.
        assert_eq!(answer.0, StatusCode::CONFLICT);
        let row = app.row(store, "r1").await.unwrap();
        assert_eq!(row.status, "pending");
        second.release();
    };
    let winner = async {
        app.marketplace.in_flight(1).await;
        app.clock.advance(CLAIM);
        let let_go = async {
            second.in_flight(1).await;
            app.marketplace.release();
        };
        tokio::join!(import_at(&app.http, &other, store, "r1"), let_go).0
    };
    let ((), answer) = tokio::join!(loser, winner);
    assert_eq!(answer.0, StatusCode::OK);
    assert!(answer.1.contains(r#""success":true"#), "{}", answer.1);
    assert_eq!(app.store_row(store).await.imported_success_count, 1);
}

async fn break_counting(app: &TestApp) {
    match &app.app.db {
        Db::Postgres(pool) => {
            for sql in [
                "CREATE FUNCTION no_count() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN RAISE EXCEPTION ''counting is broken''; END'",
                "CREATE TRIGGER no_count BEFORE UPDATE OF imported_success_count ON stores
                 FOR EACH ROW EXECUTE FUNCTION no_count()",
            ] {
                sqlx::query(sql).execute(pool).await.unwrap();
            }
        }
        Db::Sqlite { writer, .. } => {
            sqlx::query(
                "CREATE TRIGGER no_count BEFORE UPDATE OF imported_success_count ON stores
                 BEGIN SELECT RAISE(ABORT, 'counting is broken'); END",
            )
            .execute(writer)
            .await
            .unwrap();
        }
    }
}

async fn mend_counting(app: &TestApp) {
    match &app.app.db {
        Db::Postgres(pool) => {
            sqlx::query("DROP TRIGGER no_count ON stores")
                .execute(pool)
                .await
                .unwrap();
        }
        Db::Sqlite { writer, .. } => {
            sqlx::query("DROP TRIGGER no_count")
                .execute(writer)
                .await
                .unwrap();
        }
    }
}

/// A-31
#[rstest]
#[tokio::test]
async fn when_the_count_cannot_be_written_neither_is_the_row(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = impatient(on).await;
    let store = app.register("shop").await;
    let before = app.store_row(store).await;
    break_counting(&app).await;
    let (status, text) = import_at(&app.http, &app.server, store, "r1").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(
        text.contains(r#""error":"internal_server_error""#),
        "{text}"
    );
    for inside in ["counting", "UPDATE", "stores", "trigger", "sync_logs"] {
        assert!(!text.contains(inside), "{inside}: {text}");
    }
    let row = app.row(store, "r1").await.unwrap();
    assert_eq!((row.status.as_str(), row.order_id), ("pending", None));
    assert_eq!(row.next_retry_at, Some(app.clock.now() + CLAIM));
    assert_eq!(app.store_row(store).await, before);

    mend_counting(&app).await;
    let (status, _) = app.import(store, "r1").await;
    assert_eq!(status, StatusCode::CONFLICT, "its claim runs still");
    app.clock.advance(CLAIM);
    let (status, body) = app.import(store, "r1").await;
    assert_eq!((status, &body["success"]), (StatusCode::OK, &json!(true)));
    assert_eq!(app.store_row(store).await.imported_success_count, 1);
}

/// Nothing that grows can be written; what reads, and what only changes, goes on.
async fn fill_database(app: &TestApp) {
    match &app.app.db {
        Db::Postgres(pool) => {
            for sql in [
                "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN RAISE EXCEPTION ''no room'' USING ERRCODE = ''disk_full''; END'",
                "CREATE TRIGGER no_room BEFORE UPDATE ON sync_logs
                 FOR EACH ROW EXECUTE FUNCTION no_room()",
            ] {
                sqlx::query(sql).execute(pool).await.unwrap();
            }
        }
        Db::Sqlite { writer, .. } => {
            for sql in [
                "CREATE TABLE ballast (load BLOB NOT NULL) STRICT",
                "CREATE TRIGGER no_room BEFORE UPDATE ON sync_logs
                 BEGIN INSERT INTO ballast VALUES (zeroblob(1000000)); END",
                // No less than there are.
                "PRAGMA max_page_count = 1",
            ] {
                sqlx::query(sql).execute(writer).await.unwrap();
            }
        }
    }
}

async fn make_room(app: &TestApp) {
    match &app.app.db {
        Db::Postgres(pool) => {
            sqlx::query("DROP TRIGGER no_room ON sync_logs")
                .execute(pool)
                .await
                .unwrap();
        }
        Db::Sqlite { writer, .. } => {
            for sql in ["PRAGMA max_page_count = 1000000", "DROP TRIGGER no_room"] {
                sqlx::query(sql).execute(writer).await.unwrap();
            }
        }
    }
}

/// The database is full for longer than a moment, and the client does not wait for it.
#[rstest]
#[tokio::test]
async fn the_outcome_is_written_when_the_database_is_back(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.marketplace.hold();
    let fill = async {
        app.marketplace.in_flight(1).await;
        fill_database(&app).await;
        app.marketplace.release();
    };
    let import = timeout(Duration::from_secs(3), app.import(store, "r1"));
    let (answer, ()) = tokio::join!(import, fill);
    assert!(answer.is_err(), "it still tries: {answer:?}");
    assert_eq!(app.row(store, "r1").await.unwrap().status, "pending");

    make_room(&app).await;
    // The claim has not ended.
    let (status, body) = app.import(store, "r1").await;
    assert_eq!((status, &body["success"]), (StatusCode::OK, &json!(true)));
    assert_eq!(app.marketplace.calls_of("r1"), 1);
    assert_eq!(app.store_row(store).await.imported_success_count, 1);
}

/// A store that is deleted while its receipt is asked for is gone, with the receipt.
#[rstest]
#[tokio::test]
async fn a_store_that_goes_away_meanwhile_is_a_404(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.marketplace.hold();
    let meanwhile = async {
        app.marketplace.in_flight(1).await;
        on!(&app.app.db, pool => sqlx::query("DELETE FROM stores WHERE id = $1")
            .bind(store.id).execute(pool).await.map(|_| ()).unwrap());
        app.marketplace.release();
    };
    let ((status, body), ()) = tokio::join!(app.import(store, "r1"), meanwhile);
    assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
    assert_eq!(app.count("SELECT COUNT(*) FROM sync_logs").await, 0);
}
