//! What waits to be told to marketplaces, and what they show: read now and then, a store at a time.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use jobs::StoreId;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::names::{self, Name};
use super::queries::{self, StoreStock, Waiting};
use super::readings::since;
use crate::App;

/// Where counts of a store and a priority stop.
const COUNT_LIMIT: i64 = 100_000;

/// From one look at the stock of all stores.
#[derive(Clone, Debug)]
pub(super) struct Stock {
    at: DateTime<Utc>,
    waiting: Vec<Waiting>,
    stores: Vec<StoreStock>,
}

/// Looks at the stock of all stores.
pub(super) async fn read(app: &App) -> sqlx::Result<Stock> {
    let at = app.clock.now();
    let mut tx = app.db.read().await?;
    let waiting =
        queries::waiting_stock(&mut tx, at - app.settings.stock.queue_ttl, COUNT_LIMIT).await?;
    let stores = queries::store_stock(&mut tx, COUNT_LIMIT).await?;
    tx.save().await?;
    Ok(Stock {
        at,
        waiting,
        stores,
    })
}

impl Stock {
    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauges = Gauges(encoder);
        gauges.several(
            names::STOCK_QUEUE_PENDING,
            self.waiting.iter().map(|it| {
                let labels = [
                    ("store_id", it.store_id.to_string()),
                    ("marketplace", it.marketplace.to_string()),
                    ("priority", it.priority.to_string()),
                ];
                (labels, number(it.pending))
            }),
        )?;
        gauges.several(
            names::STOCK_QUEUE_OVERDUE,
            self.stores
                .iter()
                .map(|it| (labels(it), number(self.overdue(it.store_id)))),
        )?;
        gauges.several(
            names::STOCK_QUEUE_OLDEST,
            self.stores.iter().map(|it| {
                let age = self
                    .oldest(it.store_id)
                    .map_or(TimeDelta::zero(), |at| since(at, self.at));
                (labels(it), age.as_seconds_f64())
            }),
        )?;
        let compared = self.stores.iter().filter(|it| it.sets_checked > 0);
        gauges.several(
            names::STOCK_SET_ACCURACY,
            compared.map(|it| {
                (
                    labels(it),
                    number(it.sets_accurate) / number(it.sets_checked),
                )
            }),
        )?;
        let each = |value: fn(&StoreStock) -> i64| {
            self.stores
                .iter()
                .map(move |it| (labels(it), number(value(it))))
        };
        gauges.several(names::STOCK_SHORTFALL, each(|it| it.shortfall_units))?;
        gauges.several(names::STOCK_PAIRS_BLOCKED, each(|it| it.pairs_blocked))?;
        gauges.several(names::STOCK_IN_FLIGHT, each(|it| it.pushes_in_flight))
    }

    fn of_store(&self, store_id: StoreId) -> impl Iterator<Item = &Waiting> {
        self.waiting
            .iter()
            .filter(move |it| it.store_id == store_id)
    }

    fn overdue(&self, store_id: StoreId) -> i64 {
        self.of_store(store_id).map(|it| it.overdue).sum()
    }

    fn oldest(&self, store_id: StoreId) -> Option<DateTime<Utc>> {
        self.of_store(store_id).filter_map(|it| it.oldest_at).min()
    }
}

fn labels(store: &StoreStock) -> [(&'static str, String); 2] {
    [
        ("store_id", store.store_id.to_string()),
        ("marketplace", store.marketplace.to_string()),
    ]
}

/// Writes gauges.
struct Gauges<'a, 'e>(&'a mut DescriptorEncoder<'e>);

impl Gauges<'_, '_> {
    fn several<L: EncodeLabelSet>(
        &mut self,
        name: Name,
        values: impl Iterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let (name, help) = name;
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// Counts stop far below where a float skips whole numbers.
fn number(count: i64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
