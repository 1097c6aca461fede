//! Runs that die: at every point where they wait for something, whatever they have done before.

use std::future::poll_fn;
use std::iter::repeat_n;
use std::pin::pin;
use std::task::Poll;

use jobs::{ConfirmStockPush, PushId, StoreId};
use marketplace_sync::stock::clear_up_stock;
use marketplace_sync::stock::model::{ProductId, Reason};
use marketplace_sync::worker;
use rstest::rstest;
use tokio_util::sync::CancellationToken;

use super::scripted_adapter::{Results, ScriptedAdapter};
use super::shop::{Shops, push_in};
use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::log::Log;

/// Rounds in which a run is killed after its first step, its second, and so on to its end.
const ROUNDS: usize = 20;

/// Lets a future go on so many times; what it came to, if it came to an end.
pub(crate) async fn poll_times<F: Future + Unpin>(
    future: &mut F,
    times: usize,
) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = times;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// Runs a store and kills the run when it has gone on so many times; tells whether it came to its
/// end before.
pub(crate) async fn kill_push(shops: &Shops, store: StoreId, after: usize) -> bool {
    let process = shops.app.app.clone();
    let mut run = Box::pin(push_in(&process, store));
    poll_times(&mut run, after).await.is_some()
}

/// The same with a look at a push.
pub(crate) async fn kill_look(shops: &Shops, push_id: PushId, after: usize) -> bool {
    let process = shops.app.app.clone();
    let stop = CancellationToken::new();
    let job = ConfirmStockPush { push_id };
    let mut run = Box::pin(worker::confirm_push(&process, job, &stop));
    poll_times(&mut run, after).await.is_some()
}

/// Lets time pass until nothing is left to do.
pub(crate) async fn settle_down(shops: &Shops, stores: &[StoreId]) {
    let wait = |seconds| shops.wait(seconds);
    rests(shops, stores, repeat_n(121, 60), wait).await.unwrap();
}

/// Waits as often and as long, in seconds, until nothing is left to do; the error is what is.
pub(crate) async fn rests(
    shops: &Shops,
    stores: &[StoreId],
    waits: impl IntoIterator<Item = u64>,
    wait: impl Fn(u64),
) -> Result<(), String> {
    for seconds in waits {
        wait(seconds);
        shops.look().await;
        for store in stores {
            shops.push(*store).await;
        }
        let open = "SELECT COUNT(*) FROM stock_pushes WHERE next_poll_at IS NOT NULL";
        let waiting = "SELECT COUNT(*) FROM stock_update_queue WHERE processed_at IS NULL";
        if shops.app.count(open).await == 0 && shops.app.count(waiting).await == 0 {
            return Ok(());
        }
    }
    let store = stores[0];
    Err(format!(
        "it never comes to rest: {:#?} {:#?} {:#?}",
        shops.pending(store).await,
        shops.pushes(store).await,
        shops.gate(store).await
    ))
}

/// The marketplace shows what it has to, and that is known.
pub(crate) async fn assert_at_rest(shops: &Shops, store: StoreId, pairs: &[(ProductId, &str)]) {
    for (product, barcode) in pairs {
        let pair = shops.pair(store, *product).await;
        let quantity = Some(pair.sellable_quantity.min(20_000));
        assert_eq!(
            shops.adapter.shown(store, barcode),
            quantity,
            "{barcode} is shown wrong"
        );
        assert_eq!(
            pair.last_confirmed_quantity, quantity,
            "{barcode} is not known to be shown"
        );
        assert_eq!(pair.in_flight_push_id, None);
    }
}

