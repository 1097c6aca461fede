//! `kill -9` at each step of a push, again and again: every marketplace ends up showing what it
//! has to, and none was ever told an older quantity after a newer one.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use marketplace_sync::clock::Clock;
use marketplace_sync::marketplace::model::Marketplace::{self, Hepsiburada, Trendyol};
use marketplace_sync::stock::mock::hepsiburada::HepsiburadaRules;
use marketplace_sync::stock::mock::trendyol::TrendyolRules;
use marketplace_sync::stock::mock::{
    Catalogue, Fault, FaultKind, MockMarketplace, Operation, Options, Received, Running, World,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::processes::Installation;
use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::app::on;
use crate::support::dice::Dice;
use crate::support::lock::Lock;
use crate::support::mock_marketplaces::assert_told_in_order;
use crate::support::process::Process;

/// Of each profile.
const KILLS: usize = 10;
const SELLER: &str = "4321";
const PRODUCTS: [&str; 3] = ["8680001", "8680002", "8680003"];
/// A lease of the dead lasts for 4 seconds; what came of their requests is read back a minute
/// later, and once more after another minute where a newer request is on its way by then.
const PATIENCE: Duration = Duration::from_secs(200);
/// Answers are held for so long where a process is to die before them: longer than it lives.
const HELD: u64 = 1500;

/// What has to come to nothing.
const LEFT: [&str; 4] = [
    "SELECT COUNT(*) FROM stock_update_queue WHERE processed_at IS NULL",
    "SELECT COUNT(*) FROM stock_pushes WHERE next_poll_at IS NOT NULL",
    "SELECT COUNT(*) FROM product_stores WHERE in_flight_push_id IS NOT NULL",
    "SELECT COUNT(*) FROM product_stores
     WHERE last_confirmed_quantity IS DISTINCT FROM sellable_quantity",
];

/// Where a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The change is committed, with the row that says that somebody has to be told.
    Enqueued,
    /// The request came and is not answered: the push is written, its outcome is not known.
    Sent,
    /// The request is answered; nobody can write that down.
    Unwritten,
    /// It is asked what became of the items.
    Asked,
    /// Some time after the change.
    Sometime,
}

impl Step {
    const ALL: [Self; 5] = [
        Self::Enqueued,
        Self::Sent,
        Self::Unwritten,
        Self::Asked,
        Self::Sometime,
    ];
}

/// Scenario 22, L1, L2 and L3, with the real binary.
#[tokio::test(flavor = "multi_thread")]
async fn every_quantity_survives_kills_at_every_step_of_a_push() {
    let seed = getrandom::u64().unwrap() >> 32;
    println!("seed {seed}");
    // Both wait for leases most of the time.
    tokio::join!(kill(Embedded, seed), kill(Server, seed));
}

async fn kill(on: Profile, seed: u64) {
    let mut scene = Scene::open(on).await;
    let mut dice = Dice(seed);
    let mut deck = Vec::new();
    for number in 1..=KILLS {
        if deck.is_empty() {
            deck = Step::ALL.to_vec();
            dice.shuffle(&mut deck);
        }
        let step = deck.pop().unwrap();
        scene.die_at(step, &mut dice).await;
        println!("{on:?} {number}: {step:?}");
    }
    scene.assert_comes_to_rest().await;
    for place in &scene.places {
        assert_told_in_order(&place.mock, &PRODUCTS);
    }
    scene.assert_requests_are_known().await;
}

/// A process that dies and lives again, with a store on each of two marketplaces, both fed by one
/// shelf.
struct Scene {
    installation: Installation,
    places: [Place; 2],
    shelf: String,
    products: Vec<String>,
    /// Units that were put onto the shelf, of each product: quantities only grow.
    stock: [i64; PRODUCTS.len()],
    process: Option<Process>,
}

/// Why a marketplace is told nothing and until when, and until when a run has it.
type Gate = (Option<String>, Option<DateTime<Utc>>, Option<DateTime<Utc>>);
/// How a push stands, how often it was looked at, when it was written and is looked at again, and
/// what went wrong.
type Push = (
    String,
    i32,
    DateTime<Utc>,
    Option<DateTime<Utc>>,
    Option<String>,
);

/// A marketplace, and the store there.
struct Place {
    marketplace: Marketplace,
    mock: MockMarketplace,
    running: Running,
}

