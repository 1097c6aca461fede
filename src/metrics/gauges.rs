//! How a reading is told.

use std::fmt;

use chrono::TimeDelta;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::labels::{CALLBACKS, ORDERS};
use super::names::{self, Name};
use super::readings::{Backlog, Database, Reading, Readings, since};

impl Collector for Readings {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let reading = self.last();
        let mut gauges = Gauges(&mut encoder);
        gauges.parts(&reading)?;
        if let Some(database) = &reading.database {
            gauges.database(database, reading.backlog)?;
        }
        if let Some(backlog) = reading.backlog {
            gauges.one(names::SYNC_OLDEST_DUE, seconds(backlog.order_due_for))?;
            gauges.one(
                names::CALLBACK_OLDEST_DUE,
                seconds(backlog.delivery_due_for),
            )?;
        }
        if let Some(stock) = &reading.stock {
            stock.encode(gauges.0)?;
        }
        let depths = reading.queues.iter().flatten();
        let depths = depths.map(|(queue, depth)| (*queue, number(*depth)));
        gauges.several(names::QUEUE_DEPTH, "queue", depths)
    }
}

/// Writes gauges.
struct Gauges<'a, 'e>(&'a mut DescriptorEncoder<'e>);

impl Gauges<'_, '_> {
    fn parts(&mut self, reading: &Reading) -> fmt::Result {
        let Some((open, idle)) = reading.connections else {
            // Nobody has read anything yet.
            return Ok(());
        };
        let up = [
            ("database", f64::from(reading.database.is_some())),
            ("queue", f64::from(reading.queues.is_some())),
        ];
        self.several(names::DEPENDENCY_UP, "dependency", up)?;
        let idle = u32::try_from(idle).unwrap_or(u32::MAX);
        let connections = [
            ("busy", f64::from(open.saturating_sub(idle))),
            ("idle", f64::from(idle)),
        ];
        self.several(names::DATABASE_CONNECTIONS, "state", connections)
    }

    fn database(&mut self, read: &Database, backlog: Option<Backlog>) -> fmt::Result {
        let counts = read.counts;
        let mut rows = vec![
            ("pending", number(counts.pending_events)),
            ("failed", number(counts.failed_events)),
        ];
        rows.extend(backlog.map(|backlog| ("success", number(backlog.done_events))));
        self.several(names::CALLBACK_OUTBOX_ROWS, "status", rows)?;
        let oldest = counts.oldest_pending;
        let age = oldest.map_or(TimeDelta::zero(), |oldest| since(oldest, read.at));
        self.one(names::CALLBACK_OUTBOX_OLDEST_PENDING, seconds(age))?;
        let dead = [
            (ORDERS, number(counts.dead_orders)),
            (CALLBACKS, number(counts.failed_events)),
        ];
        self.several(names::DEAD_LETTER_ROWS, "kind", dead)?;
        let paused = number(counts.paused_endpoints);
        self.one(names::WEBHOOK_ENDPOINTS_PAUSED, paused)?;
        let ages = read.schedules.iter();
        let ages = ages.filter_map(|it| Some((it.name, seconds(it.age?))));
        self.several(names::SCHEDULER_LAST_TICK_AGE, "scheduler", ages)?;
        let intervals = read.schedules.iter();
        let intervals = intervals.filter_map(|it| Some((it.name, seconds(it.interval?))));
        self.several(names::SCHEDULER_INTERVAL, "scheduler", intervals)
    }

    fn one(&mut self, name: Name, value: f64) -> fmt::Result {
        let (name, help) = name;
        let metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(metric)
    }

    fn several(
        &mut self,
        name: Name,
        label: &str,
        values: impl IntoIterator<Item = (&'static str, f64)>,
    ) -> fmt::Result {
        let (name, help) = name;
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (of, value) in values {
            let labels = [(label, of)];
            ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn seconds(time: TimeDelta) -> f64 {
    time.as_seconds_f64()
}

/// Counts stop far below where a float skips whole numbers; those of a queue as well.
fn number(count: impl TryInto<u32>) -> f64 {
    f64::from(count.try_into().unwrap_or(u32::MAX))
}
