//! Signatures: what a receiver verifies with the official library, and the headers of the
//! reference.

use std::time::Duration;

use marketplace_sync::clock::Clock;
use poem::http::HeaderMap;
use reqwest::StatusCode;
use ring::hmac;
use rstest::rstest;
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use super::{ORGANIZATION, registered};
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};
use crate::support::receiver::{Received, Receiver};

const DAY: Duration = Duration::from_hours(24);

async fn post(app: &TestApp, endpoint: &Value, action: &str) -> Value {
    let id = endpoint["id"].as_str().unwrap();
    let path = format!("/webhooks/{id}/{action}?organizationId={ORGANIZATION}");
    let (status, body) = app.post(&path, &json!({})).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

/// What a test of the endpoint sends now.
async fn sent(app: &TestApp, endpoint: &Value, receiver: &Receiver) -> Received {
    let answer = post(app, endpoint, "test").await;
    assert_eq!(answer["success"], true, "{answer}");
    receiver.received().pop().unwrap()
}

/// Which of the secrets have signed, by their places.
fn signers(request: &Received, secrets: &[String]) -> Vec<usize> {
    let timestamp = request.header("webhook-timestamp").parse().unwrap();
    let signatures: Vec<&str> = request.header("webhook-signature").split(' ').collect();
    let has_signed = |secret: &String| {
        let webhook = Webhook::new(secret).unwrap();
        let id = request.header("webhook-id");
        let expected = webhook.sign(id, timestamp, &request.body).unwrap();
        signatures.contains(&expected.as_str())
    };
    let found: Vec<usize> = (0..secrets.len())
        .filter(|n| has_signed(&secrets[*n]))
        .collect();
    assert_eq!(found.len(), signatures.len(), "a signature of nobody");
    found
}

#[rstest]
#[tokio::test]
async fn the_official_library_verifies_what_is_sent(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    // The library looks at the time.
    app.clock.set(Clock::system().now());
    let receiver = Receiver::start().await;
    let endpoint = registered(&app, "sync.completed", &receiver.url()).await;
    let request = sent(&app, &endpoint, &receiver).await;

    let secret = endpoint["secret"].as_str().unwrap();
    let verify = |secret: &str, body: &[u8], headers: &HeaderMap| {
        Webhook::new(secret).unwrap().verify(body, headers).is_ok()
    };
    assert!(verify(secret, &request.body, &request.headers));
    assert!(!verify(
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        &request.body,
        &request.headers
    ));
    assert!(!verify(
        secret,
        &[&request.body[..], b" "].concat(),
        &request.headers
    ));
    let mut headers = request.headers.clone();
    headers.insert("webhook-id", "another".parse().unwrap());
    assert!(!verify(secret, &request.body, &headers));

    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body["eventId"], request.header("webhook-id"));
    assert_eq!(body["eventId"], request.header("x-event-id"));
    assert_eq!(
        (&body["event"], &body["organizationId"], &body["data"]),
        (
            &json!("webhook.test"),
            &json!(ORGANIZATION),
            &json!({ "endpointId": endpoint["id"] })
        )
    );
    assert_eq!(request.header("content-type"), "application/json");
}

#[rstest]
#[tokio::test]
async fn replaced_secrets_sign_for_a_day_and_two_at_most(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let receiver = Receiver::start().await;
    let endpoint = registered(&app, "sync.completed", &receiver.url()).await;
    let mut secrets = vec![endpoint["secret"].as_str().unwrap().to_owned()];
    for expected in [&[0, 1][..], &[0, 1, 2], &[1, 2, 3], &[2, 3, 4]] {
        app.clock.advance(Duration::from_mins(1));
        let rotated = post(&app, &endpoint, "rotate-secret").await;
        secrets.push(rotated["secret"].as_str().unwrap().to_owned());
        let request = sent(&app, &endpoint, &receiver).await;
        assert_eq!(signers(&request, &secrets), expected);
        // The newest comes first: some receivers look at one only.
        let first = request
            .header("webhook-signature")
            .split(' ')
            .next()
            .unwrap();
        let mut alone = request.clone();
        alone
            .headers
            .insert("webhook-signature", first.parse().unwrap());
        assert_eq!(signers(&alone, &secrets), [secrets.len() - 1]);
    }
    // The third was replaced a minute before the fourth.
    app.clock
        .advance(DAY.saturating_sub(Duration::from_secs(61)));
    assert_eq!(
        signers(&sent(&app, &endpoint, &receiver).await, &secrets),
        [2, 3, 4]
    );
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(
        signers(&sent(&app, &endpoint, &receiver).await, &secrets),
        [3, 4]
    );
    app.clock.advance(Duration::from_mins(1));
    assert_eq!(
        signers(&sent(&app, &endpoint, &receiver).await, &secrets),
        [4]
    );
    // What signs no more is forgotten, when there is a new one.
    post(&app, &endpoint, "rotate-secret").await;
    assert_eq!(app.count("SELECT COUNT(*) FROM webhook_secrets").await, 2);
}

#[rstest]
#[tokio::test]
async fn rotations_at_once_leave_one_current_secret(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let endpoint = registered(&app, "sync.completed", "http://127.0.0.1/").await;
    futures::future::join_all((0..8).map(|_| post(&app, &endpoint, "rotate-secret"))).await;
    let current = "SELECT COUNT(*) FROM webhook_secrets WHERE expires_at IS NULL";
    assert_eq!(app.count(current).await, 1);
    assert_eq!(app.count("SELECT COUNT(*) FROM webhook_secrets").await, 3);
}

///
#[rstest]
#[tokio::test]
async fn the_secret_of_the_service_signs_the_raw_body(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start_with(on, &[("WEBHOOK_SECRET", "s3cret")]).await;
    let receiver = Receiver::start().await;
    let endpoint = registered(&app, "sync.completed", &receiver.url()).await;
    let request = sent(&app, &endpoint, &receiver).await;
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body["timestamp"], request.header("x-webhook-timestamp"));
    let signature = request.header("x-webhook-signature");
    let hex = signature.strip_prefix("sha256=").unwrap();
    assert_eq!(hex, hex.to_ascii_lowercase());
    let bytes: Vec<u8> = (0..64)
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect();
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"s3cret");
    hmac::verify(&key, &request.body, &bytes).unwrap();
}

///
#[rstest]
#[tokio::test]
async fn without_a_secret_of_the_service_its_headers_are_absent(
    #[values(Embedded, Server)] on: Profile,
    #[values(None, Some(""))] secret: Option<&str>,
) {
    let settings: Vec<_> = secret
        .map(|secret| ("WEBHOOK_SECRET", secret))
        .into_iter()
        .collect();
    let app = TestApp::start_with(on, &settings).await;
    let receiver = Receiver::start().await;
    let endpoint = registered(&app, "sync.completed", &receiver.url()).await;
    let request = sent(&app, &endpoint, &receiver).await;
    for name in ["x-webhook-signature", "x-webhook-timestamp"] {
        assert!(!request.headers.contains_key(name), "{name}");
    }
}
