//! Random walks: whatever happens in whatever order, the books are right.

use std::collections::BTreeMap;

use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use super::goods::{items, line};
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, TestStore};
use crate::support::dice::Dice;

/// What the model knows of an order: how many of each product it ordered and got.
type Ordered = BTreeMap<usize, (i64, i64)>;

/// A store in a few lines: no transactions, no statements, one thing after the other.
#[derive(Default)]
struct Model {
    sellable: Vec<i64>,
    committed: Vec<i64>,
    /// Active orders, the oldest first.
    active: Vec<(String, Ordered)>,
}

impl Model {
    fn reserve(&mut self, name: String, lines: &[(usize, i64)], is_strict: bool) -> bool {
        let mut wanted = BTreeMap::new();
        for (product, quantity) in lines {
            *wanted.entry(*product).or_insert(0) += quantity;
        }
        if is_strict
            && wanted
                .iter()
                .any(|(product, units)| self.sellable[*product] < *units)
        {
            return false;
        }
        let mut ordered = Ordered::new();
        for (product, units) in wanted {
            let got = units.min(self.sellable[product]);
            self.sellable[product] -= got;
            self.committed[product] += got;
            ordered.insert(product, (units, got));
        }
        self.active.push((name, ordered));
        true
    }

    fn add(&mut self, product: usize, units: i64) {
        self.sellable[product] += units;
        for (_, ordered) in &mut self.active {
            let Some((wanted, got)) = ordered.get_mut(&product) else {
                continue;
            };
            let more = (*wanted - *got).min(self.sellable[product]);
            *got += more;
            self.sellable[product] -= more;
            self.committed[product] += more;
        }
    }

    fn end(&mut self, place: usize, is_released: bool) {
        let (_, ordered) = self.active.remove(place);
        for (product, (_, got)) in ordered {
            self.committed[product] -= got;
            if is_released {
                self.add(product, got);
            }
        }
    }
}

const PRODUCTS: usize = 4;

/// P7.
#[rstest]
#[tokio::test]
async fn the_service_does_what_the_model_does(
    #[values(Embedded, Server)] on: Profile,
    #[values(1, 2, 3)] seed: u64,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let mut products = Vec::new();
    for n in 0..PRODUCTS {
        products.push(app.stocked(store, &format!("p{n}"), 5).await);
    }
    let mut model = Model {
        sellable: vec![5; PRODUCTS],
        committed: vec![0; PRODUCTS],
        active: Vec::new(),
    };
    let mut dice = Dice(seed);
    for step in 0..80 {
        // Orders that wait are served by age.
        app.clock.advance(std::time::Duration::from_millis(10));
        take_step(&app, (store, &products), &mut model, &mut dice, step).await;
        for (n, product) in products.iter().enumerate() {
            let level = (model.sellable[n], model.committed[n]);
            assert_eq!(
                app.level(store, *product).await,
                level,
                "seed {seed}, step {step}"
            );
        }
    }
    app.check_books().await;
}