impl Place {
    async fn open(marketplace: Marketplace) -> Self {
        let options = Options {
            catalogue: Catalogue::of(PRODUCTS),
            ..Options::default()
        };
        let clock = Clock::system();
        let applies_after = TimeDelta::milliseconds(100);
        let mock = if marketplace == Trendyol {
            let rules = TrendyolRules {
                has_limits: false,
                applies_after,
                identical_window: TimeDelta::seconds(1),
                ..TrendyolRules::default()
            };
            MockMarketplace::new(rules, options, clock)
        } else {
            let rules = HepsiburadaRules {
                has_limits: false,
                applies_after,
                ..HepsiburadaRules::default()
            };
            MockMarketplace::new(rules, options, clock)
        };
        let running = mock.serve(0).await.unwrap();
        Self {
            marketplace,
            mock,
            running,
        }
    }

    fn came(&self, operation: Operation) -> usize {
        self.mock.look(|world| {
            let of_kind = |it: &&_| is(it, operation);
            world.requests.iter().filter(of_kind).count()
        })
    }
}

fn is(request: &Received, operation: Operation) -> bool {
    request.operation == Some(operation)
}

impl Scene {
    async fn open(on: Profile) -> Self {
        let places = [Place::open(Trendyol).await, Place::open(Hepsiburada).await];
        let urls = places
            .each_ref()
            .map(|place| place.running.base_url().to_string());
        let settings = [
            ("TRENDYOL_BASE_URL", urls[0].as_str()),
            ("HEPSIBURADA_BASE_URL", urls[1].as_str()),
            // Not shorter than that of the marketplace, whose refusals would close the store.
            ("TRENDYOL_IDENTICAL_WINDOW_SECONDS", "2"),
            ("STOCK_PUSH_CRON", "* * * * * *"),
            ("STOCK_CONFIRM_CRON", "* * * * * *"),
            ("STOCK_LEASE_SECONDS", "4"),
            ("STOCK_HTTP_TIMEOUT_SECONDS", "3"),
            ("STOCK_CONFIRM_HOLD_SECONDS", "2"),
        ];
        let installation = Installation::new(on, &settings).await;
        let process = installation.start_all().await;
        let mut scene = Self {
            installation,
            places,
            shelf: String::new(),
            products: Vec::new(),
            stock: [0; PRODUCTS.len()],
            process: Some(process),
        };
        scene.furnish().await;
        scene
    }

    /// A warehouse with a shelf, products, and two live stores that list them.
    async fn furnish(&mut self) {
        let mut stores = Vec::new();
        for place in &self.places {
            let body = json!({
                "organizationId": "org-1", "marketplace": place.marketplace.as_str(),
                "externalStoreId": SELLER, "storeName": "Shop", "accessToken": "secret",
                "currency": "TRY",
            });
            let store = self.ask(Method::POST, "/stores/register", &body).await;
            stores.push(text(&store, "storeId"));
        }
        for name in PRODUCTS {
            let product = json!({
                "organizationId": "org-1", "name": name, "sku": name, "barcode": name,
                "productType": "SIMPLE",
            });
            let product = self.ask(Method::POST, "/products", &product).await;
            let product = text(&product, "id");
            for store in &stores {
                let path = format!("/stores/{store}/products/{product}");
                self.ask(Method::PUT, &path, &json!({ "isListed": true }))
                    .await;
            }
            self.products.push(product);
        }
        let warehouse = json!({ "organizationId": "org-1", "name": "One", "code": "ONE" });
        let warehouse = self.ask(Method::POST, "/warehouses", &warehouse).await;
        let path = format!("/warehouses/{}", text(&warehouse, "id"));
        self.ask(
            Method::PUT,
            &format!("{path}/stores"),
            &json!({ "storeIds": stores }),
        )
        .await;
        let path = format!("{path}/shelves");
        let made = self.ask(Method::POST, &path, &json!({ "code": "A" })).await;
        self.shelf = text(&made, "id");
        for store in &stores {
            let settings = json!({
                "stockSource": "WAREHOUSE", "apiKey": "key", "apiSecret": "secret",
                "sendStock": true, "stockPushMode": "LIVE",
            });
            self.ask(
                Method::PATCH,
                &format!("/stores/{store}/stock-settings"),
                &settings,
            )
            .await;
        }
    }

    /// Asks the process, which must not fail.
    async fn ask(&self, method: Method, path: &str, body: &Value) -> Value {
        let address = self.process.as_ref().unwrap().address("public").await;
        let url = format!("http://{address}{path}?organizationId=org-1");
        let request = self.installation.http().request(method, url).json(body);
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        assert!(status.is_success(), "{path}: {status} {body}");
        body
    }

    /// One unit more of a product: both marketplaces have to be told.
    async fn change(&mut self, product: usize) {
        self.stock[product] += 1;
        let path = format!("/shelves/{}/stock/add", self.shelf);
        let unit = json!({ "productId": self.products[product], "quantity": 1 });
        self.ask(Method::POST, &path, &unit).await;
    }

