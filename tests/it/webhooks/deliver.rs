//! What a job sends, and what it writes down.

use std::time::Duration;

use jobs::{DeliverCallback, Job};
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};
use crate::support::deliveries::{deliver_in, spawn_delivery};
use crate::support::lock::Lock;
use crate::support::log::Log;
use crate::support::subscriber::Answer::{Close, Endless, Full, Hang, Nonsense, Status};
use crate::support::subscriber::Subscriber;

const QUEUE: &str = DeliverCallback::QUEUE;

/// a run ends, and its subscriber hears of it.
#[rstest]
#[tokio::test]
async fn a_subscriber_hears_that_a_run_ended(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let endpoint = app
        .subscribe("sync.completed", &subscriber.url("/webhook"))
        .await;
    let store = app.register("shop").await;
    app.insert_row(store, "r1", "failed", 3600).await;
    app.schedule().await;
    let log = Log::capture();
    app.run_jobs().await;

    let [received] = &subscriber.received("/webhook")[..] else {
        panic!("one request")
    };
    let outbox = app.outbox().await;
    assert_eq!(outbox.len(), 2);
    for event in &outbox {
        assert_eq!((event.status.as_str(), event.attempt), ("success", 0));
        assert_eq!((&event.last_error, event.next_retry_at), (&None, None));
        assert_eq!(event.enqueued_until, None);
    }
    let id = outbox[1].id.to_string();
    assert_eq!(received.header("x-event-id"), id);
    assert_eq!(received.header("webhook-id"), id);
    assert_eq!(received.header("content-type"), "application/json");
    assert_eq!(
        received.json(),
        json!({
            "eventId": id,
            "event": "sync.completed",
            "timestamp": "2024-01-01T12:00:00.123Z",
            "organizationId": "org-1",
            "storeId": store.id,
            "data": {
                "syncStatus": "success",
                "processedCount": 1,
                "successCount": 1,
                "failedCount": 0,
                "rateLimitedCount": 0,
                "importedOrders": 1,
                "remainingBacklog": false,
            },
        })
    );
    let delivery = app.delivery(outbox[1].id, endpoint).await;
    assert_eq!(delivery.status, "success");
    assert_eq!((delivery.http_status, delivery.attempt), (Some(200), 0));
    assert_eq!(delivery.delivered_at, Some(app.clock.now()));
    assert_eq!(
        (delivery.lease_token, delivery.lease_expires_at),
        (None, None)
    );

    assert_eq!(log.count("callback_delivery"), 1);
    let line = log.lines();
    let line = line.iter().find(|it| it["event"] == "callback_delivery");
    let line = line.unwrap();
    for (field, value) in [
        ("outboxEvent", json!("sync.completed")),
        ("outboxId", json!(id)),
        ("organizationId", json!("org-1")),
        ("storeId", json!(store.id)),
        ("attempt", json!(0)),
        ("endpointCount", json!(1)),
        ("successCount", json!(1)),
        ("failCount", json!(0)),
        ("nextRetryAt", Value::Null),
    ] {
        assert_eq!(line[field], value, "{field}");
    }
    let [completed] = &log.of("callback_job_completed")[..] else {
        panic!("one line")
    };
    assert_eq!(completed["jobId"], format!("outbox:{id}"));
    assert_eq!(completed["outboxId"], id);
    assert_eq!(completed["status"], "success");
}

/// A-64, WH-5: the row is there, and nobody waits for anything.
#[rstest]
#[tokio::test]
async fn an_event_that_nobody_subscribed_to_is_done_at_once(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_row(store, "r1", "failed", 3600).await;
    app.run(store).await.unwrap();
    let outbox = app.outbox().await;
    assert_eq!(outbox.len(), 2);
    assert!(outbox.iter().all(|event| event.status == "success"));
    assert_eq!(app.app.queue.waiting(QUEUE).await.unwrap(), 0);
    assert_eq!(app.sweep().await.scanned_outbox, 0);
}

