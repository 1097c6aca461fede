//! The whole way to the mocks of Trendyol and Hepsiburada, over real HTTP: whatever goes wrong
//! there, the newest quantities are shown in the end, and none after a newer one.

use std::iter::repeat_n;
use std::time::Duration;

use chrono::TimeDelta;
use jobs::StoreId;
use marketplace_sync::clock::Clock;
use marketplace_sync::marketplace::model::Marketplace::{self, Hepsiburada, Trendyol};
use marketplace_sync::stock::mock::hepsiburada::HepsiburadaRules;
use marketplace_sync::stock::mock::trendyol::TrendyolRules;
use marketplace_sync::stock::mock::{
    Catalogue, Fault, FaultKind, MockMarketplace, Operation, Options, Running,
};
use marketplace_sync::stock::model::{ProductId, Reason};
use rstest::rstest;
use serde_json::json;

use super::crashes::{kill_push, rests};
use super::shop::Shops;
use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::dice::Dice;
use crate::support::marketplace::noon;
use crate::support::mock_marketplaces::assert_told_in_order;

const SELLER: &str = "4321";
const NAMES: [&str; 3] = ["8680001", "8680002", "8680003"];
const OPERATIONS: [Operation; 3] = [Operation::Send, Operation::Poll, Operation::Read];
const LISTINGS: usize = 1000;
/// How long a run that died is taken for alive, and a little more.
const LEASE: u64 = 121;

/// A store on a mock marketplace, all of whose quantities only grow.
struct Scene {
    shops: Shops,
    mock: MockMarketplace,
    _running: Running,
    store: StoreId,
    products: Vec<ProductId>,
    quantity: i64,
}

impl Scene {
    async fn open(on: Profile, marketplace: Marketplace, seed: u64) -> Self {
        let options = Options {
            catalogue: Catalogue::of(NAMES),
            seed,
            ..Options::default()
        };
        let clock = Clock::manual(noon());
        let mock = if marketplace == Trendyol {
            MockMarketplace::new(TrendyolRules::default(), options, clock)
        } else {
            // What a day has room for is another subject.
            let rules = HepsiburadaRules {
                listings: Some(LISTINGS),
                ..HepsiburadaRules::default()
            };
            MockMarketplace::new(rules, options, clock)
        };
        let running = mock.serve(0).await.unwrap();
        let url = running.base_url().to_string();
        let name = format!("{}_BASE_URL", marketplace.as_str().to_uppercase());
        let shops = Shops::on_mocks(on, &[(&name, &url)]).await;
        let store = shops.store_on(marketplace.as_str(), SELLER, "LIVE").await;
        let settings = json!({ "apiKey": "key", "apiSecret": "secret", "listingCount": LISTINGS });
        let path = format!("/stores/{store}/stock-settings?organizationId=org-1");
        let request = shops.app.http.patch(shops.app.server.url(&path));
        let (status, body) = shops.app.send(request.json(&settings)).await;
        assert!(status.is_success(), "{body}");
        let mut products = Vec::new();
        for name in NAMES {
            products.push(shops.list(store, name, 0).await);
        }
        shops.enqueue(store, &products, Reason::StockAdded).await;
        Self {
            shops,
            mock,
            _running: running,
            store,
            products,
            quantity: 0,
        }
    }

    fn wait(&self, seconds: u64) {
        self.shops.wait(seconds);
        self.mock
            .advance(TimeDelta::from_std(Duration::from_secs(seconds)).unwrap());
    }

    async fn change(&mut self, product: usize) {
        self.quantity += 1;
        let product = self.products[product];
        self.shops
            .change(self.store, product, self.quantity, Reason::OrderCreated)
            .await;
    }

