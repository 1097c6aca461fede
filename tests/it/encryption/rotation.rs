//! Changing the key: everything is encrypted anew, and nothing is lost on the way.

use std::sync::Arc;

use marketplace_sync::App;
use marketplace_sync::encryption::{NothingToRotateTo, Rotation, rotate_secrets};
use rstest::rstest;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::{
    ID_1, ID_2, KEY_1, KEY_2, keys_in_use, start, store_token, stored_secrets, stored_token,
    with_keys,
};
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, TestStore, on};
use crate::support::runs::run_in;
use crate::support::subscriber::Subscriber;

async fn rotate(process: &App) -> Rotation {
    let keyring = &process.settings.encryption;
    let rotated = rotate_secrets(&process.db, keyring, &process.clock).await;
    rotated.unwrap().unwrap()
}

/// So many stores, and what the marketplace knows of each.
async fn stores(app: &TestApp, count: usize) -> Vec<TestStore> {
    let mut stores = Vec::new();
    for number in 0..count {
        stores.push(app.register(&format!("shop-{number}")).await);
    }
    stores
}

async fn assert_all_work(app: &TestApp, process: &Arc<App>, stores: &[TestStore], receipt: &str) {
    for store in stores {
        app.insert_row(*store, receipt, "pending", 60).await;
        run_in(process, *store).await.unwrap();
        let call = app.marketplace.calls().pop().unwrap();
        assert_eq!(call.access_token.as_deref(), Some("secret-access-token"));
    }
}

#[rstest]
#[tokio::test]
async fn everything_is_encrypted_with_the_first_key_and_the_old_one_is_freed(
    #[values(Embedded, Server)] on: Profile,
) {
    let mut app = start(on, KEY_1).await;
    app.leave_jobs();
    let subscriber = Subscriber::start().await;
    let stores = stores(&app, 3).await;
    let plain = app.register("of-before").await;
    store_token(&app, plain, "secret-access-token").await;
    let endpoint = app
        .subscribe("sync.completed", &subscriber.url("/hook"))
        .await;
    let updated_at = app.store_row(plain).await.updated_at;

    let both = with_keys(&app, &format!("{KEY_2},{KEY_1}")).await;
    let rotation = serde_json::to_value(rotate(&both).await).unwrap();
    let expected = json!({
        "key": ID_2,
        "rotated": {
            "stores.access_token": 4,
            "stores.api_key": 0,
            "stores.api_secret": 0,
            "webhook_secrets.secret": 1,
        },
        "unreadable": 0,
        "freedKeys": [ID_1],
        "keptKeys": [],
    });
    assert_eq!(without_answers(rotation), expected);
    assert_eq!(keys_in_use(&app).await, [ID_2]);
    assert_eq!(app.store_row(plain).await.updated_at, updated_at);
    let mut stored = stored_secrets(&app, endpoint).await;
    for store in stores.iter().chain([&plain]) {
        stored.push(stored_token(&app, *store).await);
    }
    for text in &stored {
        assert!(text.starts_with(&format!("enc:v1:{ID_2}:")), "{text}");
    }
    // The old key is not needed any more, and nothing is done twice.
    let new = with_keys(&app, KEY_2).await;
    let again = serde_json::to_value(rotate(&new).await).unwrap();
    let nothing = json!({
        "stores.access_token": 0,
        "stores.api_key": 0,
        "stores.api_secret": 0,
        "webhook_secrets.secret": 0,
    });
    assert_eq!(without_answers(again)["rotated"], nothing);
    assert_all_work(&app, &new, &stores, "r1").await;
    assert_all_work(&app, &new, &[plain], "r1").await;
}

/// The columns that these tests are about.
fn without_answers(mut rotation: Value) -> Value {
    let rotated = rotation["rotated"].as_object_mut().unwrap();
    rotated.retain(|column, _| !column.starts_with("idempotency_keys"));
    rotation
}

/// Killed after any write, it goes on where it was.
#[rstest]
#[tokio::test]
async fn an_interrupted_rotation_goes_on(#[values(Embedded, Server)] on: Profile) {
    let app = start(on, KEY_1).await;
    let mut all = stores(&app, 4).await;
    let both = with_keys(&app, &format!("{KEY_2},{KEY_1}")).await;
    rotate(&both).await;
    // As if it had ended between the two: one row of the old key, and the old key in use.
    let store = app.register("late").await;
    assert!(stored_token(&app, store).await.contains(ID_1));
    all.push(store);
    assert_eq!(keys_in_use(&app).await, [ID_1, ID_2]);
    let rotation = rotate(&both).await;
    assert_eq!(rotation.rotated["stores.access_token"], 1);
    assert_eq!(
        serde_json::to_value(rotation.freed_keys).unwrap(),
        json!([ID_1])
    );
    let new = with_keys(&app, KEY_2).await;
    assert_all_work(&app, &new, &all, "r1").await;
}

