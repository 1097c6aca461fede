//! What became of quantities that a marketplace accepted: asked for on schedule, and in the end
//! read from what it shows.

use std::time::Duration;

use marketplace_sync::stock::connector::Bucket;
use marketplace_sync::stock::enqueue_due_looks;
use marketplace_sync::stock::model::Reason;
use rstest::rstest;

use super::scripted_adapter::{Fault, Results, ScriptedAdapter};
use super::shop::Shops;
use crate::support::app::Profile::{self, Embedded, Server};

async fn start(on: Profile) -> Shops {
    Shops::start_with(on, &[], ScriptedAdapter::later()).await
}

#[rstest]
#[tokio::test]
async fn results_are_asked_for_after_3_5_10_30_and_60_seconds_and_then_every_5_minutes(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = start(on).await;
    shops.adapter.give_results(Results::Withheld);
    let store = shops.live_store("shop").await;
    let coat = shops.list(store, "coat", 5).await;
    shops.enqueue(store, &[coat], Reason::StockAdded).await;
    shops.push(store).await;
    let mut waits = Vec::new();
    for _ in 0..8 {
        let next = shops.pushes(store).await[0].next_poll_at.unwrap();
        let wait = (next - shops.app.clock.now()).num_seconds();
        waits.push(wait);
        shops.wait(u64::try_from(wait).unwrap() - 1);
        assert_eq!(
            enqueue_due_looks(&shops.app.app)
                .await
                .unwrap()
                .enqueued_jobs,
            0
        );
        shops.wait(1);
        assert_eq!(
            enqueue_due_looks(&shops.app.app)
                .await
                .unwrap()
                .enqueued_jobs,
            1
        );
        assert_eq!(
            enqueue_due_looks(&shops.app.app)
                .await
                .unwrap()
                .enqueued_jobs,
            0
        );
        shops.app.run_jobs().await;
    }
    assert_eq!(waits, [3, 5, 10, 30, 60, 300, 300, 300]);
    assert_eq!(shops.adapter.polls(), 8);
    let logged = shops
        .app
        .get("/api-logs?organizationId=org-1&type=GET_STOCK_RESULT")
        .await
        .1;
    assert_eq!(logged["items"].as_array().unwrap().len(), 8);
}

/// Never told what became of it: then what is shown counts.
#[rstest]
#[tokio::test]
async fn a_push_whose_results_never_come_expires_and_is_read_back(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = start(on).await;
    shops.adapter.give_results(Results::Withheld);
    let store = shops.live_store("shop").await;
    let [coat, hat] = [
        shops.list(store, "coat", 5).await,
        shops.list(store, "hat", 7).await,
    ];
    shops.enqueue(store, &[coat, hat], Reason::StockAdded).await;
    shops.push(store).await;
    shops.adapter.show(store, "hat", 1);
    for _ in 0..60 {
        shops.wait(300);
        shops.look().await;
    }
    let push = shops.pushes(store).await.remove(0);
    assert_eq!((push.state.as_str(), push.next_poll_at), ("EXPIRED", None));
    assert!(
        shops
            .events(store)
            .await
            .contains(&"stock.push.failed".to_owned())
    );
    assert_eq!(
        shops.pair(store, coat).await.last_confirmed_quantity,
        Some(5)
    );
    assert_eq!(
        shops.pair(store, hat).await.last_confirmed_quantity,
        Some(1)
    );
    let rows = shops.pending(store).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (rows[0].product_id, rows[0].reason.as_str()),
        (hat.0, "RECONCILE")
    );
    shops.adapter.give_results(Results::WhenAsked);
    shops.push(store).await;
    assert_eq!(shops.adapter.shown(store, "hat"), Some(7));
}