/// Scenario 22. Both kinds of marketplaces; the lease of the dead run has to end first.
#[rstest]
#[tokio::test]
async fn a_run_that_is_killed_anywhere_loses_nothing(
    #[values(Embedded, Server)] on: Profile,
    #[values(Results::AtOnce, Results::WhenAsked)] results: Results,
) {
    let shops = Shops::start_with(on, &[], ScriptedAdapter::later()).await;
    shops.adapter.give_results(results);
    let store = shops.live_store("shop").await;
    let [coat, hat] = [
        shops.list(store, "coat", 0).await,
        shops.list(store, "hat", 7).await,
    ];
    shops.enqueue(store, &[hat], Reason::StockAdded).await;
    settle_down(&shops, &[store]).await;
    let (mut quantity, mut after, mut rounds) = (0, 1, 1);
    loop {
        quantity += 1;
        shops
            .change(store, coat, quantity, Reason::OrderCreated)
            .await;
        let came_to_an_end = kill_push(&shops, store, after).await;
        // What changes while nobody is at it.
        if after % 2 == 0 {
            quantity += 1;
            shops
                .change(store, coat, quantity, Reason::StockAdded)
                .await;
        }
        settle_down(&shops, &[store]).await;
        assert_at_rest(&shops, store, &[(coat, "coat"), (hat, "hat")]).await;
        if came_to_an_end {
            if after > 10 {
                break;
            }
            // On a busy machine answers may be there before they are waited for: once more.
            assert!(rounds < ROUNDS, "it never went on more than 10 times");
            (after, rounds) = (0, rounds + 1);
        }
        after += 1;
    }
    let taken: Vec<i64> = shops
        .adapter
        .requests()
        .concat()
        .into_iter()
        .filter_map(|(barcode, quantity)| (barcode == "coat").then_some(quantity))
        .collect();
    assert!(
        taken.is_sorted(),
        "an older quantity followed a newer one: {taken:?}"
    );
}

/// The results of a push are asked for by a job that is killed anywhere, and by two at once.
#[rstest]
#[tokio::test]
async fn a_look_that_is_killed_anywhere_loses_nothing(#[values(Embedded, Server)] on: Profile) {
    let shops = Shops::start_with(on, &[], ScriptedAdapter::later()).await;
    let store = shops.live_store("shop").await;
    let coat = shops.list(store, "coat", 0).await;
    let mut quantity = 0;
    for after in 1.. {
        quantity += 1;
        shops
            .change(store, coat, quantity, Reason::OrderCreated)
            .await;
        shops.push(store).await;
        shops.wait(3);
        let push = PushId(shops.pushes(store).await.pop().unwrap().id);
        let came_to_an_end = kill_look(&shops, push, after).await;
        settle_down(&shops, &[store]).await;
        assert_at_rest(&shops, store, &[(coat, "coat")]).await;
        if came_to_an_end {
            break;
        }
    }
}

/// A process that dies in the middle of a request: the next run knows that nobody heard the answer.
#[rstest]
#[tokio::test]
async fn a_push_of_a_dead_run_is_abandoned_by_the_next_one(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let coat = shops.list(store, "coat", 5).await;
    shops.enqueue(store, &[coat], Reason::StockAdded).await;
    shops.adapter.hold();
    let run = shops.spawn_push(store);
    shops.adapter.in_flight(1).await;
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    shops.adapter.release();
    assert_eq!(shops.states(store).await, ["SENDING"]);

    let log = Log::capture();
    shops.wait(119);
    shops.push(store).await;
    assert_eq!(log.count("stock_lease_held"), 1, "its lease is not over");
    assert_eq!(shops.adapter.arrivals(), []);
    shops.wait(1);
    shops.push(store).await;
    assert_eq!(log.count("stock_push_lost"), 1);
    assert_eq!(shops.states(store).await, ["UNKNOWN", "CONFIRMED"]);
    assert_eq!(shops.adapter.shown(store, "coat"), Some(5));
    assert_eq!(shops.pending(store).await, []);
}