    /// The next answer of a marketplace to an operation is held; waits until it is asked for.
    async fn hold(&self, place: usize, operation: Operation) {
        let place = &self.places[place];
        let before = place.came(operation);
        let slow = FaultKind::Slow { delay_ms: HELD };
        place.mock.fault(Fault::once(operation, slow));
        let count = |world: &World| world.requests.iter().filter(|it| is(it, operation)).count();
        let came = place.mock.wait_until(|world| count(world) > before);
        let has_come = timeout(PATIENCE, came).await.is_ok();
        assert!(
            has_come,
            "{operation:?} never comes: {}",
            self.state().await
        );
    }

    /// Kills the process at a step of a push, and starts the next one.
    async fn die_at(&mut self, step: Step, dice: &mut Dice) {
        let product = dice.below(PRODUCTS.len());
        let place = dice.below(self.places.len());
        let mut lock = None;
        self.change(product).await;
        match step {
            Step::Enqueued => {}
            Step::Sent => self.hold(place, Operation::Send).await,
            Step::Unwritten => {
                self.hold(place, Operation::Send).await;
                lock = Some(self.lock().await);
                let answered = self.places[place].mock.wait_until(|world| {
                    let mut sent = world.requests.iter().filter(|it| is(it, Operation::Send));
                    sent.next_back().is_some_and(|it| it.status.is_some())
                });
                timeout(PATIENCE, answered).await.expect("it is answered");
            }
            Step::Asked => self.hold(place, Operation::Poll).await,
            Step::Sometime => {
                let some = u64::try_from(dice.below(2500)).unwrap();
                sleep(Duration::from_millis(some)).await;
            }
        }
        let exit = self.process.take().unwrap().kill().await;
        assert_eq!(exit.code, None, "a signal ended it");
        if let Some(lock) = lock {
            lock.release().await;
        }
        self.process = Some(self.installation.start_all().await);
    }

    async fn lock(&self) -> Lock {
        let Installation { database, db, .. } = &self.installation;
        Lock::take(database, db, "stock_pushes").await
    }

    /// The queue becomes empty, and both marketplaces show what is on the shelf.
    async fn assert_comes_to_rest(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut left = [0; LEFT.len()];
            for (sql, left) in LEFT.iter().zip(&mut left) {
                *left = self.installation.count(sql).await;
            }
            if left == [0; LEFT.len()] {
                break;
            }
            let on = self.installation.on;
            assert!(
                Instant::now() < deadline,
                "{on:?} has this left: {left:?}, {}",
                self.state().await
            );
            sleep(Duration::from_millis(50)).await;
        }
        for place in &self.places {
            let shown = PRODUCTS.map(|name| place.mock.quantity(SELLER, name));
            assert_eq!(shown, self.stock.map(Some), "{}", place.marketplace);
        }
    }

    /// All that may explain why nothing goes on.
    async fn state(&self) -> String {
        let gates: Vec<Gate> = on!(
            &self.installation.db, pool => sqlx::query_as(
                "SELECT backoff_reason, backoff_until, lease_until FROM marketplace_rate_limits")
                .fetch_all(pool).await.unwrap());
        let rows: Vec<(i32, DateTime<Utc>, Option<String>)> = on!(
            &self.installation.db, pool => sqlx::query_as(
                "SELECT attempts, next_attempt_at, last_error FROM stock_update_queue
                 WHERE processed_at IS NULL").fetch_all(pool).await.unwrap());
        let pushes: Vec<Push> = on!(
            &self.installation.db, pool => sqlx::query_as(
                "SELECT state, polls, created_at, next_poll_at, error FROM stock_pushes
                 ORDER BY created_at").fetch_all(pool).await.unwrap());
        format!("gates {gates:#?}\nrows {rows:#?}\npushes {pushes:#?}")
    }

    /// Each request that came is of a push that was written before it was sent.
    async fn assert_requests_are_known(&self) {
        let pushes = self
            .installation
            .count("SELECT COUNT(*) FROM stock_pushes")
            .await;
        let came: usize = self
            .places
            .iter()
            .map(|place| place.came(Operation::Send))
            .sum();
        let came = i64::try_from(came).unwrap();
        println!(
            "{:?}: {came} requests, {pushes} pushes",
            self.installation.on
        );
        assert!(came >= 2 * i64::try_from(KILLS / Step::ALL.len()).unwrap());
        assert!(
            came <= pushes,
            "{came} requests, and {pushes} pushes are known"
        );
    }
}

fn text(body: &Value, field: &str) -> String {
    body[field].as_str().unwrap().to_owned()
}
