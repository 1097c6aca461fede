//! The table of a soak, and its verdict: the last third against the second, and the trend of the
//! room that an order takes.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use super::growth::Growth;
use super::samples::Sample;
use crate::cli::bench::Profile;
use crate::cli::bench::receiver::Timed;
use crate::cli::output::table;

/// What may be more in the last third, in percent …
const LIMIT: f64 = 5.0;
/// … unless it is less than noise: a megabyte, a millisecond.
const NOISE: f64 = 1.0;
/// Rows of the table are so long, or a tenth of the whole if that is less.
const ROW: Duration = Duration::from_mins(1);
const MEGABYTE: f64 = 1024.0 * 1024.0;

/// All that was seen.
pub(super) struct Watched {
    pub(super) profile: Profile,
    pub(super) rate: u32,
    pub(super) started: Instant,
    pub(super) length: Duration,
    pub(super) samples: Vec<Sample>,
    pub(super) errors: usize,
    pub(super) imports: Vec<Timed>,
    pub(super) deliveries: Vec<Timed>,
}

/// The figures.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli::bench) struct Steadiness {
    bench: &'static str,
    profile: Profile,
    version: &'static str,
    processors: usize,
    orders_a_second: u32,
    seconds: u64,
    errors: usize,
    rows: Vec<Figures>,
    drifts: Vec<Drift>,
    #[serde(skip_serializing_if = "Option::is_none")]
    growth: Option<Growth>,
}

/// Of a stretch of time.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    until_seconds: u64,
    orders: u64,
    deliveries: usize,
    memory_mb: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    redis_mb: Option<f64>,
    database_mb: f64,
    bytes_an_order: f64,
    import_p99_ms: f64,
    delivery_p99_ms: f64,
}

/// How much more there is of something in the last third than in the second.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Drift {
    name: &'static str,
    second: f64,
    last: f64,
    percent: f64,
    is_steady: bool,
}

impl Steadiness {
    pub(super) fn new(watched: &Watched) -> Self {
        let row = ROW.min(watched.length / 10).max(Duration::from_secs(1));
        let count = u32::try_from(watched.length.as_millis() / row.as_millis()).unwrap_or(1);
        let rows = (0..count).filter_map(|it| watched.figures(row * it, row * (it + 1)));
        let third = watched.length / 3;
        let second = watched.figures(third, third * 2);
        let last = watched.figures(third * 2, watched.length);
        Self {
            bench: "soak",
            profile: watched.profile,
            version: env!("CARGO_PKG_VERSION"),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            orders_a_second: watched.rate,
            seconds: watched.length.as_secs(),
            errors: watched.errors,
            rows: rows.collect(),
            drifts: second.zip(last).map(drifts).unwrap_or_default(),
            growth: Growth::of(&watched.sizes_since(third)),
        }
    }

    /// Whether nothing drifts, and everything was answered.
    pub(in crate::cli::bench) fn is_steady(&self) -> bool {
        let is_steady = !self.drifts.is_empty() && self.drifts.iter().all(|it| it.is_steady);
        let grows_evenly = self.growth.as_ref().is_some_and(Growth::is_even);
        self.errors == 0 && is_steady && grows_evenly
    }

    /// For programs.
    pub(in crate::cli::bench) fn json(&self) -> String {
        json!(self).to_string()
    }

    /// For people.
    pub(in crate::cli::bench) fn table(&self) -> String {
        let head = [
            "second",
            "orders",
            "deliveries",
            "memory MB",
            "Redis MB",
            "database MB",
            "bytes an order",
            "import p99 ms",
            "delivery p99 ms",
        ];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(self.rows.iter().map(|it| {
            [
                it.until_seconds.to_string(),
                it.orders.to_string(),
                it.deliveries.to_string(),
                format!("{:.1}", it.memory_mb),
                it.redis_mb
                    .map_or_else(|| "-".to_owned(), |it| format!("{it:.1}")),
                format!("{:.1}", it.database_mb),
                format!("{:.0}", it.bytes_an_order),
                format!("{:.1}", it.import_p99_ms),
                format!("{:.1}", it.delivery_p99_ms),
            ]
        }));
        let mut lines = vec![
            format!(
                "soak on {} processors, {:?}, {} orders a second for {} s, {} errors\n",
                self.processors, self.profile, self.orders_a_second, self.seconds, self.errors
            ),
            table(&rows),
            String::new(),
        ];
        lines.extend(self.drifts.iter().map(|it| {
            let verdict = if it.is_steady { "steady" } else { "DRIFTS" };
            format!(
                "{verdict}: {} {:.1} in the second third, {:.1} in the last ({:+.1} %)",
                it.name, it.second, it.last, it.percent
            )
        }));
        lines.extend(self.growth.as_ref().map(Growth::line));
        lines.join("\n")
    }
}