async fn take_step(
    app: &TestApp,
    (store, products): (TestStore, &[Uuid]),
    model: &mut Model,
    dice: &mut Dice,
    step: usize,
) {
    let units = |dice: &mut Dice| i64::try_from(1 + dice.below(5)).unwrap();
    match dice.below(10) {
        0..=4 => {
            let lines: Vec<(usize, i64)> = (0..=dice.below(3))
                .map(|_| (dice.below(PRODUCTS), units(dice)))
                .collect();
            let is_strict = dice.below(2) == 0;
            let mode = ["ALLOW_SHORTFALL", "STRICT"][usize::from(is_strict)];
            let order = format!("o-{step}");
            let named = lines
                .iter()
                .map(|(n, units)| line(&format!("p{n}"), *units));
            let named: Vec<Value> = named.collect();
            let (status, body) = app.reserve(store, &order, mode, &named).await;
            let is_granted = model.reserve(order, &lines, is_strict);
            assert_eq!(status == StatusCode::CREATED, is_granted, "{body}");
            if is_granted {
                let (_, ordered) = model.active.last().unwrap();
                let got: i64 = items(&body).iter().map(|item| item.2).sum();
                assert_eq!(got, ordered.values().map(|(_, got)| got).sum::<i64>());
            }
        }
        5 | 6 if !model.active.is_empty() => {
            let place = dice.below(model.active.len());
            let order = model.active[place].0.clone();
            let is_released = dice.below(3) > 0;
            let end = ["fulfil", "release"][usize::from(is_released)];
            app.ended(store, &order, end).await;
            model.end(place, is_released);
        }
        7 => {
            let product = dice.below(PRODUCTS);
            let to = units(dice) - 1;
            app.count_to(store, products[product], to).await;
            let by = to - model.sellable[product];
            model.add(product, by);
        }
        _ => {
            let (product, more) = (dice.below(PRODUCTS), units(dice) - 2);
            if more == 0 {
                return;
            }
            let body = json!({ "type": "DELTA", "quantity": more });
            let (status, body) = app.adjust(store, products[product], &body).await;
            if model.sellable[product] + more < 0 {
                assert_eq!(status, StatusCode::CONFLICT, "{body}");
            } else {
                assert_eq!(status, StatusCode::OK, "{body}");
                model.add(product, more);
            }
        }
    }
}

/// P3: warehouses and stores that overlap in any way. Whatever is reserved can be delivered, and what
/// cannot be any more is what somebody took away.
#[rstest]
#[tokio::test]
async fn what_is_reserved_can_be_delivered(
    #[values(Embedded, Server)] on: Profile,
    #[values(1, 2, 3, 4, 5, 6)] seed: u64,
) {
    let mut dice = Dice(seed);
    let app = TestApp::start(on).await;
    let mut stores = Vec::new();
    for n in 0..2 + dice.below(3) {
        stores.push(app.drawing_store(&format!("s{n}")).await);
    }
    let mut houses = Vec::new();
    for n in 0..=dice.below(4) {
        let linked = some(&stores, &mut dice);
        houses.push(app.warehouse(&format!("w{n}"), &linked).await);
    }
    let coat = app.product("coat").await;
    let mut orders: Vec<(TestStore, String)> = Vec::new();
    let mut undeliverable = 0;
    for step in 0..40 {
        app.clock.advance(std::time::Duration::from_millis(10));
        let (warehouse, shelf) = houses[dice.below(houses.len())];
        let store = stores[dice.below(stores.len())];
        let units = i64::try_from(1 + dice.below(4)).unwrap();
        let mut is_taken_away = false;
        match dice.below(12) {
            0..=4 => {
                let order = format!("o-{step}");
                let mode = ["STRICT", "ALLOW_SHORTFALL"][dice.below(2)];
                let (status, _) = app
                    .reserve(store, &order, mode, &[line("coat", units)])
                    .await;
                if status == StatusCode::CREATED {
                    orders.push((store, order));
                }
            }
            5..=7 => app.add(shelf, coat, units).await,
            8 | 9 if !orders.is_empty() => {
                let (store, order) = orders.swap_remove(dice.below(orders.len()));
                app.ended(store, &order, "release").await;
            }
            10 if !orders.is_empty() => {
                let place = dice.below(orders.len());
                let (store, order) = orders[place].clone();
                // What lies elsewhere by now cannot be sent.
                let (status, _) = app.end(store, &order, "fulfil").await;
                if status == StatusCode::OK {
                    orders.swap_remove(place);
                    is_taken_away = true;
                }
            }
            11 => {
                if dice.below(2) == 0 {
                    app.remove(shelf, coat, units, None).await;
                } else {
                    app.link(warehouse, &some(&stores, &mut dice)).await;
                }
                is_taken_away = true;
            }
            _ => {}
        }
        let books = app.check_books().await;
        let now = books.undeliverable(coat);
        assert!(
            now <= undeliverable || is_taken_away,
            "seed {seed}, step {step}: {books:?}"
        );
        undeliverable = now;
    }
}

fn some(stores: &[TestStore], dice: &mut Dice) -> Vec<TestStore> {
    stores
        .iter()
        .copied()
        .filter(|_| dice.below(2) == 0)
        .collect()
}
