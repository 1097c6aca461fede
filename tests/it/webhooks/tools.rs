//! The receiver of spec 8.1, `demo --base-url` and `smoke`.

use chrono::{DateTime, TimeDelta, Utc};
use jobs::OutboxId;
use marketplace_sync::cli::mock_webhook::{Receiver, Rules, Running, Signature};
use marketplace_sync::clock::Clock;
use marketplace_sync::marketplace::connector::http_client;
use marketplace_sync::timestamp;
use marketplace_sync::webhooks::sign::{SigningSecret, reference_headers, standard_headers};
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::app::Profile;
use crate::support::app::Profile::{Embedded, Server};
use crate::support::database::TestDatabase;
use crate::support::marketplace::noon;
use crate::support::process::{Environment, Process, environment, run};
use crate::support::queues::{PATIENCE, fresh_prefix, shared_redis};

const ID: OutboxId = OutboxId(Uuid::from_u128(7));

/// A receiver, and where it is.
async fn receiver(rules: Rules) -> (Receiver, Running) {
    let receiver = Receiver::new(rules, Clock::manual(noon()));
    let running = receiver.serve(0).await.unwrap();
    (receiver, running)
}

fn envelope(data: &Value) -> Value {
    json!({ "eventId": ID, "timestamp": timestamp::format(noon()), "data": data })
}

/// Sends a body with headers; gives the status and whether the answer says `ok`.
async fn send(url: &str, body: &Value, headers: &[(&str, String)]) -> (StatusCode, Value) {
    let mut request = http_client(PATIENCE).unwrap().post(url).json(body);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let answer = request.send().await.unwrap();
    (
        answer.status(),
        answer.json::<Value>().await.unwrap()["ok"].clone(),
    )
}

fn event_id() -> (&'static str, String) {
    ("x-event-id", ID.to_string())
}

/// D-40
#[tokio::test]
async fn a_receiver_fails_when_it_is_told_to_and_keeps_what_it_got() {
    let (receiver, running) = receiver(Rules::default()).await;
    let url = running.url();
    let fine = (StatusCode::OK, json!(true));
    let fails = (StatusCode::INTERNAL_SERVER_ERROR, json!(false));
    let failing_query = format!("{url}?fail=true");
    let x_fail = ("x-fail", "true".to_owned());
    for (url, data, headers, expected) in [
        (&url, json!({ "receipt": "r-14" }), vec![event_id()], &fine),
        (&url, json!({ "receipt": "r-15" }), vec![event_id()], &fails),
        (&url, json!({ "receipt": 15 }), vec![event_id()], &fine),
        (&url, json!({}), vec![x_fail], &fails),
        (&failing_query, json!({}), vec![], &fails),
    ] {
        assert_eq!(
            &send(url, &envelope(&data), &headers).await,
            expected,
            "{data}"
        );
    }
    assert_eq!(send(&url, &json!({ "receipt": "5" }), &[]).await, fails);
    let list = http_client(PATIENCE).unwrap();
    let list = list.get(url.replace("/webhook", "/received")).send();
    let list: Value = list.await.unwrap().json().await.unwrap();
    assert_eq!(list.as_array().unwrap().len(), 6);
    assert_eq!(list[0]["eventId"], json!(ID));
    assert_eq!(list[0]["body"], envelope(&json!({ "receipt": "r-14" })));
    assert_eq!(list[0]["headers"]["x-event-id"], json!(ID));
    assert_eq!(
        (&list[0]["status"], &list[1]["status"]),
        (&json!(200), &json!(500))
    );
    assert_eq!(receiver.received().len(), 6);
}

#[tokio::test]
async fn the_first_requests_of_each_event_fail_when_that_was_asked_for() {
    let rules = Rules {
        fail_first: 2,
        ..Rules::default()
    };
    let (_receiver, running) = receiver(rules).await;
    for event in ["one", "two"] {
        let mut answers = Vec::new();
        for _ in 0..4 {
            let headers = [("x-event-id", event.to_owned())];
            answers.push(send(&running.url(), &json!({}), &headers).await.0.as_u16());
        }
        assert_eq!(answers, [500, 500, 200, 200], "{event}");
    }
}