impl Watched {
    /// How many orders there were and how large the database was, from a moment on.
    fn sizes_since(&self, from: Duration) -> Vec<(f64, f64)> {
        let from = self.started + from;
        let samples = self.samples.iter().filter(|it| it.at >= from);
        samples
            .map(|it| (float(it.orders), float(it.database)))
            .collect()
    }

    /// The figures of a stretch; none when nothing was seen in it.
    fn figures(&self, from: Duration, until: Duration) -> Option<Figures> {
        let is_in = |at: Instant| {
            let at = at.saturating_duration_since(self.started);
            from <= at && at < until
        };
        let samples: Vec<&Sample> = self.samples.iter().filter(|it| is_in(it.at)).collect();
        let (first, last) = (*samples.first()?, *samples.last()?);
        let mean = |of: fn(&Sample) -> u64| {
            let sum: f64 = samples.iter().map(|it| float(of(it))).sum();
            sum / float(samples.len()) / MEGABYTE
        };
        let grown = float(last.database) - float(first.database);
        Some(Figures {
            until_seconds: until.as_secs(),
            orders: last.orders - first.orders,
            deliveries: last.deliveries - first.deliveries,
            memory_mb: mean(|it| it.memory),
            redis_mb: first.redis.map(|_| mean(|it| it.redis.unwrap_or_default())),
            database_mb: float(last.database) / MEGABYTE,
            bytes_an_order: grown / float(last.orders - first.orders).max(1.0),
            import_p99_ms: p99(&self.imports, is_in),
            delivery_p99_ms: p99(&self.deliveries, is_in),
        })
    }
}

/// What ninety-nine of a hundred do not exceed.
fn p99(latencies: &[Timed], is_in: impl Fn(Instant) -> bool) -> f64 {
    let of_stretch = latencies.iter().filter(|(at, _)| is_in(*at));
    let mut took: Vec<Duration> = of_stretch.map(|(_, took)| *took).collect();
    took.sort_unstable();
    let rank = (took.len() * 99).div_ceil(100).max(1);
    let found = took.get(rank - 1).copied().unwrap_or_default();
    found.as_secs_f64() * 1000.0
}

fn drifts((second, last): (Figures, Figures)) -> Vec<Drift> {
    let mut drifts = vec![
        Drift::of("memory MB", second.memory_mb, last.memory_mb),
        Drift::of("import p99 ms", second.import_p99_ms, last.import_p99_ms),
        Drift::of(
            "delivery p99 ms",
            second.delivery_p99_ms,
            last.delivery_p99_ms,
        ),
    ];
    let redis = second.redis_mb.zip(last.redis_mb);
    drifts.extend(redis.map(|(second, last)| Drift::of("Redis MB", second, last)));
    drifts
}

impl Drift {
    fn of(name: &'static str, second: f64, last: f64) -> Self {
        let more = last - second;
        let percent = if second > 0.0 {
            more / second * 100.0
        } else {
            0.0
        };
        Self {
            name,
            second,
            last,
            percent,
            is_steady: more <= NOISE || percent <= LIMIT,
        }
    }
}

/// Exact up to nine quadrillions.
#[expect(clippy::cast_precision_loss, reason = "figures to read")]
fn float(number: impl TryInto<u64>) -> f64 {
    number.try_into().unwrap_or_default() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sample a second, whose memory and orders grow by so much each.
    fn watched(memory: u64) -> Watched {
        let started = Instant::now();
        let samples = (0..60).map(|second| Sample {
            at: started + Duration::from_secs(second),
            memory: 30 * 1024 * 1024 + memory * second,
            redis: None,
            database: 1000 * second,
            orders: 10 * second,
            deliveries: 0,
        });
        let latencies = (0..600).map(|it| {
            let at = started + Duration::from_millis(100 * it);
            (at, Duration::from_millis(it % 100))
        });
        let latencies: Vec<Timed> = latencies.collect();
        Watched {
            profile: Profile::Embedded,
            rate: 10,
            started,
            length: Duration::from_mins(1),
            samples: samples.collect(),
            errors: 0,
            imports: latencies.clone(),
            deliveries: latencies,
        }
    }

    #[test]
    fn what_stays_as_it_is_is_steady_and_a_leak_is_not() {
        let steady = Steadiness::new(&watched(0));
        assert!(steady.is_steady(), "{}", steady.table());
        assert_eq!(steady.rows.len(), 10);
        let leak = Steadiness::new(&watched(100 * 1024));
        assert!(!leak.is_steady());
        assert!(leak.table().contains("DRIFTS: memory MB"));
    }

    #[test]
    fn an_error_is_not_steady() {
        let watched = Watched {
            errors: 1,
            ..watched(0)
        };
        assert!(!Steadiness::new(&watched).is_steady());
    }
}
