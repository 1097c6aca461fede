//! How fast the marketplace is told what waits: of one store, and of all at a time.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::super::place::Place;
use super::super::report::{Report, Round};
use super::super::subject::Subject;
use super::super::usage::{Watch, rss_mib};
use super::market::{LATENCY, Market, Told};
use super::queue::{await_results, drain};
use super::seed::{Merchant, Shop};
use crate::App;

/// How often runs begin, besides those that follow each other.
const TICK: Duration = Duration::from_mins(1);

/// All that takes part.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) app: &'a App,
    pub(super) merchant: &'a Merchant,
    pub(super) market: &'a Market,
    pub(super) subject: &'a Subject,
}

/// What draining came to.
struct Drained {
    round: Round,
    took: Duration,
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
        let results = await_results(self.app, &self.merchant.organization_id).await?;
        let told = self.told();
        let everything = usize::try_from(self.merchant.products)? * shops.len();
        ensure!(
            told.items >= everything,
            "{everything} rows were closed, but {} quantities were told",
            told.items
        );
        for shop in first {
            let all = (1, self.merchant.products);
            self.merchant.owe(self.app, shop.id, all).await?;
        }
        let unchanged = self.drain(first).await?;
        let needless = self.told().requests - told.requests;
        let processes = watch.stop();
        let setup = json!({
            "pairs": everything,
            "stores": shops.len(),
            "marketplaceLatencyMs": millis(LATENCY)?,
            // Fifty requests in ten seconds, of a thousand each.
            "mostRowsOfAStoreASecond": 5000,
        });
        let counts = [
            ("allRowsTookMs", json!(millis(one.took + all.took)?)),
            ("requests", json!(told.requests)),
            ("itemsInThem", json!(told.items)),
            ("requestsForUnchangedRows", json!(needless)),
            ("ofABatchByItsItems", statements),
            ("lastResultsAfterMs", json!(millis(results)?)),
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
    fn told(self) -> Told {
        let mut sum = Told::default();
        for shop in &self.merchant.shops {
            let told = self.market.told_by(&shop.seller);
            sum.requests += told.requests;
            sum.items += told.items;
        }
        sum
    }

    async fn drain(self, shops: &[Shop]) -> Result<Drained> {
        let mut memory = Vec::new();
        let look = || memory.extend(rss_mib(self.subject.pid()));
        let took = drain(self.app, shops, TICK, look).await?;
        let at = |tenths: usize| memory.get(memory.len() * tenths / 10).or(memory.last());
        Ok(Drained {
            round: Round {
                done: usize::try_from(self.merchant.products)? * shops.len(),
                took: Some(took),
                latencies: Vec::new(),
            },
            took,
            memory: json!([at(1), at(5), at(10)]),
        })
    }
}

fn millis(duration: Duration) -> Result<u64> {
    Ok(u64::try_from(duration.as_millis())?)
}
