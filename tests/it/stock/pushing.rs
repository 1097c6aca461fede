//! A store's run: what it sends, in which order, and what becomes of the rows.

use std::collections::BTreeSet;

use marketplace_sync::stock::connector::FailureKind;
use marketplace_sync::stock::model::{ProductId, Reason};
use rstest::rstest;

use super::scripted_adapter::{Fault, ScriptedAdapter};
use super::shop::{Shops, change};
use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::log::Log;

/// Scenario 5.
#[rstest]
#[tokio::test]
async fn rows_go_in_batches_the_most_urgent_first_and_of_those_the_oldest(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let products = shops.list_many(store, 2500).await;
    // Each half of a reason is older than the other one.
    let reasons = [
        Reason::Manual,
        Reason::StockAdded,
        Reason::StockRemoved,
        Reason::OrderCancelled,
        Reason::OrderCreated,
    ];
    let mut expected: Vec<(i32, usize, ProductId)> = Vec::new();
    for half in 0..2 {
        for (index, reason) in reasons.iter().enumerate() {
            let start = index * 500 + half * 250;
            let chunk = &products[start..start + 250];
            shops.enqueue(store, chunk, *reason).await;
            expected.extend(chunk.iter().map(|id| (-reason.priority(), half, *id)));
        }
        shops.wait(1);
    }
    shops.push(store).await;

    let requests = shops.adapter.requests();
    let sizes: Vec<usize> = requests.iter().map(Vec::len).collect();
    assert_eq!(sizes, [1000, 1000, 500]);
    // Barcodes are numbers in the order of `products`.
    let sent: Vec<ProductId> = requests
        .concat()
        .iter()
        .map(|(barcode, _)| products[barcode[1..].parse::<usize>().unwrap() - 1])
        .collect();
    expected.sort_by_key(|(priority, half, _)| (*priority, *half));
    let group = |of: &[ProductId], at: usize| -> BTreeSet<ProductId> {
        of[at..at + 250].iter().copied().collect()
    };
    let wanted: Vec<ProductId> = expected.iter().map(|(_, _, id)| *id).collect();
    for at in (0..2500).step_by(250) {
        assert_eq!(
            group(&sent, at),
            group(&wanted, at),
            "rows {at} to {}",
            at + 250
        );
    }
    assert_eq!(shops.outcomes(store).await["SENT"], 2500);
    assert_eq!(shops.gate(store).await.pending_count, 0);
    assert_eq!(shops.states(store).await, ["CONFIRMED"; 3]);
}

/// Scenario 9: what is stored is what was computed, and what was sent.
#[rstest]
#[tokio::test]
async fn what_is_computed_is_stored_beside_what_is_sent(#[values(Embedded, Server)] on: Profile) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let many = shops.list(store, "many", 20_001).await;
    let none = shops.list(store, "none", 0).await;
    shops
        .enqueue(store, &[many, none], Reason::StockAdded)
        .await;
    shops.push(store).await;
    assert_eq!(shops.adapter.shown(store, "many"), Some(20_000));
    assert_eq!(shops.adapter.shown(store, "none"), Some(0));
    let push = shops.pushes(store).await.remove(0).id;
    let path = format!("/stock-pushes/{push}/items?organizationId=org-1");
    let items = shops.app.get(&path).await.1;
    let of = |product: ProductId| {
        let items = items["items"].as_array().unwrap();
        let item = items
            .iter()
            .find(|it| it["productId"] == product.to_string())
            .unwrap();
        (
            item["computedQuantity"].clone(),
            item["sentQuantity"].clone(),
            item["state"].clone(),
        )
    };
    assert_eq!(of(many), (20_001.into(), 20_000.into(), "CONFIRMED".into()));
    assert_eq!(of(none), (0.into(), 0.into(), "CONFIRMED".into()));
    let pair = shops.pair(store, many).await;
    assert_eq!(pair.last_confirmed_quantity, Some(20_000));
    assert_eq!(
        (pair.last_pushed_quantity, pair.in_flight_push_id),
        (Some(20_000), None)
    );
}

