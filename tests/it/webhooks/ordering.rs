//! Ordered endpoints hear of one event after the other.

use std::time::Duration;

use rstest::rstest;
use serde_json::json;
use uuid::Uuid;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, TestStore};
use crate::support::deliveries::spawn_delivery;
use crate::support::subscriber::Answer::Status;
use crate::support::subscriber::Subscriber;

async fn ordered(app: &TestApp, subscriber: &Subscriber) -> (TestStore, Uuid) {
    let store = app.register("shop").await;
    let endpoint = app
        .subscribe("sync.completed", &subscriber.url("/webhook"))
        .await;
    app.change_endpoint(endpoint, &json!({ "ordered": true }))
        .await;
    (store, endpoint)
}

fn texts(events: &[Uuid]) -> Vec<String> {
    events.iter().map(Uuid::to_string).collect()
}

#[rstest]
#[tokio::test]
async fn events_arrive_in_the_order_they_happened_one_at_a_time(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let (store, _) = ordered(&app, &subscriber).await;
    let events = app.owe_events(store, 50).await;
    // The jobs come in the wrong order, and all at once.
    let other = app.other_process().await;
    let jobs: Vec<_> = events
        .iter()
        .rev()
        .enumerate()
        .map(|(number, event)| {
            let process = if number % 2 == 0 { &app.app } else { &other };
            spawn_delivery(process, *event)
        })
        .collect();
    for job in jobs {
        job.await.unwrap().unwrap();
    }
    app.after(Duration::ZERO).await;
    assert_eq!(subscriber.events("/webhook"), texts(&events));
    assert_eq!(subscriber.most_in_flight("/webhook"), 1);
}

/// What fails is what everything behind it waits for.
#[rstest]
#[tokio::test]
async fn nothing_overtakes_an_event_that_is_tried_again(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let (store, _) = ordered(&app, &subscriber).await;
    subscriber.answer("/webhook", [Status(200), Status(500), Status(200)]);
    let events = app.owe_events(store, 4).await;
    app.after(Duration::ZERO).await;
    assert_eq!(subscriber.events("/webhook"), texts(&events[..2]));
    for event in &events {
        app.deliver(*event).await.unwrap();
    }
    assert_eq!(subscriber.count("/webhook"), 2);
    app.after(Duration::from_mins(2)).await;
    let expected = [&events[..2], &events[1..]].concat();
    assert_eq!(subscriber.events("/webhook"), texts(&expected));
}

/// A dead letter stands in nobody's way.
#[rstest]
#[tokio::test]
async fn a_dead_letter_lets_the_next_event_through(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let (store, endpoint) = ordered(&app, &subscriber).await;
    let answers = [Status(500), Status(500), Status(500), Status(200)];
    subscriber.answer("/webhook", answers);
    app.owe_events(store, 3).await;
    for _ in 0..3 {
        app.after(Duration::from_mins(6)).await;
    }
    assert_eq!(app.deliveries_with(endpoint, "failed").await, 1);
    assert_eq!(app.deliveries_with(endpoint, "success").await, 2);
}

/// Order is the endpoint's wish alone: others of the same event do not wait.
#[rstest]
#[tokio::test]
async fn an_ordered_endpoint_holds_up_nobody_else(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let (store, _) = ordered(&app, &subscriber).await;
    let free = app
        .subscribe("sync.completed", &subscriber.url("/free"))
        .await;
    subscriber.answer("/webhook", [Status(500)]);
    app.owe_events(store, 20).await;
    app.after(Duration::ZERO).await;
    assert_eq!(subscriber.count("/webhook"), 1);
    assert_eq!(app.deliveries_with(free, "success").await, 20);
}
