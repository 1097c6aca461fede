//! A marketplace that refuses a request which it had within a quarter of an hour.

use marketplace_sync::stock::model::Reason;
use rstest::rstest;

use super::scripted_adapter::{Fault, ScriptedAdapter};
use super::shop::{Shops, change, push_in};
use crate::support::app::Profile::{self, Embedded, Server};

async fn start(on: Profile) -> Shops {
    let shops = Shops::start_with(on, &[], ScriptedAdapter::new()).await;
    shops
        .adapter
        .change(|manners| manners.refuses_identical = true);
    shops
}

fn items(items: &[(&str, i64)]) -> Vec<(String, i64)> {
    items
        .iter()
        .map(|(barcode, quantity)| ((*barcode).to_owned(), *quantity))
        .collect()
}

/// Scenario 13: the first copy arrived, and the connection dropped.
#[rstest]
#[tokio::test]
async fn a_request_that_arrived_unheard_is_not_repeated_as_it_was(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = start(on).await;
    let store = shops.live_store("shop").await;
    let [coat, hat] = [
        shops.list(store, "coat", 5).await,
        shops.list(store, "hat", 7).await,
    ];
    shops.enqueue(store, &[hat], Reason::StockAdded).await;
    shops.push(store).await;
    shops.enqueue(store, &[coat], Reason::StockAdded).await;
    shops.adapter.fail([Fault::DropAfter]);
    shops.push(store).await;
    assert_eq!(shops.states(store).await, ["CONFIRMED", "UNKNOWN"]);
    shops.wait(10);
    shops.push(store).await;
    // Another product keeps it company, with the quantity that is shown already.
    let requests = shops.adapter.requests();
    assert_eq!(
        requests[1..],
        [items(&[("coat", 5)]), items(&[("coat", 5), ("hat", 7)])]
    );
    assert!(
        shops
            .adapter
            .arrivals()
            .iter()
            .all(|arrival| arrival.was_taken)
    );
    assert_eq!(shops.pending(store).await, []);
    assert_eq!(
        shops.pair(store, coat).await.last_confirmed_quantity,
        Some(5)
    );
    assert_eq!(
        shops.pair(store, hat).await.last_confirmed_quantity,
        Some(7)
    );
}

/// Scenario 13, its second half.
#[rstest]
#[tokio::test]
async fn a_quantity_that_goes_back_within_the_window_ends_where_it_began(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = start(on).await;
    let store = shops.live_store("shop").await;
    let coat = shops.list(store, "coat", 5).await;
    let company = [
        shops.list(store, "hat", 7).await,
        shops.list(store, "scarf", 3).await,
    ];
    shops.enqueue(store, &company, Reason::StockAdded).await;
    shops.push(store).await;
    for quantity in [5, 4, 5, 4, 5] {
        shops
            .change(store, coat, quantity, Reason::StockAdded)
            .await;
        shops.minute().await;
        assert_eq!(shops.adapter.shown(store, "coat"), Some(quantity));
    }
    assert!(
        shops
            .adapter
            .arrivals()
            .iter()
            .all(|arrival| arrival.was_taken)
    );
    assert_eq!(shops.pending(store).await, []);
}

/// With nobody to keep it company it waits for the end of the window, and is looked at meanwhile.
#[rstest]
#[tokio::test]
async fn a_lonely_repetition_waits_for_the_window_or_for_company(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = start(on).await;
    let store = shops.live_store("shop").await;
    let coat = shops.list(store, "coat", 5).await;
    shops.enqueue(store, &[coat], Reason::StockAdded).await;
    shops.push(store).await;
    shops.force(store, coat, Reason::Manual).await;
    shops.push(store).await;
    assert_eq!(shops.adapter.requests().len(), 1);
    let row = &shops.pending(store).await[0];
    assert_eq!(row.next_attempt_at, shops.after(60));
    assert!(
        row.last_error
            .as_ref()
            .unwrap()
            .contains("the same request"),
        "{row:?}"
    );
    // Something else that is due takes it along.
    shops.wait(60);
    let hat = shops.list(store, "hat", 7).await;
    shops.enqueue(store, &[hat], Reason::StockAdded).await;
    shops.push(store).await;
    assert_eq!(shops.adapter.requests()[1].len(), 2);
    assert_eq!(shops.pending(store).await, []);

    let alone = shops.live_store("alone").await;
    let scarf = shops.list(alone, "scarf", 3).await;
    shops.enqueue(alone, &[scarf], Reason::StockAdded).await;
    shops.push(alone).await;
    shops.adapter.forget_arrivals();
    shops.force(alone, scarf, Reason::Manual).await;
    for _ in 0..14 {
        shops.push(alone).await;
        shops.wait(60);
    }
    assert_eq!(shops.adapter.arrivals(), []);
    shops.wait(60);
    shops.push(alone).await;
    assert_eq!(shops.adapter.requests(), [items(&[("scarf", 3)])]);
}