///
#[tokio::test]
async fn a_receiver_with_a_secret_takes_only_what_is_signed_with_it() {
    let rules = Rules {
        secret: Some("secret".into()),
        ..Rules::default()
    };
    let (receiver, running) = receiver(rules).await;
    let body = envelope(&json!({}));
    let bytes = serde_json::to_vec(&body).unwrap();
    let signed = |secret: &str| reference_headers(ID, noon().into(), &bytes, Some(&secret.into()));
    let unsigned = reference_headers(ID, noon().into(), &bytes, None);
    for (headers, expected) in [
        (signed("secret"), StatusCode::OK),
        (signed("another"), StatusCode::UNAUTHORIZED),
        (unsigned, StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(send(&running.url(), &body, &headers).await.0, expected);
    }
    let other = envelope(&json!({ "changed": true }));
    let (status, _) = send(&running.url(), &other, &signed("secret")).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let found: Vec<_> = receiver.received().iter().map(|it| it.signature).collect();
    let [verified, refused] = [Signature::Verified, Signature::Refused];
    assert_eq!(found, [verified, refused, refused, refused]);
}

#[tokio::test]
async fn a_receiver_that_trusts_a_webhook_takes_only_what_that_one_has_signed_just_now() {
    let (receiver, running) = receiver(Rules::default()).await;
    let [own, strange] = [SigningSecret::generate(), SigningSecret::generate()];
    receiver.trust(own.clone());
    let body = envelope(&json!({}));
    let bytes = serde_json::to_vec(&body).unwrap();
    let signed = |secrets: &[SigningSecret], at: DateTime<Utc>| {
        standard_headers(ID, at, &bytes, secrets).to_vec()
    };
    let both = [strange.clone(), own.clone()];
    for (headers, expected) in [
        (signed(std::slice::from_ref(&own), noon()), StatusCode::OK),
        (signed(&both, noon()), StatusCode::OK),
        (signed(&[strange], noon()), StatusCode::UNAUTHORIZED),
        (
            signed(&[own], noon() - TimeDelta::minutes(6)),
            StatusCode::UNAUTHORIZED,
        ),
        (vec![], StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(send(&running.url(), &body, &headers).await.0, expected);
    }
}

fn settings(on: Profile, database: &TestDatabase, more: &[(&str, &str)]) -> Environment {
    let mut settings = environment(&[
        ("DATABASE_URL", database.url()),
        ("DATABASE_MAX_CONNECTIONS", "8"),
        ("QUEUE_PREFIX", &fresh_prefix()),
        ("PORT", "0"),
        ("ADMIN_PORT", "0"),
        ("LOG_FORMAT", "json"),
    ]);
    settings.extend(environment(more));
    if on == Profile::Server {
        settings.push(("REDIS_URL".to_owned(), shared_redis()));
    }
    settings
}

/// The answers that `demo --base-url` printed, without the secrets, which are shown once.
fn answers(stdout: &[String]) -> Vec<(String, Value)> {
    let steps = stdout.iter().filter_map(|line| line.split_once(" → "));
    steps
        .map(|(step, answer)| {
            let (status, body) = answer.split_once(' ').unwrap();
            let mut body: Value = serde_json::from_str(body).unwrap();
            if let Some(object) = body.as_object_mut() {
                object.remove("secret");
            }
            (format!("{step} {status}"), body)
        })
        .collect()
}

///
#[rstest]
#[tokio::test]
async fn a_first_round_is_answered_as_the_rules_say_and_the_second_the_same(
    #[values(Embedded, Server)] on: Profile,
) {
    let database = TestDatabase::create(on).await;
    // Nothing runs in the background, so that the second round meets what the first one left.
    let serve = settings(on, &database, &[]);
    let serve = Process::start(&["serve", "--roles", "api"], &serve);
    let url = format!("http://{}", serve.address("public").await);
    let first = run(&["demo", "--base-url", &url], &environment(&[])).await;
    assert_eq!(first.code, Some(0), "{first:#?}");
    let steps = answers(&first.stdout);
    let names: Vec<_> = steps.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "POST /stores/register 200",
            "POST /orders/import order-101 200",
            "POST /orders/import order-102 200",
            "POST /orders/import order-115 200",
            "GET /stores/sync-status 200",
            "POST /webhooks/register sync.started 200",
            "POST /webhooks/register sync.completed 200",
            "POST /webhooks/register sync.failed 200",
            "GET /webhooks?organizationId=org-1 200",
        ]
    );
    assert_eq!(
        steps[1].1["orderId"],
        "e89662f3-1d12cc5e6-2b9c328d9-3a2598bcc-00048aefeebf"
    );
    assert_eq!(steps[1].1["amount"].as_f64(), Some(741.0));
    assert_eq!(
        steps[2].1,
        json!({ "success": false, "error": "invalid_receipt" })
    );
    assert_eq!(
        steps[3].1,
        json!({ "success": false, "error": "rate_limited" })
    );
    assert_eq!(steps[4].1["syncStatus"], "partial");
    assert_eq!(steps[4].1["importedOrders"], 1);
    assert_eq!(steps[4].1["rateLimitedCount"], 1);
    assert_eq!(steps[8].1.as_array().unwrap().len(), 3);
    let token = steps[0].1["syncToken"].as_str().unwrap();
    assert_eq!(first.stdout.last().unwrap(), &format!("syncToken {token}"));

    let again = environment(&[("BASE_URL", &url)]);
    let again = run(&["demo", "--base-url"], &again).await;
    assert_eq!(answers(&again.stdout), steps);
    serve.kill().await;
}

