//! What marketplaces have to be told: one row a pair, the most urgent reason, the newest change.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use marketplace_sync::App;
use marketplace_sync::stock::enqueue;
use marketplace_sync::stock::model::{ProductId, Reason};
use rstest::rstest;
use serde_json::json;
use uuid::Uuid;

use super::catalogue::{Catalogue, QueueRow, pair};
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestStore, on};
use crate::support::dice::Dice;

/// In a transaction of its own, now.
async fn put(
    process: &App,
    store: TestStore,
    products: &[ProductId],
    reason: Reason,
    force: bool,
) -> u64 {
    let mut tx = process.db.write().await.unwrap();
    let now = process.clock.now();
    let rows = enqueue(&mut tx, store.id, products, reason, force, now).await;
    tx.save().await.unwrap();
    rows.unwrap()
}

/// A store with a coat, a glove and a set of both, and nothing to tell.
struct Wardrobe {
    it: Catalogue,
    store: TestStore,
    coat: ProductId,
    glove: ProductId,
    set: ProductId,
}

impl Wardrobe {
    async fn new(on: Profile) -> Self {
        let it = Catalogue::start(on).await;
        let store = it.app.register("shop").await;
        let [coat, glove] = [it.simple("coat").await, it.simple("glove").await];
        let set = it.set("set", &[(coat, 1), (glove, 2)]).await;
        for product in [coat, glove, set] {
            it.stock(store, product, 0).await;
        }
        it.empty_queue().await;
        Self {
            it,
            store,
            coat,
            glove,
            set,
        }
    }

    async fn put(&self, products: &[ProductId], reason: Reason) -> u64 {
        put(&self.it.app.app, self.store, products, reason, false).await
    }

    async fn row(&self, product: ProductId) -> QueueRow {
        self.it.pending_of(self.store, product).await.unwrap()
    }

    fn now(&self) -> DateTime<Utc> {
        self.it.app.clock.now()
    }

