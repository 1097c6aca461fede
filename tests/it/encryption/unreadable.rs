//! What cannot be read is said, hurts nobody else and loses nothing.

use std::time::Duration;

use rstest::rstest;
use serde_json::json;

use super::{
    ID_2, KEY_1, KEY_2, start, store_secret, store_token, stored_secrets, stored_token, with_keys,
};
use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::runs::run_in;
use crate::support::subscriber::Subscriber;

/// Another letter at the end of what is in base64.
fn tampered(text: &str) -> String {
    let (head, encoded) = text.rsplit_once(':').unwrap();
    let first = if encoded.starts_with('A') { 'B' } else { 'A' };
    format!("{head}:{first}{}", &encoded[1..])
}

#[rstest]
#[tokio::test]
async fn a_tampered_access_token_ends_the_run_and_every_row_stays_due(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = start(on, KEY_1).await;
    let (store, other) = (app.register("shop").await, app.register("other").await);
    app.insert_row(store, "r1", "pending", 60).await;
    app.insert_row(store, "r2", "failed", 50).await;
    let before = (app.row(store, "r1").await, app.row(store, "r2").await);
    let right = stored_token(&app, store).await;
    let copied = stored_token(&app, other).await;
    for wrong in [tampered(&right), right[..30].to_owned(), copied] {
        store_token(&app, store, &wrong).await;
        let error = app.run(store).await.unwrap_err();
        assert_eq!(
            error,
            format!(
                "the access token of store {} cannot be read: \
                 it is damaged, or was encrypted for another row",
                store.id
            )
        );
        let after = (app.row(store, "r1").await, app.row(store, "r2").await);
        assert_eq!(after, before);
        let row = app.store_row(store).await;
        assert_eq!((row.lease_token, row.enqueued_until), (None, None));
    }
    assert_eq!(app.marketplace.calls().len(), 0);

    store_token(&app, store, &right).await;
    app.run(store).await.unwrap();
    for receipt in ["r1", "r2"] {
        assert_eq!(app.row(store, receipt).await.unwrap().status, "success");
    }
}

#[rstest]
#[tokio::test]
async fn an_import_with_an_unreadable_access_token_is_made_up_for_later(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = start(on, KEY_1).await;
    let store = app.register("shop").await;
    let right = stored_token(&app, store).await;
    store_token(&app, store, &tampered(&right)).await;
    let (status, body) = app.import(store, "r1").await;
    let expected = json!({ "success": false, "error": "access_token_unreadable" });
    assert_eq!((status.as_u16(), body), (200, expected));
    assert_eq!(app.marketplace.calls().len(), 0);
    // However long it takes, it is never given up.
    for _ in 0..10 {
        app.run(store).await.unwrap_err();
    }
    store_token(&app, store, &right).await;
    app.run(store).await.unwrap();
    assert_eq!(app.import(store, "r1").await.1["success"], true);
}

/// The mistake of who makes a new key the first one before all processes know it.
#[rstest]
#[tokio::test]
async fn a_process_without_the_key_says_which_and_loses_nothing(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = start(on, &format!("{KEY_2},{KEY_1}")).await;
    let store = app.register("shop").await;
    app.insert_row(store, "r1", "pending", 60).await;
    for keys in [KEY_1, ""] {
        let older = with_keys(&app, keys).await;
        let error = run_in(&older, store).await.unwrap_err();
        assert!(
            error.contains(&format!("encrypted with key {ID_2}")),
            "{error}"
        );
    }
    app.run(store).await.unwrap();
    assert_eq!(app.row(store, "r1").await.unwrap().status, "success");
}

#[rstest]
#[tokio::test]
async fn an_unreadable_signing_secret_holds_up_its_endpoint_alone(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = start(on, KEY_1).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    let broken = app
        .subscribe("sync.completed", &subscriber.url("/broken"))
        .await;
    app.subscribe("sync.completed", &subscriber.url("/fine"))
        .await;
    let right = stored_secrets(&app, broken).await.swap_remove(0);
    store_secret(&app, broken, &tampered(&right)).await;
    app.owe_events(store, 1).await;
    app.after(Duration::ZERO).await;
    assert_eq!(subscriber.received("/fine").len(), 1);
    let error = "SELECT COUNT(*) FROM callback_deliveries
        WHERE status = 'pending' AND last_error = 'signing_secret_unreadable'";
    assert_eq!(app.count(error).await, 1);
    let path = format!("/webhooks/{broken}/test?organizationId=org-1");
    let (_, body) = app.post(&path, &json!({})).await;
    assert_eq!(body["error"], "signing_secret_unreadable", "{body}");
    assert_eq!(
        subscriber.received("/broken").len(),
        0,
        "nothing is sent unsigned"
    );

    store_secret(&app, broken, &right).await;
    app.after(Duration::from_mins(2)).await;
    assert_eq!(subscriber.received("/broken").len(), 1);
    assert_eq!(subscriber.received("/fine").len(), 1);
}

#[rstest]
#[tokio::test]
async fn a_new_secret_makes_an_endpoint_work_whose_old_one_is_unreadable(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = start(on, KEY_1).await;
    let subscriber = Subscriber::start().await;
    let endpoint = app
        .subscribe("sync.completed", &subscriber.url("/hook"))
        .await;
    store_secret(&app, endpoint, "enc:v1:00000000:AAAA").await;
    let path = |action| format!("/webhooks/{endpoint}/{action}?organizationId=org-1");
    app.post(&path("rotate-secret"), &json!({})).await;
    let (_, body) = app.post(&path("test"), &json!({})).await;
    assert_eq!(body["success"], true, "{body}");
    let request = subscriber.received("/hook").pop().unwrap();
    assert_eq!(request.header("webhook-signature").split(' ').count(), 1);
}