/// Scenario 2, and that the set and its parts are computed in one go.
#[rstest]
#[tokio::test]
async fn a_set_that_lacks_a_part_is_told_as_none(#[values(Embedded, Server)] on: Profile) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let coat = shops.list(store, "coat", 50).await;
    let glove = shops.list(store, "glove", 0).await;
    let set = shops.product(Some("set"), "SET").await;
    shops.list_product(store, set, 0).await;
    shops.make_of(set, &[(coat, 1), (glove, 2)]).await;
    shops.enqueue(store, &[glove], Reason::StockRemoved).await;
    shops.push(store).await;
    assert_eq!(shops.adapter.shown(store, "set"), Some(0));
    shops.change(store, glove, 30, Reason::StockAdded).await;
    shops.push(store).await;
    assert_eq!(shops.adapter.shown(store, "set"), Some(15));
}

/// Scenario 8: what changes while it is on the way is sent again.
#[rstest]
#[tokio::test]
async fn a_change_while_a_batch_is_in_flight_is_not_lost(#[values(Embedded, Server)] on: Profile) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let product = shops.list(store, "coat", 5).await;
    shops.enqueue(store, &[product], Reason::StockAdded).await;
    shops.adapter.hold();
    let run = shops.spawn_push(store);
    shops.adapter.in_flight(1).await;
    shops.change(store, product, 4, Reason::OrderCreated).await;
    assert_eq!(shops.pending(store).await[0].version, 2);
    shops.adapter.release();
    run.await.unwrap().unwrap();
    let quantities: Vec<i64> = shops.adapter.requests().iter().map(|it| it[0].1).collect();
    assert_eq!(quantities, [5, 4]);
    assert_eq!(shops.adapter.shown(store, "coat"), Some(4));
    assert_eq!(shops.pending(store).await, []);
    assert_eq!(
        shops.pair(store, product).await.last_confirmed_quantity,
        Some(4)
    );
}

/// Scenario 23: the marketplace sold one itself, so its number is not what it was told.
#[rstest]
#[tokio::test]
async fn an_unchanged_quantity_is_sent_again_only_if_it_is_forced(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let product = shops.list(store, "coat", 10).await;
    shops.enqueue(store, &[product], Reason::StockAdded).await;
    shops.push(store).await;
    shops.adapter.forget_arrivals();

    shops.enqueue(store, &[product], Reason::StockAdded).await;
    shops.push(store).await;
    assert_eq!(shops.adapter.arrivals(), [], "it shows 10 already");
    assert_eq!(shops.outcomes(store).await["NOOP_UNCHANGED"], 1);

    shops.adapter.show(store, "coat", 9);
    change(
        &shops.app.app,
        store,
        product,
        9,
        Reason::OrderCreated,
        true,
    )
    .await;
    shops.change(store, product, 10, Reason::StockAdded).await;
    shops.push(store).await;
    assert_eq!(shops.adapter.requests(), [[("coat".to_owned(), 10)]]);
    assert_eq!(shops.adapter.shown(store, "coat"), Some(10));
}

#[rstest]
#[tokio::test]
async fn a_hundred_changes_of_a_product_are_one_item(#[values(Embedded, Server)] on: Profile) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let product = shops.list(store, "coat", 0).await;
    for quantity in 1..=100 {
        shops
            .change(store, product, quantity, Reason::StockAdded)
            .await;
    }
    shops.push(store).await;
    assert_eq!(shops.adapter.requests(), [[("coat".to_owned(), 100)]]);
    assert_eq!(shops.rows(store).await.len(), 1);
}

/// Scenario 21: half of it; that a name unblocks is the listing's.
#[rstest]
#[tokio::test]
async fn a_product_without_a_name_is_blocked_until_it_has_one(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let product = shops.product(None, "SIMPLE").await;
    shops.list_product(store, product, 5).await;
    let other = shops.list(store, "coat", 5).await;
    shops
        .enqueue(store, &[product, other], Reason::StockAdded)
        .await;
    shops.push(store).await;
    assert_eq!(shops.adapter.requests(), [[("coat".to_owned(), 5)]]);
    let outcomes = shops.outcomes(store).await;
    assert_eq!(
        (outcomes["SENT"], outcomes["SKIPPED_NO_IDENTIFIER"]),
        (1, 1)
    );
    let pair = shops.pair(store, product).await;
    assert_eq!(pair.push_state, "BLOCKED");
    assert_eq!(pair.push_error_code.as_deref(), Some("MISSING_IDENTIFIER"));
    assert_eq!(pair.blocked_until, None);

    let path = format!("/products/{product}?organizationId=org-1");
    let patch = shops.app.http.patch(shops.app.server.url(&path));
    let (status, body) = shops
        .app
        .send(patch.json(&serde_json::json!({ "barcode": "hat" })))
        .await;
    assert!(status.is_success(), "{body}");
    shops.wait(1);
    shops.push(store).await;
    assert_eq!(shops.adapter.shown(store, "hat"), Some(5));
    assert_eq!(shops.pair(store, product).await.push_state, "OK");
}