#[rstest]
#[tokio::test]
async fn a_key_that_something_unreadable_needs_is_kept(#[values(Embedded, Server)] on: Profile) {
    let app = start(on, KEY_1).await;
    let stores = stores(&app, 2).await;
    let right = stored_token(&app, stores[0]).await;
    store_token(&app, stores[0], &stored_token(&app, stores[1]).await).await;
    let both = with_keys(&app, &format!("{KEY_2},{KEY_1}")).await;
    let rotation = rotate(&both).await;
    assert_eq!(
        (rotation.unreadable, rotation.rotated["stores.access_token"]),
        (1, 1)
    );
    assert_eq!(
        serde_json::to_value(rotation.kept_keys).unwrap(),
        json!([ID_1])
    );
    assert_eq!(keys_in_use(&app).await, [ID_1, ID_2]);
    store_token(&app, stores[0], &right).await;
    assert_eq!(rotate(&both).await.kept_keys, []);
    let new = with_keys(&app, KEY_2).await;
    assert_all_work(&app, &new, &stores, "r1").await;
}

#[tokio::test]
async fn there_is_nothing_to_rotate_to_without_a_key() {
    let app = TestApp::start(Embedded).await;
    let keyring = &app.app.settings.encryption;
    let outcome = rotate_secrets(&app.app.db, keyring, &app.clock)
        .await
        .unwrap();
    assert_eq!(outcome, Err(NothingToRotateTo));
}

/// A process that still encrypts with the old key, because it was not restarted, may do so at any
/// moment of a rotation: whatever it wrote is read afterwards, and a key that it needs is in use.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_beside_registrations_loses_none(#[values(Embedded, Server)] on: Profile) {
    let app = Arc::new(start(on, &format!("{KEY_1},{KEY_2}")).await);
    let both = with_keys(&app, &format!("{KEY_2},{KEY_1}")).await;
    let registering = {
        let app = app.clone();
        tokio::spawn(async move { stores(&app, 60).await })
    };
    while !registering.is_finished() {
        let rotation = rotate(&both).await;
        assert_eq!(rotation.unreadable, 0);
    }
    let stores = registering.await.unwrap();
    // At every moment, also now: what is stored needs no key but those in use.
    let in_use = keys_in_use(&app).await;
    for store in &stores {
        let stored = stored_token(&app, *store).await;
        assert!(
            in_use.iter().any(|id| stored.contains(id)),
            "{stored} {in_use:?}"
        );
    }
    rotate(&both).await;
    assert_eq!(keys_in_use(&app).await, [ID_2]);
    let new = with_keys(&app, KEY_2).await;
    assert_all_work(&app, &new, &stores, "r1").await;
}

/// A registration that is between sealing and commit holds its key.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_not_freed_while_a_transaction_seals_with_it() {
    let app = start(Server, KEY_1).await;
    let store = app.register("shop").await;
    let sealed = stored_token(&app, store).await;
    let both = with_keys(&app, &format!("{KEY_2},{KEY_1}")).await;
    let marketplace_sync::db::Db::Postgres(pool) = &app.app.db else {
        unreachable!("the server profile has PostgreSQL")
    };
    let mut sealing = pool.begin_with("BEGIN").await.unwrap();
    sqlx::query("SELECT 1 FROM encryption_keys FOR KEY SHARE")
        .execute(&mut *sealing)
        .await
        .unwrap();
    let rotating = tokio::spawn(async move { rotate(&both).await });
    wait_until_blocked(&app).await;
    // It has found nothing that is sealed with the old key, and waits for us.
    sqlx::query("UPDATE stores SET access_token = $1")
        .bind(&sealed)
        .execute(&mut *sealing)
        .await
        .unwrap();
    sealing.commit().await.unwrap();
    let rotation = rotating.await.unwrap();
    assert_eq!(
        serde_json::to_value(rotation.kept_keys).unwrap(),
        json!([ID_1])
    );
    assert_eq!(keys_in_use(&app).await, [ID_1, ID_2]);
}

/// Until somebody waits for the lock of a row of keys.
async fn wait_until_blocked(app: &TestApp) {
    let waiting = "SELECT COUNT(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'
          AND query LIKE '%encryption_keys%'";
    crate::support::runs::until(async || {
        let count: i64 = on!(&app.app.db, pool => sqlx::query_scalar(AssertSqlSafe(waiting))
            .fetch_one(pool).await.unwrap());
        count > 0
    })
    .await;
}