/// exactly 200 and 201; and each failure says what it was.
#[rstest]
#[tokio::test]
async fn two_statuses_are_success_and_everything_else_is_not(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start_with(on, &[("CALLBACK_TIMEOUT_MS", "300")]).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    let endpoint = app
        .subscribe("sync.completed", &subscriber.url("/webhook"))
        .await;
    let elsewhere = format!("location: {}\r\n", subscriber.url("/elsewhere"));
    let redirect = Full(302, Box::leak(elsewhere.into_boxed_str()), Vec::new());
    for (answer, status, error, last_error) in [
        (Status(200), Some(200), None, None),
        (Status(201), Some(201), None, None),
        (Status(202), Some(202), None, Some("HTTP 202 Accepted")),
        (Status(204), Some(204), None, Some("HTTP 204 No Content")),
        (redirect, Some(302), None, Some("HTTP 302 Found")),
        (Status(404), Some(404), None, Some("HTTP 404 Not Found")),
        (
            Status(500),
            Some(500),
            None,
            Some("HTTP 500 Internal Server Error"),
        ),
        (Hang, None, Some("timeout"), Some("timeout")),
        (
            Close,
            None,
            Some("transport_failed"),
            Some("transport_failed"),
        ),
        (
            Nonsense,
            None,
            Some("transport_failed"),
            Some("transport_failed"),
        ),
    ] {
        let what = format!("{answer:?}");
        subscriber.answer("/webhook", [answer]);
        let event = app.owe_events(store, 1).await[0];
        app.deliver(event).await.unwrap();
        let delivery = app.delivery(event, endpoint).await;
        let is_success = last_error.is_none();
        let expected = if is_success { "success" } else { "pending" };
        assert_eq!(delivery.status, expected, "{what}");
        assert_eq!(delivery.http_status, status, "{what}");
        assert_eq!(delivery.last_error.as_deref(), last_error, "{what}");
        let [attempt] = &app.attempts(event, endpoint).await[..] else {
            panic!("one attempt: {what}")
        };
        assert_eq!(attempt.http_status, status, "{what}");
        assert_eq!(attempt.error.as_deref(), error, "{what}");
        let event = app.outbox_row(event).await;
        assert_eq!(event.status, expected, "{what}");
        let reasons = last_error.map(|error| format!("{endpoint}: {error}"));
        assert_eq!(event.last_error, reasons, "{what}");
    }
    assert_eq!(subscriber.count("/webhook"), 10);
    assert_eq!(
        subscriber.count("/elsewhere"),
        0,
        "redirects are not followed"
    );
}

/// A server that is not there is a failure like any other.
#[rstest]
#[tokio::test]
async fn nobody_listening_is_a_failure_of_the_delivery_and_not_of_the_job(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", nobody.local_addr().unwrap());
    drop(nobody);
    let endpoint = app.subscribe("sync.completed", &url).await;
    let event = app.owe_events(store, 1).await[0];
    app.deliver(event).await.unwrap();
    let delivery = app.delivery(event, endpoint).await;
    assert_eq!((delivery.status.as_str(), delivery.attempt), ("pending", 1));
    assert_eq!(delivery.last_error.as_deref(), Some("connection_failed"));
}

#[rstest]
#[tokio::test]
async fn four_kib_of_a_reply_are_kept_and_its_end_is_not_waited_for(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start_with(on, &[("CALLBACK_TIMEOUT_MS", "300")]).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    let endpoint = app
        .subscribe("sync.completed", &subscriber.url("/webhook"))
        .await;
    let mut long = b"no \0 ".repeat(2000);
    long[0] = 0xff;
    subscriber.answer("/webhook", [Full(500, "", long), Endless(200)]);
    let event = app.owe_events(store, 1).await[0];
    app.deliver(event).await.unwrap();
    app.clock.advance(Duration::from_mins(2));
    app.deliver(event).await.unwrap();
    let attempts = app.attempts(event, endpoint).await;
    assert_eq!(attempts.len(), 2);
    let kept = attempts[0].response.as_ref().unwrap();
    assert_eq!(kept.chars().count(), 4096);
    assert!(!kept.contains('\0'));
    assert_eq!(attempts[1].response.as_deref(), Some("and so on"));
    assert_eq!(app.outbox_row(event).await.status, "success");
}