#[rstest]
#[tokio::test]
async fn what_is_not_listed_any_more_is_skipped(#[values(Embedded, Server)] on: Profile) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let product = shops.list(store, "coat", 5).await;
    shops.enqueue(store, &[product], Reason::StockAdded).await;
    shops
        .app
        .execute("UPDATE product_stores SET is_listed = FALSE")
        .await;
    shops.push(store).await;
    assert_eq!(shops.adapter.arrivals(), []);
    assert_eq!(shops.outcomes(store).await["SKIPPED_NOT_LISTED"], 1);
}

/// Results that come later: newer quantities wait for them, urgent lower ones less long.
#[rstest]
#[tokio::test]
async fn a_newer_quantity_waits_for_the_results_of_the_older_one(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = Shops::start_with(on, &[], ScriptedAdapter::later()).await;
    let store = shops.live_store("shop").await;
    let product = shops.list(store, "coat", 5).await;
    shops.enqueue(store, &[product], Reason::StockAdded).await;
    shops.push(store).await;
    assert_eq!(shops.states(store).await, ["ACCEPTED"]);
    let pair = shops.pair(store, product).await;
    assert_eq!(
        pair.in_flight_push_id,
        Some(shops.pushes(store).await[0].id)
    );
    assert_eq!(pair.last_confirmed_quantity, None);

    shops.wait(1);
    shops.change(store, product, 6, Reason::StockAdded).await;
    shops.push(store).await;
    assert_eq!(shops.adapter.requests().len(), 1, "it is held");
    assert_eq!(
        shops.pending(store).await[0].next_attempt_at,
        shops.after(59)
    );

    shops.change(store, product, 4, Reason::OrderCreated).await;
    shops.push(store).await;
    assert_eq!(
        shops.pending(store).await[0].next_attempt_at,
        shops.after(9)
    );
    shops.wait(9);
    shops.push(store).await;
    let quantities: Vec<i64> = shops.adapter.requests().iter().map(|it| it[0].1).collect();
    assert_eq!(quantities, [5, 4]);
}

#[rstest]
#[tokio::test]
async fn results_release_what_was_held_at_once(#[values(Embedded, Server)] on: Profile) {
    let shops = Shops::start_with(on, &[], ScriptedAdapter::later()).await;
    let store = shops.live_store("shop").await;
    let product = shops.list(store, "coat", 5).await;
    shops.enqueue(store, &[product], Reason::StockAdded).await;
    shops.push(store).await;
    shops.change(store, product, 6, Reason::StockAdded).await;
    shops.push(store).await;
    shops.wait(3);
    shops.look().await;
    assert_eq!(shops.states(store).await, ["CONFIRMED"]);
    assert_eq!(
        shops.pair(store, product).await.last_confirmed_quantity,
        Some(5)
    );
    assert_eq!(
        shops.pending(store).await[0].next_attempt_at,
        shops.app.clock.now()
    );
    // The results have enqueued the store.
    shops.app.run_jobs().await;
    let quantities: Vec<i64> = shops.adapter.requests().iter().map(|it| it[0].1).collect();
    assert_eq!(quantities, [5, 6]);
}

/// The number of statements of a batch does not depend on the number of its items; the texts of
/// both databases are the same, and only PostgreSQL's are heard on this thread.
#[tokio::test]
async fn a_batch_is_at_most_ten_statements_however_many_items_it_has() {
    let shops = Shops::start_with(Server, &[], ScriptedAdapter::later()).await;
    let mut counts = Vec::new();
    for (name, items) in [("a", 10), ("b", 1000), ("c", 2000)] {
        let store = shops.live_store(name).await;
        shops.app.execute("DELETE FROM products").await;
        let products = shops.list_many(store, items).await;
        shops.enqueue(store, &products, Reason::StockAdded).await;
        let log = Log::start("sqlx::query=debug");
        shops.push(store).await;
        let statements: Vec<String> = log
            .lines()
            .iter()
            .filter(|line| line["target"] == "sqlx::query")
            .filter_map(|line| line["summary"].as_str().map(str::to_owned))
            .filter(|text| !text.starts_with("BEGIN") && !text.starts_with("COMMIT"))
            // What a connection learns of types it learns once, whichever of the pool it is.
            .filter(|text| !text.starts_with("SELECT pg_type."))
            .collect();
        assert_eq!(shops.outcomes(store).await["SENT"], items);
        counts.push(statements);
        drop(log);
    }
    let [few, many, twice] = [counts[0].len(), counts[1].len(), counts[2].len()];
    assert_eq!(few, many, "{counts:#?}");
    assert!(
        (1..=10).contains(&(twice - many)),
        "{} more: {:#?}",
        twice - many,
        counts[2]
    );
}