    /// Puts the row of a product off.
    async fn put_off(&self, product: ProductId, until: DateTime<Utc>) {
        on!(&self.it.app.app.db, pool => sqlx::query(
            "UPDATE stock_update_queue SET next_attempt_at = $2
             WHERE product_id = $1 AND processed_at IS NULL")
            .bind(product).bind(until).execute(pool).await.map(|_| ()).unwrap());
    }
}

#[rstest]
#[tokio::test]
async fn a_product_is_told_with_the_sets_that_contain_it(#[values(Embedded, Server)] on: Profile) {
    let all = Wardrobe::new(on).await;
    let it = &all.it;
    assert_eq!(all.put(&[all.coat], Reason::StockAdded).await, 2);
    let told: Vec<Uuid> = it
        .pending(all.store)
        .await
        .iter()
        .map(|row| row.product_id)
        .collect();
    assert_eq!(told, [all.coat.0, all.set.0]);
    for row in it.pending(all.store).await {
        assert_eq!(
            (row.reason.as_str(), row.priority, row.version),
            ("STOCK_ADDED", 70, 1)
        );
        assert_eq!(
            (row.created_at, row.next_attempt_at),
            (all.now(), all.now())
        );
        // The application makes ids of version 7, and so does this statement.
        assert_eq!(row.id.get_version_num(), 7);
        assert_eq!(row.id.get_variant(), uuid::Variant::RFC4122);
        let (seconds, nanos) = row.id.get_timestamp().unwrap().to_unix();
        let millis = seconds * 1000 + u64::from(nanos / 1_000_000);
        assert_eq!(i64::try_from(millis).unwrap(), all.now().timestamp_millis());
    }
    // A set tells itself alone; what is named twice, or by a set as well, is told once.
    it.empty_queue().await;
    assert_eq!(all.put(&[all.set], Reason::SetChanged).await, 1);
    let named = [all.coat, all.set, all.coat, all.glove];
    assert_eq!(all.put(&named, Reason::StockAdded).await, 3);
    assert_eq!(all.row(all.set).await.version, 2);

    // Nobody is told of what is not listed, or not there, or not anywhere.
    it.empty_queue().await;
    it.put(&pair(all.store.id, all.set), json!({ "isListed": false }))
        .await;
    assert_eq!(all.put(&[all.glove], Reason::StockAdded).await, 1);
    it.put(&pair(all.store.id, all.coat), json!({ "isListed": false }))
        .await;
    assert_eq!(all.put(&[all.coat], Reason::StockAdded).await, 0);
    let elsewhere = it.app.register("elsewhere").await;
    let app = &it.app.app;
    assert_eq!(
        put(app, elsewhere, &[all.glove], Reason::StockAdded, false).await,
        0
    );
    let nobody = ProductId(Uuid::nil());
    assert_eq!(all.put(&[nobody], Reason::StockAdded).await, 0);
    assert_eq!(all.put(&[], Reason::StockAdded).await, 0);
}

/// Scenario 6: one row, with the most urgent reason there was, that waits since the first.
#[rstest]
#[tokio::test]
async fn an_urgent_reason_moves_a_row_up_and_no_later_one_down(
    #[values(Embedded, Server)] on: Profile,
) {
    let all = Wardrobe::new(on).await;
    let it = &all.it;
    let first = all.now();
    all.put(&[all.coat], Reason::StockAdded).await;
    it.app.clock.advance(Duration::from_mins(1));
    let app = &it.app.app;
    put(app, all.store, &[all.coat], Reason::OrderCreated, true).await;
    let row = all.row(all.coat).await;
    assert_eq!(
        (row.reason.as_str(), row.priority, row.force),
        ("ORDER_CREATED", 100, true)
    );
    assert_eq!((row.created_at, row.last_enqueued_at), (first, all.now()));
    assert_eq!(row.version, 2);

    it.app.clock.advance(Duration::from_mins(1));
    for (version, reason) in [(3, Reason::StockAdded), (4, Reason::OrderCancelled)] {
        all.put(&[all.coat], reason).await;
        let row = all.row(all.coat).await;
        assert_eq!(
            (row.reason.as_str(), row.priority, row.force),
            ("ORDER_CREATED", 100, true)
        );
        assert_eq!((row.created_at, row.version), (first, version));
    }
    assert_eq!(it.pending(all.store).await.len(), 2, "the coat and its set");

    // What is done is done: the next change is a row of its own.
    it.empty_queue().await;
    all.put(&[all.coat], Reason::StockAdded).await;
    let next = all.row(all.coat).await;
    assert_eq!(
        (next.reason.as_str(), next.force, next.version),
        ("STOCK_ADDED", false, 1)
    );
    assert_ne!(next.id, row.id);
}

/// A row that waits for its next try is tried for a fresh change at once.
#[rstest]
#[tokio::test]
async fn a_change_is_due_now(#[values(Embedded, Server)] on: Profile) {
    let all = Wardrobe::new(on).await;
    all.put(&[all.coat], Reason::StockAdded).await;
    all.put_off(all.coat, all.now() + TimeDelta::hours(1)).await;
    all.put(&[all.coat], Reason::StockRemoved).await;
    assert_eq!(all.row(all.coat).await.next_attempt_at, all.now());
}

/// A fresh change of a blocked pair tries it again at most once in a quarter of an hour.
#[rstest]
#[tokio::test]
async fn a_blocked_pair_is_not_tried_for_every_change(#[values(Embedded, Server)] on: Profile) {
    let all = Wardrobe::new(on).await;
    let it = &all.it;
    let (store, quarter) = (all.store.id, TimeDelta::minutes(15));
    // It was refused a minute ago, and is tried again in six hours.
    it.set_confirmed(store, all.coat, None).await;
    it.app.clock.advance(Duration::from_mins(1));
    let in_hours = all.now() + TimeDelta::hours(6);
    it.block(store, all.coat, "ListingFrozen", Some(in_hours))
        .await;
    all.put(&[all.coat], Reason::StockAdded).await;
    let due = all.now() + quarter;
    assert_eq!(all.row(all.coat).await.next_attempt_at, due);
    // Each further change leaves it at that, however urgent.
    it.app.clock.advance(Duration::from_mins(1));
    all.put(&[all.coat], Reason::OrderCreated).await;
    assert_eq!(all.row(all.coat).await.next_attempt_at, due);
    // The row that waits for hours is tried sooner for a change, and at once if it was not for long.
    all.put_off(all.coat, in_hours).await;
    all.put(&[all.coat], Reason::StockAdded).await;
    assert_eq!(all.row(all.coat).await.next_attempt_at, all.now() + quarter);
    it.app.clock.advance(Duration::from_mins(15));
    all.put_off(all.coat, in_hours).await;
    all.put(&[all.coat], Reason::StockAdded).await;
    assert_eq!(all.row(all.coat).await.next_attempt_at, all.now());

    // One that was blocked without having been accepted before was tried when it was blocked.
    it.empty_queue().await;
    let until = all.now() + TimeDelta::hours(6);
    on!(&it.app.app.db, pool => sqlx::query("UPDATE product_stores SET last_pushed_at = NULL")
        .execute(pool).await.map(|_| ()).unwrap());
    it.block(store, all.coat, "REJECTED", Some(until)).await;
    all.put(&[all.coat], Reason::StockAdded).await;
    assert_eq!(all.row(all.coat).await.next_attempt_at, all.now() + quarter);
    it.empty_queue().await;
    it.app.clock.advance(Duration::from_mins(16));
    all.put(&[all.coat], Reason::StockAdded).await;
    assert_eq!(all.row(all.coat).await.next_attempt_at, all.now());
}

/// While the results of a push are awaited, the run holds what changed since; a change leaves
/// that to it, unless it is more urgent: then the run looks at it again.
#[rstest]
#[tokio::test]
async fn what_is_held_stays_held_unless_it_is_more_urgent(#[values(Embedded, Server)] on: Profile) {
    let all = Wardrobe::new(on).await;
    on!(&all.it.app.app.db, pool => sqlx::query(
        "UPDATE product_stores SET in_flight_push_id = $2 WHERE product_id = $1")
        .bind(all.coat).bind(Uuid::from_u128(7)).execute(pool).await.map(|_| ()).unwrap());
    all.put(&[all.coat], Reason::StockAdded).await;
    assert_eq!(
        all.row(all.coat).await.next_attempt_at,
        all.now(),
        "nobody holds it yet"
    );
    let hold = all.now() + TimeDelta::seconds(60);
    all.put_off(all.coat, hold).await;
    all.put(&[all.coat], Reason::StockAdded).await;
    let row = all.row(all.coat).await;
    assert_eq!((row.next_attempt_at, row.version), (hold, 2));
    // The set is another pair.
    assert_eq!(all.row(all.set).await.next_attempt_at, all.now());
    all.put(&[all.coat], Reason::OrderCreated).await;
    assert_eq!(all.row(all.coat).await.next_attempt_at, all.now());
    all.put_off(all.coat, hold).await;
    all.put(&[all.coat], Reason::OrderCreated).await;
    assert_eq!(all.row(all.coat).await.next_attempt_at, hold);
}

/// P4: however many enqueue at once, in several processes and in any order, there is one pending
/// row a pair; it has the highest priority that was offered, counts every change, and none fails.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn many_who_enqueue_at_once_leave_one_row_a_pair(#[values(Embedded, Server)] on: Profile) {
    const ENQUEUERS: usize = 32;
    const ROUNDS: usize = 6;
    let it = Catalogue::start(on).await;
    let store = it.app.register("shop").await;
    let mut simple = Vec::new();
    for number in 0..8 {
        simple.push(it.simple(&format!("product-{number}")).await);
    }
    let mut products = simple.clone();
    for number in 0..4 {
        let items = [(simple[number], 1), (simple[number + 4], 2)];
        products.push(it.set(&format!("set-{number}"), &items).await);
    }
    for product in &products {
        it.stock(store, *product, 0).await;
    }
    it.empty_queue().await;
    let processes = [it.app.app.clone(), it.app.other_process().await];

