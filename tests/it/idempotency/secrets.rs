//! Answers that contain secrets are stored like them.

use std::sync::Arc;

use marketplace_sync::encryption::{Keyring, rotate_secrets};
use marketplace_sync::{App, service};
use rstest::rstest;

use super::{post, request, send, webhook};
use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::app::{TestApp, on, store_body};
use crate::support::server::TestServer;

const OLD: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const NEW: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

async fn stored(app: &TestApp) -> Vec<String> {
    on!(&app.app.db, pool => sqlx::query_scalar("SELECT answer FROM idempotency_keys")
        .fetch_all(pool).await.unwrap())
}

async fn with_keys(app: &TestApp, keys: &str) -> Arc<App> {
    app.other_process_with(|settings| settings.encryption = Keyring::parse(keys).unwrap())
        .await
}

#[rstest]
#[tokio::test]
async fn a_kept_answer_is_encrypted_and_outlives_a_rotation(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start_with(on, &[("TOKEN_ENCRYPTION_KEY", OLD)]).await;
    let hook = webhook("http://127.0.0.1:9/hook");
    let store = post(&app, "key", "/stores/register", &store_body("shop")).await;
    let registered = post(&app, "key", "/webhooks/register", &hook).await;
    for text in stored(&app).await {
        assert!(text.starts_with("enc:v1:72cd6e84:"), "{text}");
    }
    let both = with_keys(&app, &format!("{NEW},{OLD}")).await;
    let keyring = &both.settings.encryption;
    let rotation = rotate_secrets(&both.db, keyring, &both.clock)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(rotation.rotated["idempotency_keys.answer"], 2);
    assert_eq!(rotation.kept_keys, []);
    for text in stored(&app).await {
        assert!(text.starts_with("enc:v1:75877bb4:"), "{text}");
    }
    let server = TestServer::start(service::site(&with_keys(&app, NEW).await)).await;
    for (path, body, first) in [
        ("/stores/register", store_body("shop"), store),
        ("/webhooks/register", hook, registered),
    ] {
        let again = send(request(&app, &server, "key", path, &body)).await;
        assert_eq!(again, first.replayed());
    }
}
