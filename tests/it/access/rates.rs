//! How often somebody may ask.

use std::time::Duration;

use marketplace_sync::http::auth::Scope;
use reqwest::{Method, RequestBuilder, Response};
use rstest::rstest;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};
use crate::support::log::Log;

const OWN: &str = "/webhooks?organizationId=org-1";

/// What a 429 has to say.
async fn too_often(answer: Response, retry_after: &str) {
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.headers()["retry-after"], retry_after);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(
        (&problem["code"], &problem["error"]),
        (&json!("rate_limited"), &json!("rate_limited"))
    );
}

#[rstest]
#[tokio::test]
async fn a_key_has_an_allowance_of_its_own(#[values(Embedded, Server)] on: Profile) {
    let settings = [("AUTH", "required"), ("RATE_LIMIT_PER_KEY", "2")];
    let app = TestApp::start_with(on, &settings).await;
    let (one, other) = (app.key_of("org-1").await, app.key_of("org-1").await);
    let read = app.make_key("org-1", Scope::Read, None).await.1;
    let ask =
        async |key: &SecretString| app.request_as(key, Method::GET, OWN).send().await.unwrap();
    for _ in 0..2 {
        assert_eq!(ask(&one).await.status(), 200);
    }
    too_often(ask(&one).await, "1").await;
    assert_eq!(ask(&other).await.status(), 200);
    app.clock.advance(Duration::from_millis(499));
    too_often(ask(&one).await, "1").await;
    app.clock.advance(Duration::from_millis(1));
    assert_eq!(ask(&one).await.status(), 200);
    too_often(ask(&one).await, "1").await;
    // What is forbidden costs as well; what nobody knows has no allowance.
    for status in [403, 403, 429] {
        let request = app.request_as(&read, Method::POST, "/webhooks/register");
        assert_eq!(request.send().await.unwrap().status(), status);
    }
    for _ in 0..5 {
        assert_eq!(ask(&SecretString::from("wrong")).await.status(), 401);
    }
    app.settle().await;
}

#[rstest]
#[tokio::test]
async fn a_sync_token_has_an_allowance_of_its_own(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start_with(on, &[("RATE_LIMIT_PER_KEY", "3")]).await;
    let (one, other) = (app.register("one").await, app.register("other").await);
    assert_eq!(app.import(one, "order-1").await.0, 200);
    let batch = json!({ "syncToken": one.token, "receipts": ["order-1", "order-2"] });
    assert_eq!(app.post("/orders/import/batch", &batch).await.0, 200);
    app.sync_status(one).await;

    let calls = app.marketplace.calls().len();
    let (status, body) = app.import(one, "order-3").await;
    assert_eq!(
        (status.as_u16(), &body["code"]),
        (429, &json!("rate_limited"))
    );
    assert_eq!(app.post("/orders/import/batch", &batch).await.0, 429);
    let path = format!("/stores/sync-status?syncToken={}", one.token);
    assert_eq!(app.get(&path).await.0, 429);
    assert_eq!(app.marketplace.calls().len(), calls);
    assert_eq!(app.count("SELECT COUNT(*) FROM sync_logs").await, 2);

    assert_eq!(app.import(other, "order-1").await.0, 200);
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(app.import(one, "order-3").await.0, 200);
}

impl TestApp {
    /// A request as if from an address: the test is a proxy.
    fn from(&self, address: &str, path: &str) -> RequestBuilder {
        let request = self.http.get(self.server.url(path));
        request.header("x-forwarded-for", address)
    }
}

