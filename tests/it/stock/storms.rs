//! Everything at once: changes, faults of the marketplace, runs that die, leases that end, several
//! processes. Whatever happens, the marketplace ends up showing the newest quantities.

use std::sync::Arc;
use std::time::Duration;

use jobs::{PushId, StoreId};
use marketplace_sync::App;
use marketplace_sync::stock::connector::FailureKind;
use marketplace_sync::stock::enqueue_due_stock;
use marketplace_sync::stock::model::{ProductId, Reason};
use rstest::rstest;

use super::crashes::{assert_at_rest, kill_look, kill_push, settle_down};
use super::scripted_adapter::{Fault, Results, ScriptedAdapter};
use super::shop::{Shops, push_in};
use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::dice::Dice;

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const REASONS: [Reason; 4] = [
    Reason::OrderCreated,
    Reason::OrderCancelled,
    Reason::StockAdded,
    Reason::Manual,
];
const FAULTS: [Fault; 8] = [
    Fault::DropBefore,
    Fault::DropAfter,
    Fault::Refuse(FailureKind::Ambiguous),
    Fault::Refuse(FailureKind::TooSlow),
    Fault::Refuse(FailureKind::RateLimited {
        retry_after: None,
        is_for_address: false,
    }),
    Fault::Refuse(FailureKind::TooManyOutstanding),
    Fault::Refuse(FailureKind::Protocol {
        may_be_applied: true,
    }),
    Fault::Refuse(FailureKind::RetryUnchanged),
];

/// A store in a storm.
struct Storm {
    shops: Shops,
    store: StoreId,
    products: Vec<ProductId>,
    dice: Dice,
    /// Quantities grow, so that an older one is a smaller one.
    quantity: i64,
}

impl Storm {
    async fn begin(on: Profile, results: Results, seed: u64) -> Self {
        let shops = Shops::start_with(on, &[], ScriptedAdapter::later()).await;
        shops.adapter.give_results(results);
        shops
            .adapter
            .change(|manners| manners.refuses_identical = true);
        let store = shops.live_store("shop").await;
        let mut products = Vec::new();
        for name in NAMES {
            products.push(shops.list(store, name, 0).await);
        }
        shops.enqueue(store, &products, Reason::StockAdded).await;
        Self {
            shops,
            store,
            products,
            dice: Dice(seed),
            quantity: 0,
        }
    }

    async fn change(&mut self) {
        self.quantity += 1;
        let product = self.products[self.dice.below(NAMES.len())];
        let reason = REASONS[self.dice.below(REASONS.len())];
        self.shops
            .change(self.store, product, self.quantity, reason)
            .await;
    }

    /// The results of a push, by a job that may die.
    async fn look(&mut self) {
        let now = self.shops.app.clock.now();
        let due: Vec<PushId> = self
            .shops
            .pushes(self.store)
            .await
            .iter()
            .filter(|push| push.next_poll_at.is_some_and(|at| at <= now))
            .map(|push| PushId(push.id))
            .collect();
        if !due.is_empty() {
            let push = due[self.dice.below(due.len())];
            let after = self.dice.below(60) + 1;
            kill_look(&self.shops, push, after).await;
        }
    }

    async fn step(&mut self) {
        match self.dice.below(10) {
            0..=3 => self.change().await,
            4..=5 => self.shops.push(self.store).await,
            6 => {
                let after = self.dice.below(80) + 1;
                kill_push(&self.shops, self.store, after).await;
            }
            7 => {
                let fault = FAULTS[self.dice.below(FAULTS.len())];
                self.shops.adapter.fail([fault]);
            }
            8 => self.look().await,
            _ => {
                let seconds = [1, 5, 20, 61, 130][self.dice.below(5)];
                self.shops.app.clock.advance(Duration::from_secs(seconds));
            }
        }
    }

    fn products(&self) -> Vec<(ProductId, &'static str)> {
        self.products.iter().copied().zip(NAMES).collect()
    }