/// D-32: serialised once; whoever gets it, and whenever, gets the same bytes.
#[rstest]
#[tokio::test]
async fn every_request_of_an_event_has_the_same_body_and_the_same_id(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    for path in ["/a", "/b"] {
        app.subscribe("sync.completed", &subscriber.url(path)).await;
    }
    subscriber.answer("/a", [Status(500), Status(500), Status(200)]);
    app.insert_row(store, "r1", "failed", 3600).await;
    app.run(store).await.unwrap();
    app.run_jobs().await;
    for _ in 0..2 {
        app.after(Duration::from_mins(6)).await;
    }
    let received = [subscriber.received("/a"), subscriber.received("/b")].concat();
    assert_eq!(received.len(), 4);
    for request in &received {
        assert_eq!(request.body, received[0].body);
        assert_eq!(request.event_id(), received[0].event_id());
    }
    let body = String::from_utf8(received[0].body.clone()).unwrap();
    let keys = [
        "eventId",
        "event",
        "timestamp",
        "organizationId",
        "storeId",
        "data",
    ];
    let places = keys.map(|key| body.find(&format!("\"{key}\":")).unwrap());
    assert!(places.is_sorted(), "{body}");
    let times: Vec<_> = subscriber
        .received("/a")
        .iter()
        .map(|it| it.header("webhook-timestamp").parse::<i64>().unwrap())
        .collect();
    assert_eq!(
        times[0],
        app.outbox().await[1]
            .id
            .get_timestamp()
            .unwrap()
            .to_unix()
            .0
            .cast_signed()
    );
    assert_eq!((times[1] - times[0], times[2] - times[1]), (360, 360));
}

/// with a secret of the whole service, and without one.
#[rstest]
#[tokio::test]
async fn the_reference_headers_are_there_with_a_secret_and_only_then(
    #[values(Embedded, Server)] on: Profile,
    #[values(Some("shared"), None)] secret: Option<&str>,
) {
    let settings = secret.map(|secret| ("WEBHOOK_SECRET", secret));
    let app = TestApp::start_with(on, settings.as_slice()).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    app.subscribe("sync.completed", &subscriber.url("/webhook"))
        .await;
    let event = app.owe_events(store, 1).await[0];
    app.deliver(event).await.unwrap();
    let [received] = &subscriber.received("/webhook")[..] else {
        panic!("one request")
    };
    assert!(received.header("webhook-signature").starts_with("v1,"));
    assert_eq!(received.header("x-event-id"), event.to_string());
    let reference = ["x-webhook-signature", "x-webhook-timestamp"];
    let [signature, timestamp] = reference.map(|name| received.find(name));
    if secret.is_some() {
        assert!(signature.unwrap().starts_with("sha256="));
        assert_eq!(timestamp.unwrap(), received.json()["timestamp"]);
    } else {
        assert_eq!((signature, timestamp), (None, None));
    }
}

/// A-67, D-34: a job too many, or too early, sends nothing.
#[rstest]
#[tokio::test]
async fn a_job_sends_nothing_that_is_done_or_not_due(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    app.subscribe("sync.completed", &subscriber.url("/webhook"))
        .await;
    subscriber.answer("/webhook", [Status(200), Status(500)]);
    let done = app.owe_events(store, 1).await[0];
    for _ in 0..2 {
        app.deliver(done).await.unwrap();
    }
    assert_eq!(subscriber.count("/webhook"), 1);
    let failing = app.owe_events(store, 1).await[0];
    for _ in 0..2 {
        app.deliver(failing).await.unwrap();
    }
    assert_eq!(
        subscriber.count("/webhook"),
        2,
        "the second one is too early"
    );
    for _ in 0..2 {
        app.clock.advance(Duration::from_mins(10));
        app.deliver(failing).await.unwrap();
    }
    assert_eq!(app.outbox_row(failing).await.status, "failed");
    app.clock.advance(Duration::from_hours(1));
    app.deliver(failing).await.unwrap();
    assert_eq!(subscriber.count("/webhook"), 4);
}

/// A-67, D-35: whichever process they run in.
#[rstest]
#[tokio::test]
async fn two_jobs_of_an_event_at_once_make_one_request_to_each_endpoint(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    for path in ["/a", "/b"] {
        app.subscribe("sync.completed", &subscriber.url(path)).await;
        subscriber.hold(path);
    }
    let event = app.owe_events(store, 1).await[0];
    let other = app.other_process().await;
    let jobs = [&app.app, &app.app, &other].map(|process| spawn_delivery(process, event));
    subscriber.has_received("/a", 1).await;
    subscriber.has_received("/b", 1).await;
    deliver_in(&other, event).await.unwrap();
    for path in ["/a", "/b"] {
        subscriber.release(path);
    }
    for job in jobs {
        job.await.unwrap().unwrap();
    }
    assert_eq!((subscriber.count("/a"), subscriber.count("/b")), (1, 1));
    assert_eq!(app.outbox_row(event).await.status, "success");
}