/// The same without a next run: the janitor finds it.
#[rstest]
#[tokio::test]
async fn a_push_that_nobody_comes_for_is_abandoned_by_the_janitor(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let [coat, hat] = [
        shops.list(store, "coat", 5).await,
        shops.list(store, "hat", 7).await,
    ];
    shops.enqueue(store, &[coat, hat], Reason::StockAdded).await;
    shops.adapter.hold();
    let run = shops.spawn_push(store);
    shops.adapter.in_flight(1).await;
    run.abort();
    let _ = run.await;
    shops.adapter.release();
    let cleared = clear_up_stock(&shops.app.app).await.unwrap();
    assert_eq!(
        (cleared.abandoned_pushes, cleared.expired_leases),
        (0, 0),
        "it may be alive"
    );
    // Its rows are gone, as if somebody had closed them.
    shops.app.execute("DELETE FROM stock_update_queue").await;
    shops.wait(200);
    let cleared = clear_up_stock(&shops.app.app).await.unwrap();
    assert_eq!((cleared.abandoned_pushes, cleared.expired_leases), (1, 1));
    assert_eq!(shops.states(store).await, ["UNKNOWN"]);
    let rows = shops.pending(store).await;
    assert!(
        rows.iter().all(|row| row.reason == "RESYNC" && row.force),
        "{rows:?}"
    );
    assert_eq!(rows.len(), 2);
    settle_down(&shops, &[store]).await;
    assert_at_rest(&shops, store, &[(coat, "coat"), (hat, "hat")]).await;
}

/// A run that hangs in its request beyond its lease while another one tells something newer: what
/// it sent may be the last to arrive, so the newest goes once more.
#[rstest]
#[tokio::test]
async fn a_run_that_lost_its_lease_writes_nothing_and_has_the_newest_told_again(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let coat = shops.list(store, "coat", 5).await;
    shops.enqueue(store, &[coat], Reason::StockAdded).await;
    shops.adapter.hold();
    let stalled = shops.spawn_push(store);
    shops.adapter.in_flight(1).await;
    shops.wait(121);
    shops.change(store, coat, 4, Reason::OrderCreated).await;
    let other = shops.other_process().await;
    let second = tokio::spawn(async move { push_in(&other, store).await });
    shops.adapter.in_flight(2).await;
    let log = Log::capture();
    shops.adapter.release();
    second.await.unwrap().unwrap();
    stalled.await.unwrap().unwrap();
    assert_eq!(log.count("stock_lease_lost"), 1, "{}", log.text());
    let states = shops.states(store).await;
    assert_eq!(states[..2], ["UNKNOWN", "CONFIRMED"]);
    // The other run may have come to it already, if it ended last.
    for row in shops.pending(store).await {
        assert_eq!((row.reason.as_str(), row.force), ("RESYNC", true));
        assert_eq!(shops.pair(store, coat).await.last_confirmed_quantity, None);
    }
    shops.push(store).await;
    let arrivals = shops.adapter.arrivals();
    assert_eq!(arrivals.len(), 3, "{arrivals:?}");
    assert_eq!(arrivals[2].items, [("coat".to_owned(), 4)]);
    settle_down(&shops, &[store]).await;
    assert_at_rest(&shops, store, &[(coat, "coat")]).await;
}

/// Somebody else takes the lease, however far the run is.
#[rstest]
#[tokio::test]
async fn a_run_whose_lease_was_taken_does_not_send(#[values(Embedded, Server)] on: Profile) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let coat = shops.list(store, "coat", 0).await;
    // However far the run is when somebody else takes its lease.
    for after in 1.. {
        shops
            .app
            .execute("UPDATE marketplace_rate_limits SET lease_until = NULL")
            .await;
        shops
            .change(
                store,
                coat,
                i64::try_from(after).unwrap(),
                Reason::StockAdded,
            )
            .await;
        shops.adapter.forget_arrivals();
        let mut run = Box::pin(push_in(&shops.app.app, store));
        if poll_times(&mut run, after).await.is_some() {
            break;
        }
        let take = shops.app.execute(
            "UPDATE marketplace_rate_limits SET lease_token = store_id WHERE lease_token IS NOT NULL",
        );
        let (ended, ()) = tokio::join!(run, take);
        ended.unwrap();
        // It was written and sent before, or not at all; and what was sent is told once more.
        let sent = shops.adapter.arrivals().len();
        let states = shops.states(store).await;
        assert!(sent <= 1);
        assert!(!states.contains(&"SENDING".to_owned()), "{states:?}");
        shops
            .app
            .execute("UPDATE marketplace_rate_limits SET lease_until = NULL")
            .await;
        settle_down(&shops, &[store]).await;
        assert_at_rest(&shops, store, &[(coat, "coat")]).await;
    }
}