#[tokio::test]
async fn a_first_round_ends_with_the_first_refusal() {
    let database = TestDatabase::create(Embedded).await;
    let serve = settings(Embedded, &database, &[]);
    let serve = Process::start(&["serve", "--roles", "api"], &serve);
    let url = format!("http://{}", serve.address("public").await);
    let wrong = environment(&[("MARKETPLACE", "ebay"), ("BASE_URL", &url)]);
    let exit = run(&["demo", "--base-url"], &wrong).await;
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    assert_eq!(exit.stdout.len(), 1);
    assert!(exit.stdout[0].starts_with("POST /stores/register → 400 "));
    serve.kill().await;
    let nobody = environment(&[("BASE_URL", "http://127.0.0.1:1")]);
    assert_eq!(run(&["demo", "--base-url"], &nobody).await.code, Some(1));
}

/// A-81, NF-7
#[rstest]
#[tokio::test]
async fn the_smoke_test_passes(#[values(Embedded, Server)] on: Profile) {
    let database = TestDatabase::create(on).await;
    let exit = match on {
        Profile::Embedded => run(&["smoke"], &environment(&[])).await,
        Profile::Server => run(&["smoke"], &settings(on, &database, &[])).await,
    };
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    assert_eq!(exit.stdout.last().unwrap(), "smoke: everything works");
}

#[tokio::test]
async fn the_receiver_is_a_command_that_logs_what_it_receives() {
    let process = Process::start(
        &["mock-webhook", "--port", "0", "--fail-first", "1"],
        &environment(&[("LOG_FORMAT", "json")]),
    );
    let listening = process.wait_for_event("listening").await;
    let url = format!("http://{}/webhook", listening["address"].as_str().unwrap());
    let body = envelope(&json!({}));
    assert_eq!(
        send(&url, &body, &[event_id()]).await.0,
        StatusCode::INTERNAL_SERVER_ERROR
    );
    assert_eq!(send(&url, &body, &[event_id()]).await.0, StatusCode::OK);
    let lines = process.wait_for_events("webhook_received", 2).await;
    assert_eq!(lines[0]["x-event-id"], json!(ID));
    assert_eq!(lines[0]["body"], body.to_string());
    process.signal("TERM");
    assert_eq!(process.exit().await.code, Some(0));
}
