//! What is in the tables, and that it is used as it was given.

use marketplace_sync::encryption::check_keys;
use marketplace_sync::service;
use rstest::rstest;
use serde_json::json;
use standardwebhooks::Webhook;
use uuid::Uuid;

use super::{
    ID_1, ID_2, KEY_1, KEY_2, keys_in_use, start, store_secret, store_token, stored_secrets,
    stored_token, with_keys,
};
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, TestStore, store_body};
use crate::support::server::TestServer;
use crate::support::subscriber::{Received, Subscriber};

const TOKEN: &str = "secret-access-token";

/// The token that the marketplace was shown last.
async fn shown_token(app: &TestApp, store: TestStore, receipt: &str) -> Option<String> {
    let (_, body) = app.import(store, receipt).await;
    assert_eq!(body["success"], true, "{body}");
    app.marketplace.calls().pop().unwrap().access_token
}

/// Registers a webhook; returns its id and its secret.
async fn endpoint(app: &TestApp, url: &str) -> (Uuid, String) {
    let body = json!({ "organizationId": "org-1", "event": "sync.completed", "targetUrl": url });
    let (_, body) = app.post("/webhooks/register", &body).await;
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    (text("id").parse().unwrap(), text("secret"))
}

/// Makes the endpoint receive an event now.
async fn sent(app: &TestApp, id: Uuid, subscriber: &Subscriber) -> Received {
    let path = format!("/webhooks/{id}/test?organizationId=org-1");
    let (_, body) = app.post(&path, &json!({})).await;
    assert_eq!(body["success"], true, "{body}");
    subscriber.received("/hook").pop().unwrap()
}

fn is_signed_with(request: &Received, secret: &str) -> bool {
    let timestamp = request.header("webhook-timestamp").parse().unwrap();
    let webhook = Webhook::new(secret).unwrap();
    let expected = webhook.sign(request.event_id(), timestamp, &request.body);
    let signatures = request.header("webhook-signature");
    signatures
        .split(' ')
        .any(|it| it == expected.as_ref().unwrap())
}

#[rstest]
#[tokio::test]
async fn an_access_token_is_stored_encrypted_and_shown_to_the_marketplace_as_it_is(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = start(on, KEY_1).await;
    assert_eq!(keys_in_use(&app).await, [""; 0]);
    let store = app.register("shop").await;
    let stored = stored_token(&app, store).await;
    assert!(stored.starts_with(&format!("enc:v1:{ID_1}:")), "{stored}");
    assert!(!stored.contains(TOKEN));
    assert_eq!(shown_token(&app, store, "r1").await.as_deref(), Some(TOKEN));
    assert_eq!(keys_in_use(&app).await, [ID_1]);

    // Registered again, it stays the row that it was: what is stored is sealed for that one.
    let mut body = store_body("shop");
    body["accessToken"] = json!("another-token");
    app.post("/stores/register", &body).await;
    let again = stored_token(&app, store).await;
    assert!(again != stored && again.starts_with("enc:v1:"), "{again}");
    let shown = shown_token(&app, store, "r2").await;
    assert_eq!(shown.as_deref(), Some("another-token"));
}

#[rstest]
#[tokio::test]
async fn a_signing_secret_is_stored_encrypted_and_signs(#[values(Embedded, Server)] on: Profile) {
    let app = start(on, KEY_1).await;
    let subscriber = Subscriber::start().await;
    let (id, secret) = endpoint(&app, &subscriber.url("/hook")).await;
    assert!(is_signed_with(&sent(&app, id, &subscriber).await, &secret));
    let path = format!("/webhooks/{id}/rotate-secret?organizationId=org-1");
    let (_, body) = app.post(&path, &json!({})).await;
    let request = sent(&app, id, &subscriber).await;
    assert!(is_signed_with(&request, body["secret"].as_str().unwrap()));
    assert!(is_signed_with(&request, &secret), "the old one still signs");
    let stored = stored_secrets(&app, id).await;
    assert_eq!(stored.len(), 2);
    for text in stored {
        assert!(text.starts_with(&format!("enc:v1:{ID_1}:")), "{text}");
    }
}

#[rstest]
#[tokio::test]
async fn what_is_plain_from_before_is_read_as_it_is(#[values(Embedded, Server)] on: Profile) {
    let app = start(on, KEY_1).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    store_token(&app, store, "token-of-old").await;
    let shown = shown_token(&app, store, "r1").await;
    assert_eq!(shown.as_deref(), Some("token-of-old"));
    let (id, secret) = endpoint(&app, &subscriber.url("/hook")).await;
    store_secret(&app, id, &secret).await;
    assert!(is_signed_with(&sent(&app, id, &subscriber).await, &secret));
}

#[rstest]
#[tokio::test]
async fn without_a_key_everything_is_stored_plain(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    assert_eq!(stored_token(&app, store).await, TOKEN);
    assert_eq!(keys_in_use(&app).await, [""; 0]);
    // A token that looks like a sealed one is still that token.
    let mut body = store_body("shop");
    body["accessToken"] = json!("enc:v1:72cd6e84:AAAA");
    app.post("/stores/register", &body).await;
    let shown = shown_token(&app, store, "r1").await;
    assert_eq!(shown.as_deref(), Some("enc:v1:72cd6e84:AAAA"));
}

/// A rolling change of keys: the second key of one process is the first one of another.
#[rstest]
#[tokio::test]
async fn processes_that_know_each_others_keys_read_each_others_secrets(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = start(on, &format!("{KEY_1},{KEY_2}")).await;
    let newer = with_keys(&app, &format!("{KEY_2},{KEY_1}")).await;
    let server = TestServer::start(service::site(&newer)).await;
    let mut stores = Vec::new();
    for (name, url) in [("old", &app.server), ("new", &server)] {
        let request = app.http.post(url.url("/stores/register"));
        let (_, body) = app.send(request.json(&store_body(name))).await;
        stores.push(TestStore {
            id: jobs::StoreId(body["storeId"].as_str().unwrap().parse().unwrap()),
            token: body["syncToken"].as_str().unwrap().parse().unwrap(),
        });
    }
    assert!(stored_token(&app, stores[0]).await.contains(ID_1));
    assert!(stored_token(&app, stores[1]).await.contains(ID_2));
    assert_eq!(keys_in_use(&app).await, [ID_1, ID_2]);
    for store in stores {
        assert_eq!(shown_token(&app, store, "r1").await.as_deref(), Some(TOKEN));
        let body = json!({ "syncToken": store.token, "receipt": "r2" });
        let request = app.http.post(server.url("/orders/import")).json(&body);
        assert_eq!(app.send(request).await.1["success"], true);
    }
}

#[rstest]
#[tokio::test]
async fn a_start_needs_every_key_that_is_in_use(#[values(Embedded, Server)] on: Profile) {
    let app = start(on, KEY_1).await;
    let check = async |keys: &str| {
        let process = with_keys(&app, keys).await;
        let checked = check_keys(&process.db, &process.settings.encryption).await;
        checked.unwrap().map_err(|error| error.to_string())
    };
    assert_eq!(check("").await, Ok(()), "nothing is encrypted yet");
    app.register("shop").await;
    let both = format!("{KEY_2},{KEY_1}");
    assert_eq!(check(KEY_1).await, Ok(()));
    assert_eq!(check(&both).await, Ok(()));
    for keys in ["", KEY_2] {
        let error = check(keys).await.unwrap_err();
        assert!(error.starts_with("`TOKEN_ENCRYPTION_KEY` lacks"), "{error}");
        assert!(error.contains(ID_1), "{error}");
    }
}
