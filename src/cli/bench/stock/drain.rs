//! How fast the marketplace is told what waits: of one store, and of all at a time.

use std::time::Duration;

use anyhow::{Result, bail};
use jobs::PushStock;
use serde_json::{Value, json};
use sqlx::query_scalar;
use tokio::time::{Instant, sleep};

use super::super::place::Place;
use super::super::report::{Report, Round};
use super::super::subject::Subject;
use super::super::usage::{Watch, rss_mib};
use super::market::Market;
use super::seed::{Merchant, Shop};
use crate::App;
use crate::db::{on, sql};

/// Nothing takes as long as that.
const PATIENCE: Duration = Duration::from_mins(30);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// All that takes part.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) app: &'a App,
    pub(super) merchant: &'a Merchant,
    pub(super) market: &'a Market,
    pub(super) subject: &'a Subject,
}

/// Requests, and the quantities in them.
#[derive(Clone, Copy, Default)]
struct Sum {
    requests: u64,
    items: usize,
}

/// What draining came to.
struct Drained {
    round: Round,
    /// What the service held at the beginning, in the middle, at the end.
    memory: Value,
}

impl Scene<'_> {
    /// Drains the first store alone, then all others at a time; once the marketplace has said of
    /// everything what became of it, the first one again, where nothing has changed.
    pub(super) async fn measure(self, place: &Place, statements: Value) -> Result<Report> {
        let shops = &self.merchant.shops;
        let watch = Watch::start(self.subject.pid());
        let (first, others) = shops.split_at(1);
        let one = self.drain(first).await?;
        let all = self.drain(others).await?;
        let started = Instant::now();
        while is_any(self.app, Wait::Results).await? {
            be_patient(started)?;
            sleep(LOOK_AGAIN).await;
        }
        let last_results = started.elapsed();
        let told = self.told();
        for shop in first {
            let all = (1, self.merchant.products);
            self.merchant.owe(self.app, shop.id, all).await?;
        }
        let unchanged = self.drain(first).await?;
        let processes = watch.stop();
        let setup = json!({
            "pairs": self.merchant.products * shops.len() as u64,
            "stores": shops.len(),
            "marketplaceLatencyMs": 5,
        });
        let counts = [
            ("requests", json!(told.requests)),
            ("itemsInThem", json!(told.items)),
            (
                "requestsForUnchangedRows",
                json!(self.told().requests - told.requests),
            ),
            ("statementsOfABatchByItsItems", statements),
            (
                "lastResultsAfterMs",
                json!(u64::try_from(last_results.as_millis())?),
            ),
            ("serviceMibWhileOneStoreWasDrained", one.memory),
            ("serviceMibWhileTheOthersWere", all.memory),
        ];
        let mut series = vec![("rows of one store", vec![one.round])];
        if !others.is_empty() {
            series.push(("rows of the other stores", vec![all.round]));
        }
        series.push(("unchanged rows", vec![unchanged.round]));
        let report = Report::new("stock-drain", place.profile(), setup, series);
        Ok(report.with_counts(counts).with_processes(processes))
    }

    /// What the stores have told together.
    fn told(self) -> Sum {
        let mut sum = Sum::default();
        for shop in &self.merchant.shops {
            if let Some(told) = self.market.told_by(&shop.seller) {
                sum.requests += told.requests;
                sum.items += told.items;
            }
        }
        sum
    }

    async fn drain(self, shops: &[Shop]) -> Result<Drained> {
        let job = |shop: &Shop| PushStock { store_id: shop.id };
        let jobs: Vec<PushStock> = shops.iter().map(job).collect();
        let done = usize::try_from(self.merchant.products)? * shops.len();
        let mut memory = Vec::new();
        let started = Instant::now();
        self.app.queue.push(&jobs).await?;
        for shop in shops {
            while is_any(self.app, Wait::Rows(shop)).await? {
                memory.extend(rss_mib(self.subject.pid()));
                be_patient(started)?;
                sleep(LOOK_AGAIN).await;
            }
        }
        let took = started.elapsed();
        let told = shops
            .iter()
            .filter_map(|shop| self.market.told_by(&shop.seller));
        let items: usize = told.map(|told| told.items).sum();
        if items < done {
            bail!("{done} rows were closed, but {items} quantities were told");
        }
        let at = |part: usize| memory.get(memory.len() * part / 10).or(memory.last());
        Ok(Drained {
            round: Round {
                done,
                took: Some(took),
                latencies: Vec::new(),
            },
            memory: json!([at(1), at(5), at(10)]),
        })
    }
}

fn be_patient(started: Instant) -> Result<()> {
    if started.elapsed() > PATIENCE {
        bail!(
            "the stores are not drained after {} minutes",
            PATIENCE.as_secs() / 60
        );
    }
    Ok(())
}

/// What is waited for.
#[derive(Clone, Copy)]
enum Wait<'a> {
    /// That nothing of a store has to be told any more.
    Rows(&'a Shop),
    /// That the marketplace has said of every push what became of it.
    Results,
}

async fn is_any(app: &App, wait: Wait<'_>) -> Result<bool> {
    let mut tx = app.db.read().await?;
    let found: Option<i32> = match wait {
        Wait::Rows(shop) => on!(&mut tx, conn => query_scalar(sql!(
            "SELECT 1 FROM stock_update_queue WHERE store_id = $1 AND processed_at IS NULL LIMIT 1"))
            .bind(shop.id)
            .fetch_optional(conn).await)?,
        Wait::Results => on!(&mut tx, conn => query_scalar(sql!(
            "SELECT 1 FROM stock_pushes WHERE state IN ('SENDING', 'ACCEPTED', 'UNKNOWN') LIMIT 1"))
            .fetch_optional(conn).await)?,
    };
    tx.save().await?;
    Ok(found.is_some())
}