/// Outcomes are written together; whoever deletes a webhook may hold events of it for a while.
#[tokio::test]
async fn an_event_that_somebody_has_locked_holds_up_no_other() {
    let app = TestApp::start(Server).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    app.subscribe("sync.completed", &subscriber.url("/webhook"))
        .await;
    subscriber.hold("/webhook");
    let events = app.owe_events(store, 2).await;
    let [locked, other] = [events[0], events[1]];
    let jobs = [locked, other].map(|event| spawn_delivery(&app.app, event));
    subscriber.has_received("/webhook", 2).await;
    let lock = Lock::take_event(&app.app.db, locked).await;
    subscriber.release("/webhook");
    let [of_locked, of_other] = jobs;
    of_other.await.unwrap().unwrap();
    assert_eq!(app.outbox_row(other).await.status, "success");
    assert_eq!(app.outbox_row(locked).await.status, "pending");
    lock.release().await;
    of_locked.await.unwrap().unwrap();
    assert_eq!(app.outbox_row(locked).await.status, "success");
    assert_eq!(subscriber.count("/webhook"), 2);
}

/// A-66, D-36: who has it is left in peace, and the other one alone is tried again.
#[rstest]
#[tokio::test]
async fn one_of_two_endpoints_fails_and_is_tried_again_alone(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    let healthy = app
        .subscribe("sync.completed", &subscriber.url("/ok"))
        .await;
    let failing = app
        .subscribe("sync.completed", &subscriber.url("/bad"))
        .await;
    subscriber.answer("/bad", [Status(500), Status(201)]);
    let event = app.owe_events(store, 1).await[0];
    app.sweep().await;
    app.run_jobs().await;
    let row = app.outbox_row(event).await;
    assert_eq!((row.status.as_str(), row.attempt), ("pending", 1));
    let delivery = app.delivery(event, failing).await;
    assert_eq!(row.next_retry_at, delivery.next_attempt_at);
    let error = format!("{failing}: HTTP 500 Internal Server Error");
    assert_eq!(row.last_error, Some(error));
    assert_eq!(app.delivery(event, healthy).await.status, "success");

    app.after(Duration::from_mins(2)).await;
    assert_eq!((subscriber.count("/ok"), subscriber.count("/bad")), (1, 2));
    let row = app.outbox_row(event).await;
    assert_eq!((row.status.as_str(), row.attempt), ("success", 1));
    assert_eq!((row.next_retry_at, row.last_error), (None, None));
}

/// What is written does not wait for what is still on the way.
#[rstest]
#[tokio::test]
async fn an_outcome_is_written_while_another_endpoint_hangs(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    let healthy = app
        .subscribe("sync.completed", &subscriber.url("/ok"))
        .await;
    let slow = app
        .subscribe("sync.completed", &subscriber.url("/slow"))
        .await;
    subscriber.hold("/slow");
    let event = app.owe_events(store, 1).await[0];
    let job = spawn_delivery(&app.app, event);
    crate::support::runs::until(async || app.delivery(event, healthy).await.status == "success")
        .await;
    let row = app.outbox_row(event).await;
    assert_eq!((row.status.as_str(), row.next_retry_at), ("pending", None));
    let leased = app.delivery(event, slow).await;
    assert!(leased.lease_token.is_some());
    subscriber.release("/slow");
    job.await.unwrap().unwrap();
    assert_eq!(app.outbox_row(event).await.status, "success");
}

#[rstest]
#[tokio::test]
async fn a_job_whose_event_is_gone_only_says_so(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let event = Uuid::from_u128(7);
    let log = Log::capture();
    app.deliver(event).await.unwrap();
    let [line] = &log.of("outbox_not_found")[..] else {
        panic!("one line")
    };
    assert_eq!(line["outboxId"], event.to_string());
}