    let mut expected: BTreeMap<Uuid, (i32, bool, i64)> = BTreeMap::new();
    let mut work = Vec::new();
    for enqueuer in 0..ENQUEUERS {
        let mut dice = Dice(enqueuer.try_into().unwrap());
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let mut some = products.clone();
            dice.shuffle(&mut some);
            some.truncate(1 + dice.below(6));
            // The most urgent one is offered once in all.
            let is_last = enqueuer == ENQUEUERS - 1 && rounds.len() == ROUNDS - 1;
            let reasons = &Reason::ALL[1..];
            let reason = if is_last {
                Reason::OrderCreated
            } else {
                reasons[dice.below(reasons.len())]
            };
            let force = dice.below(20) == 0;
            let mut told: BTreeSet<Uuid> = some.iter().map(|product| product.0).collect();
            for product in &some {
                if let Some(index) = simple.iter().position(|it| it == product) {
                    told.insert(products[8 + index % 4].0);
                }
            }
            for id in told {
                let row = expected.entry(id).or_insert((0, false, 0));
                *row = (row.0.max(reason.priority()), row.1 || force, row.2 + 1);
            }
            rounds.push((some, reason, force));
        }
        work.push(rounds);
    }
    let enqueuers = work.into_iter().enumerate().map(|(number, rounds)| {
        let process = processes[number % 2].clone();
        tokio::spawn(async move {
            for (products, reason, force) in rounds {
                put(&process, store, &products, reason, force).await;
            }
        })
    });
    for ended in join_all(enqueuers).await {
        ended.unwrap();
    }
    let rows = it.pending(store).await;
    assert_eq!(rows.len(), expected.len(), "one row a pair");
    let found: BTreeMap<Uuid, (i32, bool, i64)> = rows
        .iter()
        .map(|row| (row.product_id, (row.priority, row.force, row.version)))
        .collect();
    assert_eq!(found, expected);
    for row in rows {
        let reasons = Reason::ALL.iter();
        let offered = reasons.filter(|reason| reason.priority() == row.priority);
        let is_of_it = offered
            .map(|reason| reason.as_str())
            .any(|name| name == row.reason);
        assert!(is_of_it, "{row:?}");
    }
}
