//! What stock costs: looking for what is due and computing it, orders that reserve, telling a
//! marketplace all of it, and how soon it is told of an order.
//!
//! | file | what |
//! |---|---|
//! | [`seed`] | a merchant with products, sets and stores |
//! | [`market`] | a Trendyol that takes everything |
//! | [`api`] | how the merchant calls the service |
//! | [`lookups`], [`reserve`], [`drain`], [`trigger`] | what is measured |
//! | [`statements`] | how many statements a batch takes |
//! | [`queue`] | waits until nothing has to be told any more |

mod api;
mod drain;
mod lookups;
mod market;
mod queue;
mod reserve;
mod seed;
mod statements;
mod trigger;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, ensure};
use clap::Args;
use jobs::schedule::{STOCK_PUSH, STOCK_RECONCILE};
use serde_json::{Value, json};
use sqlx::query;

use self::api::Api;
use self::drain::Scene;
use self::market::Market;
use self::seed::{Merchant, go_live};
use super::place::Place;
use super::report::{Report, Round};
use super::subject::{KEY, Subject};
use crate::App;
use crate::cli::output::{complain, say};
use crate::db::{on, sql};
use crate::schedule::claim_tick;

/// Products of which everything that is measured has enough.
const FEWEST_PRODUCTS: u64 = 200;

/// Quantities of many products, told to a marketplace.
#[derive(Clone, Debug, Args)]
pub(super) struct Stock {
    /// Pairs of a product and a store, all of which wait to be told.
    #[arg(long, default_value_t = 100_000)]
    pairs: u64,
    /// Stores that they are of.
    #[arg(long, default_value_t = 10)]
    stores: u64,
    /// Rounds of what is done again and again.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of a round of orders.
    #[arg(long, value_name = "SECONDS", default_value_t = 8)]
    seconds: u64,
    /// Clients that order, each one order at a time.
    #[arg(long, default_value_t = 32)]
    clients: usize,
    /// Orders whose way to the marketplace is measured.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u8).range(1..=50))]
    orders: u8,
}

impl Stock {
    /// Measures one thing after the other, and tells of each as soon as it is there.
    pub(super) async fn run(self, place: &Place) -> Result<Vec<Report>> {
        let products = self.pairs / self.stores.max(1);
        ensure!(
            self.stores > 0 && products >= FEWEST_PRODUCTS,
            "there must be a store, and {FEWEST_PRODUCTS} products in each"
        );
        let market = Market::start().await?;
        let service = Service::new(place, &market)?;
        let app = place.app(&service.settings).await?;
        let mut merchant = Merchant::new(&app, products).await?;
        let mut reports = Vec::new();
        let mut tell = |report: Report| {
            complain(&format!("{}\n", report.table()));
            say(&report.json());
            reports.push(report);
        };
        tell(self.fill(&app, place, &mut merchant).await?);
        tell(lookups::measure(&app, place, &merchant, self.rounds).await?);
        tell(reserve::measure(&self, &app, place, &mut merchant, &service).await?);
        let statements = service.prepare(&app, place, &mut merchant).await?;
        let subject = service.start("api,worker,scheduler").await?;
        // It comes first, so that nothing of the drain is a beginning.
        let orders = usize::from(self.orders);
        let triggered = trigger::measure(orders, &app, place, &mut merchant, &market, &subject);
        tell(triggered.await?);
        let scene = Scene {
            app: &app,
            merchant: &merchant,
            market: &market,
            subject: &subject,
        };
        tell(scene.measure(place, statements).await?);
        subject.stop();
        Ok(reports)
    }

    /// Opens the stores, and has each be told everything.
    async fn fill(&self, app: &Arc<App>, place: &Place, merchant: &mut Merchant) -> Result<Report> {
        for _ in 0..self.stores {
            let shop = merchant.open_shop(app).await?;
            merchant
                .list(app, shop.id, (1, merchant.products), 1)
                .await?;
            merchant.shops.push(shop);
        }
        let mut rounds: Vec<Round> = Vec::new();
        for shop in &merchant.shops {
            rounds.push(merchant.owe(app, shop.id, (1, merchant.products)).await?);
        }
        if app.settings.is_server_profile() {
            // As its own housekeeping would have by then.
            let mut tx = app.db.write_at_length().await?;
            on!(&mut tx, conn => query(sql!("ANALYZE")).execute(conn).await.map(|_| ()))?;
            tx.save().await?;
        }
        let setup = json!({
            "pairs": merchant.products * self.stores,
            "stores": self.stores,
            "sets": merchant.products / 10,
            "rowsATransaction": 1000,
        });
        let measured = vec![("rows enqueued", rounds)];
        Ok(Report::new(
            "stock-enqueue",
            place.profile(),
            setup,
            measured,
        ))
    }
}

/// The service that is measured, before it is started.
struct Service<'a> {
    settings: BTreeMap<String, String>,
    market: &'a Market,
}

impl<'a> Service<'a> {
    /// One that pushes to this marketplace when it is told to, and asks it for results each second.
    fn new(place: &Place, market: &'a Market) -> Result<Self> {
        let mut settings = place.environment()?;
        for (name, value) in [
            ("STOCK_CONFIRM_CRON", "* * * * * *"),
            ("STOCK_PUSH_CRON", "0 0 0 1 1 *"),
            // What is measured is the service, and not what a marketplace publishes.
            ("STOCK_RATE_TARGET_PCT", "100"),
            ("TOKEN_ENCRYPTION_KEY", KEY),
            ("TRENDYOL_BASE_URL", &market.base_url()),
        ] {
            settings.insert(name.to_owned(), value.to_owned());
        }
        Ok(Self { settings, market })
    }

    async fn start(&self, roles: &str) -> Result<Subject> {
        Subject::start(&self.settings, roles, self.market.address()).await
    }

    /// Counts the statements of a batch, and gives all stores what they need to be pushed to by who
    /// is told to.
    async fn prepare(&self, app: &App, place: &Place, merchant: &mut Merchant) -> Result<Value> {
        let subject = self.start("api").await?;
        let api = Api::new(&subject, merchant)?;
        let statements = statements::count(place, &self.settings, merchant, &api).await?;
        for shop in &merchant.shops {
            api.configure(shop).await?;
            go_live(app, shop).await?;
        }
        subject.stop();
        // Who starts makes up for the ticks that were missed: these were not.
        let now = app.clock.now();
        for tick in [STOCK_PUSH, STOCK_RECONCILE] {
            claim_tick(&app.db, tick.name, now, now).await?;
        }
        Ok(statements)
    }
}