/// Requests of one batch that came to nothing leave its rows as they were.
#[rstest]
#[tokio::test]
async fn a_refused_request_leaves_everything_as_it_was(#[values(Embedded, Server)] on: Profile) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let product = shops.list(store, "coat", 5).await;
    shops.enqueue(store, &[product], Reason::StockAdded).await;
    shops.push(store).await;
    let before = shops.pair(store, product).await;

    shops.change(store, product, 4, Reason::OrderCreated).await;
    let refused = FailureKind::RateLimited {
        retry_after: None,
        is_for_address: false,
    };
    shops.adapter.fail([Fault::Refuse(refused)]);
    shops.push(store).await;
    let after = shops.pair(store, product).await;
    assert_eq!(
        (
            after.last_confirmed_quantity,
            after.last_pushed_quantity,
            after.last_pushed_at
        ),
        (
            before.last_confirmed_quantity,
            before.last_pushed_quantity,
            before.last_pushed_at
        )
    );
    assert_eq!(after.in_flight_push_id, None);
    let row = &shops.pending(store).await[0];
    assert_eq!(row.attempts, 1);
    assert!(row.last_error.is_some());
    let push = &shops.pushes(store).await[1];
    assert_eq!((push.state.as_str(), push.sent_at), ("FAILED", None));
}

/// A store is handed back to the queue when a run has sent as many requests as it may.
#[rstest]
#[tokio::test]
async fn a_run_ends_after_fifty_requests_and_the_next_goes_on(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = Shops::start_with(on, &[("STOCK_BATCH_SIZE", "2")], ScriptedAdapter::new()).await;
    let store = shops.live_store("shop").await;
    let products = shops.list_many(store, 110).await;
    shops.enqueue(store, &products, Reason::StockAdded).await;
    shops.push(store).await;
    assert_eq!(shops.adapter.requests().len(), 50);
    assert_eq!(shops.gate(store).await.pending_count, 10);
    shops.app.run_jobs().await;
    assert_eq!(shops.adapter.requests().len(), 55);
    assert_eq!(shops.pending(store).await, []);
}

/// A store that is switched off while a run is at it gets no further request.
#[rstest]
#[tokio::test]
async fn switching_a_store_off_stops_its_run_within_a_batch(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = Shops::start_with(on, &[("STOCK_BATCH_SIZE", "2")], ScriptedAdapter::new()).await;
    let store = shops.live_store("shop").await;
    let products = shops.list_many(store, 10).await;
    shops.enqueue(store, &products, Reason::StockAdded).await;
    shops.adapter.hold();
    let run = shops.spawn_push(store);
    shops.adapter.in_flight(1).await;
    shops.set_store(store, "send_stock = FALSE").await;
    shops.adapter.release();
    run.await.unwrap().unwrap();
    assert_eq!(shops.adapter.requests().len(), 1);
    assert_eq!(shops.outcomes(store).await["SENT"], 2);
    assert_eq!(
        shops.pending(store).await.len(),
        8,
        "the next run closes them"
    );
}

/// What an import of orders is about to change is imported first.
#[rstest]
#[tokio::test]
async fn orders_that_are_due_are_imported_before_the_stock_is_pushed(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let product = shops.list(store, "coat", 5).await;
    shops.enqueue(store, &[product], Reason::StockAdded).await;
    let token = uuid::Uuid::nil();
    let as_store = crate::support::app::TestStore { id: store, token };
    shops.app.insert_row(as_store, "r1", "failed", 60).await;
    shops.push(store).await;
    assert_eq!(
        shops.app.row(as_store, "r1").await.unwrap().status,
        "success"
    );
    assert_eq!(shops.adapter.requests().len(), 1);
}