    /// L1 and L3: once nothing fails any more the queue becomes empty, and everything is shown and
    /// known to be.
    async fn assert_comes_to_rest(&self, after: &str) {
        self.mock.clear_faults();
        // Results that do not come are asked for during a day.
        let waits = repeat_n(LEASE, 50).chain(repeat_n(3600, 30));
        let wait = |seconds| self.wait(seconds);
        let rested = rests(&self.shops, &[self.store], waits, wait).await;
        rested.expect(after);
        for (product, name) in self.products.iter().zip(NAMES) {
            let pair = self.shops.pair(self.store, *product).await;
            let quantity = Some(pair.sellable_quantity);
            assert_eq!(
                self.mock.quantity(SELLER, name),
                quantity,
                "{name}, {after}"
            );
            assert_eq!(pair.last_confirmed_quantity, quantity, "{name}, {after}");
            assert_eq!(pair.in_flight_push_id, None, "{name}, {after}");
        }
    }
}

/// What can go wrong with a request of any kind.
fn faults() -> Vec<FaultKind> {
    let status = |status, applied| FaultKind::Status {
        status,
        body: None,
        applied,
    };
    vec![
        FaultKind::DropBefore,
        FaultKind::DropAfter,
        FaultKind::MalformedJson,
        FaultKind::Oversized { bytes: 1 << 20 },
        FaultKind::RateLimit {
            retry_after_seconds: None,
        },
        FaultKind::RateLimit {
            retry_after_seconds: Some(90),
        },
        status(400, false),
        status(401, false),
        status(403, false),
        status(500, false),
        status(500, true),
        status(503, false),
    ]
}

/// What can go wrong with the items of a request.
fn faults_of_batches() -> Vec<FaultKind> {
    vec![
        FaultKind::RejectItem {
            identifier: NAMES[1].to_owned(),
            reason: "no".to_owned(),
        },
        FaultKind::ApplyLate { delay_seconds: 30 },
        FaultKind::ShuffleResults,
        FaultKind::NeverDone,
        FaultKind::FailBatch,
    ]
}

/// L1 to L5: each of them alone.
#[rstest]
#[tokio::test]
async fn each_fault_of_a_marketplace_is_survived(
    #[values(Embedded, Server)] on: Profile,
    #[values(Trendyol, Hepsiburada)] marketplace: Marketplace,
) {
    let mut scene = Scene::open(on, marketplace, 0).await;
    let of_requests = OPERATIONS
        .into_iter()
        .flat_map(|operation| faults().into_iter().map(move |kind| (operation, kind)));
    let of_batches = faults_of_batches()
        .into_iter()
        .map(|kind| (Operation::Send, kind));
    for (operation, kind) in of_requests.chain(of_batches) {
        let fault = Fault::once(operation, kind);
        let after = format!("{fault:?}");
        scene.change(1).await;
        scene.mock.fault(fault);
        scene.shops.push(scene.store).await;
        // One change while the request is not known to have arrived, one while its results are not.
        scene.change(0).await;
        scene.wait(3);
        scene.shops.look().await;
        scene.change(1).await;
        scene.shops.push(scene.store).await;
        scene.assert_comes_to_rest(&after).await;
    }
    assert_told_in_order(&scene.mock, &NAMES);
}

/// P5 over real HTTP: all of them by chance, with runs that die.
#[rstest]
#[tokio::test]
async fn any_faults_of_a_marketplace_and_any_deaths_of_runs_are_survived(
    #[values(Embedded, Server)] on: Profile,
    #[values(Trendyol, Hepsiburada)] marketplace: Marketplace,
    #[values(1, 2, 3)] seed: u64,
) {
    let mut scene = Scene::open(on, marketplace, seed).await;
    let mut dice = Dice(seed);
    for kind in faults().into_iter().chain(faults_of_batches()) {
        scene.mock.fault(Fault::by_rate(0.02, kind));
    }
    for _ in 0..100 {
        match dice.below(10) {
            0..=3 => scene.change(dice.below(NAMES.len())).await,
            4..=5 => scene.shops.push(scene.store).await,
            6 => {
                let after = dice.below(200) + 1;
                kill_push(&scene.shops, scene.store, after).await;
            }
            7 => scene.shops.look().await,
            _ => scene.wait([1, 5, 20, 61, 130][dice.below(5)]),
        }
    }
    scene.assert_comes_to_rest("after the storm").await;
    assert_told_in_order(&scene.mock, &NAMES);
}