    /// L1 and L3: it comes to rest, and everything is shown.
    async fn assert_comes_to_rest(&self) {
        settle_down(&self.shops, &[self.store]).await;
        assert_at_rest(&self.shops, self.store, &self.products()).await;
    }
}

/// P5 with leases that end while a request is on the way, and with a marketplace that applies what
/// it took in any order. What arrives last may be old; what is shown in the end is not.
#[rstest]
#[tokio::test]
async fn quantities_that_arrive_late_or_are_applied_backwards_are_put_right(
    #[values(Embedded, Server)] on: Profile,
    #[values(Results::AtOnce, Results::WhenAsked)] results: Results,
    #[values(1, 2, 3)] seed: u64,
) {
    let mut storm = Storm::begin(on, results, seed).await;
    let is_late = results == Results::WhenAsked;
    for round in 0..12 {
        storm.shops.adapter.apply_later(is_late && round % 3 == 0);
        for _ in 0..6 {
            storm.step().await;
        }
        if round % 2 == 0 {
            overtake(&mut storm).await;
        }
        storm.shops.adapter.apply_backwards();
    }
    storm.shops.adapter.apply_later(false);
    storm.shops.adapter.apply_backwards();
    storm.assert_comes_to_rest().await;
}

/// A run stalls in its request until its lease is over; another one tells something newer; then
/// the first request goes through.
async fn overtake(storm: &mut Storm) {
    storm.change().await;
    storm.shops.app.clock.advance(Duration::from_secs(1000));
    storm.shops.adapter.hold();
    let stalled = storm.shops.spawn_push(storm.store);
    let is_on_the_way = storm.shops.adapter.in_flight(1);
    let has_sent = tokio::select! {
        () = is_on_the_way => true,
        () = until_finished(&stalled) => false,
    };
    if has_sent {
        storm.shops.app.clock.advance(Duration::from_secs(121));
        storm.change().await;
        let other = storm.shops.other_process().await;
        let id = storm.store;
        let overtaking = tokio::spawn(async move { push_in(&other, id).await });
        tokio::select! {
            () = storm.shops.adapter.in_flight(2) => {}
            () = until_finished(&overtaking) => {}
        }
        storm.shops.adapter.release();
        overtaking.await.unwrap().unwrap();
    }
    storm.shops.adapter.release();
    stalled.await.unwrap().unwrap();
}

async fn until_finished<T>(task: &tokio::task::JoinHandle<T>) {
    while !task.is_finished() {
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// P6: duplicate jobs in several processes, and never two requests of a store at a time.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_runs_in_many_processes_one_sends_at_a_time(
    #[values(Embedded, Server)] on: Profile,
) {
    let settings = [("STOCK_BATCH_SIZE", "3")];
    let shops = Shops::start_with(on, &settings, ScriptedAdapter::new()).await;
    let [one, other] = [
        shops.live_store("one").await,
        shops.live_store("other").await,
    ];
    let (first, second) = (
        shops.list_many(one, 30).await,
        shops.product(Some("x"), "SIMPLE").await,
    );
    shops.list_product(other, second, 3).await;
    let mut processes: Vec<Arc<App>> = vec![shops.app.app.clone()];
    processes.push(shops.other_process().await);
    for round in 1..=4 {
        shops.enqueue(one, &first, Reason::Manual).await;
        shops.force(one, first[round], Reason::OrderCreated).await;
        shops.force(other, second, Reason::OrderCreated).await;
        let mut runs = Vec::new();
        for process in &processes {
            enqueue_due_stock(process).await.unwrap();
            for store in [one, other, one] {
                let process = process.clone();
                runs.push(tokio::spawn(async move { push_in(&process, store).await }));
            }
        }
        for run in runs {
            run.await.unwrap().unwrap();
        }
        shops.app.run_jobs().await;
        shops.push(one).await;
        shops.push(other).await;
        assert_eq!(shops.pending(one).await, []);
        assert_eq!(shops.pending(other).await, []);
    }
    assert_eq!(shops.adapter.most_at_once(), 1);
}