/// The marketplace has forgotten the push: it is asked what it shows, without waiting for hours.
#[rstest]
#[tokio::test]
async fn a_push_that_the_marketplace_does_not_know_is_read_back(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = start(on).await;
    let store = shops.live_store("shop").await;
    let coat = shops.list(store, "coat", 5).await;
    shops.enqueue(store, &[coat], Reason::StockAdded).await;
    shops.push(store).await;
    shops
        .app
        .execute("UPDATE stock_pushes SET external_batch_id = 'somebody else'")
        .await;
    for _ in 0..6 {
        shops.wait(60);
        shops.look().await;
    }
    assert_eq!(shops.states(store).await, ["EXPIRED"]);
    assert_eq!(
        shops.pair(store, coat).await.last_confirmed_quantity,
        Some(5)
    );
}

/// A request that may have been applied is looked at a minute later, and what it did is known.
#[rstest]
#[tokio::test]
async fn a_push_of_unknown_outcome_is_read_back(#[values(Embedded, Server)] on: Profile) {
    let shops = start(on).await;
    let store = shops.live_store("shop").await;
    let coat = shops.list(store, "coat", 5).await;
    shops.enqueue(store, &[coat], Reason::StockAdded).await;
    shops.adapter.fail([Fault::DropAfter]);
    shops.push(store).await;
    assert_eq!(
        shops.pushes(store).await[0].next_poll_at,
        Some(shops.after(60))
    );
    shops.wait(60);
    shops.look().await;
    assert_eq!(
        shops.pair(store, coat).await.last_confirmed_quantity,
        Some(5)
    );
    shops.push(store).await;
    assert_eq!(
        shops.adapter.requests().len(),
        1,
        "there was nothing left to tell"
    );
    assert_eq!(shops.outcomes(store).await["NOOP_UNCHANGED"], 1);
    assert_eq!(shops.states(store).await, ["UNKNOWN"]);
}

/// Two batches in flight: what was overtaken is looked at, not believed.
#[rstest]
#[tokio::test]
async fn an_overtaken_push_that_was_applied_last_is_put_right(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = start(on).await;
    shops.adapter.apply_later(true);
    let store = shops.live_store("shop").await;
    let coat = shops.list(store, "coat", 5).await;
    shops.enqueue(store, &[coat], Reason::StockAdded).await;
    shops.push(store).await;
    shops.wait(61);
    shops.change(store, coat, 4, Reason::StockRemoved).await;
    shops.push(store).await;
    assert_eq!(
        shops.adapter.requests().len(),
        2,
        "it was held for a minute"
    );
    shops.adapter.apply_backwards();
    shops.adapter.apply_later(false);
    assert_eq!(
        shops.adapter.shown(store, "coat"),
        Some(5),
        "the older one was applied last"
    );
    for _ in 0..5 {
        shops.wait(60);
        shops.look().await;
        shops.push(store).await;
    }
    assert_eq!(shops.adapter.shown(store, "coat"), Some(4));
    assert_eq!(
        shops.pair(store, coat).await.last_confirmed_quantity,
        Some(4)
    );
    assert_eq!(shops.pending(store).await, []);
}

/// A marketplace that cannot be asked for now is asked later.
#[rstest]
#[tokio::test]
async fn a_look_that_comes_too_often_waits(#[values(Embedded, Server)] on: Profile) {
    let shops = start(on).await;
    let store = shops.live_store("shop").await;
    let coat = shops.list(store, "coat", 5).await;
    shops.enqueue(store, &[coat], Reason::StockAdded).await;
    shops.push(store).await;
    shops.adapter.limit(vec![Bucket {
        key: "reads".to_owned(),
        capacity: 1,
        per: Duration::from_secs(100),
    }]);
    shops.wait(3);
    shops
        .app
        .execute(
            "INSERT INTO rate_buckets (bucket_key, tokens, refilled_at)
         SELECT 'reads', 0, created_at FROM stock_pushes",
        )
        .await;
    shops.look().await;
    assert_eq!(shops.adapter.polls(), 0);
    let next = shops.pushes(store).await[0].next_poll_at.unwrap();
    // One in 125 seconds, of which three are over.
    let wait = (next - shops.app.clock.now()).as_seconds_f64();
    assert!((122.0..122.1).contains(&wait), "{wait}");
    shops.wait(123);
    shops.look().await;
    assert_eq!(shops.states(store).await, ["CONFIRMED"]);
}