/// A full batch that was sent before is sent without its last row, which goes with the next.
#[rstest]
#[tokio::test]
async fn a_full_batch_leaves_a_row_to_the_next_one(#[values(Embedded, Server)] on: Profile) {
    let settings = [("STOCK_BATCH_SIZE", "3")];
    let shops = Shops::start_with(on, &settings, ScriptedAdapter::new()).await;
    shops
        .adapter
        .change(|manners| manners.refuses_identical = true);
    let store = shops.live_store("shop").await;
    let products = shops.list_many(store, 3).await;
    shops.enqueue(store, &products, Reason::StockAdded).await;
    shops.adapter.fail([Fault::DropAfter]);
    shops.push(store).await;
    shops.wait(10);
    shops.push(store).await;
    let sizes: Vec<usize> = shops.adapter.requests().iter().map(Vec::len).collect();
    assert_eq!(sizes, [3, 2, 1]);
    assert_eq!(shops.pending(store).await, []);
}

/// A refusal proves that the first copy arrived, if it was one of ours that nobody heard of: what
/// it carried is done, and the marketplace is asked what it shows.
#[rstest]
#[tokio::test]
async fn a_refusal_proves_that_the_first_copy_arrived(#[values(Embedded, Server)] on: Profile) {
    let shops = start(on).await;
    let store = shops.live_store("shop").await;
    let coat = shops.list(store, "coat", 5).await;
    shops.enqueue(store, &[coat], Reason::StockAdded).await;
    shops.adapter.fail([Fault::DropAfter]);
    shops.push(store).await;
    // Somebody shortened the window: this process believes that the request may be repeated.
    let hasty = shops
        .process(|app| app.settings.stock.identical_window = chrono::TimeDelta::seconds(1))
        .await;
    shops
        .app
        .execute("UPDATE marketplace_rate_limits SET backoff_until = NULL")
        .await;
    shops.wait(2);
    push_in(&hasty, store).await.unwrap();
    assert_eq!(shops.adapter.requests().len(), 2);
    assert!(!shops.adapter.arrivals()[1].was_taken);
    assert_eq!(shops.states(store).await, ["ACCEPTED", "FAILED"]);
    assert_eq!(shops.outcomes(store).await["SENT"], 1);
    assert_eq!(
        shops.pair(store, coat).await.last_confirmed_quantity,
        None,
        "nobody has looked"
    );
    shops.wait(3);
    shops.look().await;
    assert_eq!(shops.adapter.reads(), [["coat"]]);
    assert_eq!(shops.states(store).await, ["CONFIRMED", "FAILED"]);
    assert_eq!(
        shops.pair(store, coat).await.last_confirmed_quantity,
        Some(5)
    );
}

/// An order forces the store it was sold in; with the value it had before, within the window.
#[rstest]
#[tokio::test]
async fn a_forced_repetition_is_varied_and_sent(#[values(Embedded, Server)] on: Profile) {
    let shops = start(on).await;
    let store = shops.live_store("shop").await;
    let [coat, hat] = [
        shops.list(store, "coat", 10).await,
        shops.list(store, "hat", 7).await,
    ];
    shops.enqueue(store, &[hat], Reason::StockAdded).await;
    shops.push(store).await;
    shops.enqueue(store, &[coat], Reason::StockAdded).await;
    shops.push(store).await;
    shops.adapter.show(store, "coat", 9);
    change(&shops.app.app, store, coat, 10, Reason::OrderCreated, true).await;
    shops.push(store).await;
    assert_eq!(shops.adapter.shown(store, "coat"), Some(10));
    assert_eq!(
        shops.adapter.requests()[2],
        items(&[("coat", 10), ("hat", 7)])
    );
    assert_eq!(
        shops.pair(store, hat).await.last_confirmed_quantity,
        Some(7)
    );
}
