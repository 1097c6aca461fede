//! Stock at a glance.

use std::time::Duration;

use chrono::TimeDelta;
use marketplace_sync::stock::model::Reason;
use marketplace_sync::timestamp;
use rstest::rstest;
use serde_json::{Value, json};

use super::scene::{CONFIRMED, Push};
use crate::operators::Operator;
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};

fn count(count: i64) -> Value {
    json!({ "count": count, "isMore": false })
}

#[rstest]
#[tokio::test]
async fn the_overview_counts_what_is_stuck(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let [late, fine, open] = [
        app.register("late").await,
        app.register("fine").await,
        app.register("open").await,
    ];
    let [one, two, three] = [
        app.pair(late, "one").await,
        app.pair(late, "two").await,
        app.pair(fine, "three").await,
    ];
    for (store, product, reason, minutes) in [
        (late, one, Reason::Resync, 5),
        (late, two, Reason::OrderCreated, 9),
        (fine, three, Reason::StockAdded, 4),
    ] {
        let age = TimeDelta::minutes(minutes);
        app.wait_in_queue(store, product, reason, age).await;
    }
    app.block(fine, three, "ListingFrozen", 1).await;
    app.close_gate(late, "AUTH", TimeDelta::minutes(10)).await;
    app.close_gate(fine, "WINDOW", TimeDelta::minutes(10)).await;
    app.close_gate(open, "BREAKER", TimeDelta::zero()).await;
    for (state, hours) in [
        ("SENDING", 0),
        ("ACCEPTED", 30),
        ("UNKNOWN", 23),
        ("UNKNOWN", 25),
        ("FAILED", 1),
    ] {
        let age = TimeDelta::hours(hours);
        app.pushed(
            late,
            Push {
                state,
                age,
                ..CONFIRMED
            },
        )
        .await;
    }
    let seen = Operator::of(&app).await.see("/overview").await;
    let ago = |minutes| timestamp::format(app.clock.now() - TimeDelta::minutes(minutes));
    assert_eq!(
        seen["stock"],
        json!({
            "isEnabled": true,
            "pending": count(3), "overdue": count(2), "oldestPendingAt": ago(9),
            "waitingStores": count(2), "overdueStores": count(1), "blocked": count(1),
            "inFlight": count(2), "unknown": count(1),
            "closed": count(2),
            "closedByReason": [{ "reason": "AUTH", "stores": count(1) },
                { "reason": "WINDOW", "stores": count(1) }],
        })
    );
}

#[rstest]
#[tokio::test]
async fn without_stock_there_is_nothing_to_see(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start_with(on, &[("STOCK_PUSH_ENABLED", "false")]).await;
    app.register("shop").await;
    let seen = Operator::of(&app).await.see("/overview").await;
    let none = count(0);
    assert_eq!(
        seen["stock"],
        json!({
            "isEnabled": false,
            "pending": none, "overdue": none, "oldestPendingAt": null, "waitingStores": none,
            "overdueStores": none, "blocked": none, "inFlight": none, "unknown": none,
            "closed": none, "closedByReason": [],
        })
    );
}

/// However much there is, it costs no more than some thousand looks.
#[rstest]
#[tokio::test]
async fn counts_stop_at_a_thousand(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    app.insert_stock_of_many_stores().await;
    let operator = Operator::of(&app).await;
    let many = json!({ "count": 1000, "isMore": true });
    let seen = &operator.see("/overview").await["stock"];
    for member in ["pending", "waitingStores", "blocked"] {
        assert_eq!(seen[member], many, "{member}");
    }
    assert_eq!(seen["inFlight"]["isMore"], true);
    assert_eq!(seen["overdue"], count(0));
    let none_of_those_seen = json!({ "count": 0, "isMore": true });
    assert_eq!(seen["overdueStores"], none_of_those_seen);
    assert_eq!(seen["closed"], none_of_those_seen);

    app.clock.advance(Duration::from_mins(5));
    let seen = &operator.see("/overview").await["stock"];
    assert_eq!(seen["overdueStores"], many);
    let some_of_many = json!({ "count": 100, "isMore": true });
    assert_eq!(seen["overdue"], some_of_many);
}
