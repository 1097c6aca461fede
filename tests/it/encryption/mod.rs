//! Stored secrets: encrypted, readable with the right keys, and with no others.

mod rotation;
mod stored;
mod unreadable;

use marketplace_sync::App;
use marketplace_sync::encryption::Keyring;
use std::sync::Arc;
use uuid::Uuid;

use crate::support::app::{Profile, TestApp, TestStore, on};

/// Keys of 32 times the same byte, and their ids: what `sha256sum` prints.
const KEY_1: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const ID_1: &str = "72cd6e84";
const KEY_2: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
const ID_2: &str = "75877bb4";

/// A service with these keys.
async fn start(on: Profile, keys: &str) -> TestApp {
    TestApp::start_with(on, &[("TOKEN_ENCRYPTION_KEY", keys)]).await
}

/// Another process on the same data, with these keys or none.
async fn with_keys(app: &TestApp, keys: &str) -> Arc<App> {
    app.other_process_with(|settings| {
        settings.encryption = match keys {
            "" => Keyring::default(),
            keys => Keyring::parse(keys).unwrap(),
        };
    })
    .await
}

/// What is stored of a store's access token.
async fn stored_token(app: &TestApp, store: TestStore) -> String {
    app.store_row(store).await.access_token
}

/// Puts something else there.
async fn store_token(app: &TestApp, store: TestStore, text: &str) {
    on!(&app.app.db, pool => sqlx::query("UPDATE stores SET access_token = $2 WHERE id = $1")
        .bind(store.id).bind(text).execute(pool).await.map(|_| ()).unwrap());
}

/// What is stored of an endpoint's secrets, the oldest first.
async fn stored_secrets(app: &TestApp, endpoint: Uuid) -> Vec<String> {
    on!(&app.app.db, pool => sqlx::query_scalar(
        "SELECT secret FROM webhook_secrets WHERE endpoint_id = $1 ORDER BY created_at, id")
        .bind(endpoint).fetch_all(pool).await.unwrap())
}

/// Puts something else into all of them.
async fn store_secret(app: &TestApp, endpoint: Uuid, text: &str) {
    on!(&app.app.db, pool => sqlx::query(
        "UPDATE webhook_secrets SET secret = $2 WHERE endpoint_id = $1")
        .bind(endpoint).bind(text).execute(pool).await.map(|_| ()).unwrap());
}

/// The ids of the keys in use.
async fn keys_in_use(app: &TestApp) -> Vec<String> {
    on!(&app.app.db, pool => sqlx::query_scalar(
        "SELECT key_id FROM encryption_keys ORDER BY key_id")
        .fetch_all(pool).await.unwrap())
}