#[tokio::test]
async fn an_address_has_an_allowance_of_its_own() {
    let settings = [
        ("RATE_LIMIT_PER_IP", "2"),
        ("TRUSTED_PROXIES", "127.0.0.0/8"),
    ];
    let app = TestApp::start_with(Embedded, &settings).await;
    let ask = async |address: &str, path: &str| app.from(address, path).send().await.unwrap();
    for (first, second) in [
        ("203.0.113.1", "::ffff:203.0.113.1"),
        ("2001:db8::1", "2001:db8::2:3:4:5"),
        (
            "2001:db8:0:1::1",
            "198.51.100.1, [2001:db8:0:1::2]:80, 127.0.0.9",
        ),
    ] {
        // Whatever it asks for, and whether there is such a thing.
        assert_eq!(ask(first, "/openapi.json").await.status(), 200);
        assert_eq!(ask(second, "/nothing").await.status(), 404);
        for address in [first, second] {
            too_often(ask(address, OWN).await, "1").await;
        }
        // Whoever looks after the service still sees that it lives.
        assert_eq!(ask(first, "/health/live").await.status(), 200);
        assert_eq!(ask(first, "/health/ready").await.status(), 200);
        too_often(ask(first, "/health/live").await, "1").await;
    }
    app.clock.advance(Duration::from_millis(500));
    assert_eq!(ask("203.0.113.1", OWN).await.status(), 200);
    too_often(ask("203.0.113.1", OWN).await, "1").await;
}

#[tokio::test]
async fn who_is_no_proxy_cannot_choose_an_address() {
    let settings = [
        ("RATE_LIMIT_PER_IP", "2"),
        ("TRUSTED_PROXIES", "10.0.0.0/8"),
    ];
    let app = TestApp::start_with(Embedded, &settings).await;
    let ask = async |address: &str| app.from(address, OWN).send().await.unwrap();
    assert_eq!(ask("203.0.113.1").await.status(), 200);
    assert_eq!(ask("203.0.113.2").await.status(), 200);
    too_often(ask("203.0.113.3").await, "1").await;
}

#[tokio::test]
async fn whoever_guesses_keys_has_to_wait() {
    let settings = [
        ("AUTH", "required"),
        ("RATE_LIMIT_PER_IP", "1000"),
        ("TRUSTED_PROXIES", "127.0.0.1"),
    ];
    let app = TestApp::start_with(Embedded, &settings).await;
    let log = Log::capture();
    let key = app.key_of("org-1").await;
    let try_key = async |address: &str, key: &str| {
        let request = app.from(address, OWN).header("x-api-key", key);
        request.send().await.unwrap()
    };
    // A client that was forgotten, one without a key, and one with the wrong organization.
    for _ in 0..50 {
        assert_eq!(try_key("192.0.2.1", "old").await.status(), 401);
        assert_eq!(
            app.from("192.0.2.1", OWN).send().await.unwrap().status(),
            401
        );
        let foreign = app.from("192.0.2.1", "/webhooks?organizationId=org-2");
        let foreign = foreign.header("x-api-key", key.expose_secret());
        assert_eq!(foreign.send().await.unwrap().status(), 403);
    }
    for guess in 1..20 {
        assert_eq!(
            try_key("192.0.2.1", &format!("guess-{guess}"))
                .await
                .status(),
            401
        );
    }
    assert_eq!(log.count("too_many_failed_logins"), 1);
    // Not even the right one tells them that it is.
    too_often(try_key("192.0.2.1", "guess-20").await, "3").await;
    too_often(try_key("192.0.2.1", key.expose_secret()).await, "3").await;
    let bearer = app.from("192.0.2.1", OWN).bearer_auth("guess-21");
    too_often(bearer.send().await.unwrap(), "3").await;
    assert_eq!(
        app.from("192.0.2.1", OWN).send().await.unwrap().status(),
        401
    );
    assert_eq!(
        try_key("192.0.2.2", key.expose_secret()).await.status(),
        200
    );

    app.clock.advance(Duration::from_secs(3));
    assert_eq!(try_key("192.0.2.1", "guess-22").await.status(), 401);
    too_often(try_key("192.0.2.1", key.expose_secret()).await, "3").await;
    app.clock.advance(Duration::from_secs(3));
    assert_eq!(
        try_key("192.0.2.1", key.expose_secret()).await.status(),
        200
    );
    app.settle().await;
}

#[tokio::test]
async fn without_a_limit_nobody_waits() {
    let app = TestApp::start_with(Embedded, &[("AUTH", "required")]).await;
    let key = app.key_of("org-1").await;
    for number in 0..300 {
        let guess = SecretString::from(format!("guess-{number}"));
        assert_eq!(app.get_as(&guess, OWN).await.0, 401);
        assert_eq!(app.get_as(&key, OWN).await.0, 200);
    }
    app.settle().await;
}
