//! Figures over several rounds: each round for itself, their median and spread, and all together.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::Profile;
use crate::cli::output::table;

/// What was measured, and how.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    bench: &'static str,
    profile: Profile,
    version: &'static str,
    processors: usize,
    setup: Value,
    series: Vec<Series>,
    /// How much the second series is above the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<Ratio>,
}

/// The same thing, measured in several rounds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Series {
    name: &'static str,
    rounds: Vec<Latencies>,
    p50_ms: Spread,
    p99_ms: Spread,
    together: Latencies,
}

/// How latencies are distributed.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Latencies {
    samples: usize,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

/// Of a figure over the rounds.
#[derive(Clone, Copy, Debug, Serialize)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Ratio {
    p50: Spread,
    p99: Spread,
}

impl Report {
    /// A report of rounds: for each series its name and the latencies of each round.
    pub(super) fn new(
        bench: &'static str,
        profile: Profile,
        setup: Value,
        measured: Vec<(&'static str, Vec<Vec<Duration>>)>,
    ) -> Self {
        let series: Vec<Series> = measured
            .into_iter()
            .map(|(name, rounds)| Series::new(name, &rounds))
            .collect();
        Self {
            bench,
            profile,
            version: env!("CARGO_PKG_VERSION"),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            setup,
            series,
            ratio: None,
        }
    }

    /// Also tells the ratio of the second series to the first, round by round.
    pub(super) fn with_ratio(mut self) -> Self {
        if let [base, other] = &self.series[..] {
            let ratio = |figure: fn(&Latencies) -> f64| {
                let rounds = other.rounds.iter().zip(&base.rounds);
                Spread::of(rounds.map(|(other, base)| figure(other) / figure(base)))
            };
            self.ratio = Some(Ratio {
                p50: ratio(|it| it.p50_ms),
                p99: ratio(|it| it.p99_ms),
            });
        }
        self
    }

    /// For programs.
    pub(super) fn json(&self) -> String {
        json!(self).to_string()
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let head = [
            "milliseconds",
            "round",
            "samples",
            "p50",
            "p90",
            "p99",
            "max",
        ];
        let mut rows = vec![head.map(str::to_owned)];
        for series in &self.series {
            let rounds = series.rounds.iter().enumerate();
            let rounds = rounds.map(|(index, round)| ((index + 1).to_string(), round));
            for (round, it) in rounds.chain([("all".to_owned(), &series.together)]) {
                let figures = [it.p50_ms, it.p90_ms, it.p99_ms, it.max_ms];
                let [p50, p90, p99, max] = figures.map(|figure| format!("{figure:.1}"));
                let samples = it.samples.to_string();
                rows.push([series.name.to_owned(), round, samples, p50, p90, p99, max]);
            }
        }
        let mut lines = vec![
            format!(
                "{} on {} processors, {:?}\n",
                self.bench, self.processors, self.profile
            ),
            table(&rows),
            String::new(),
        ];
        lines.extend(self.series.iter().map(|series| {
            let Spread {
                median,
                least,
                most,
            } = series.p99_ms;
            let name = series.name;
            format!("p99 {name}: median {median:.1} ms, from {least:.1} to {most:.1}")
        }));
        lines.extend(self.ratio.map(|Ratio { p50, p99 }| {
            format!(
                "p50 × {:.2}, p99 × {:.2} (median of the rounds; p99 from {:.2} to {:.2})",
                p50.median, p99.median, p99.least, p99.most
            )
        }));
        lines.join("\n")
    }
}

impl Series {
    fn new(name: &'static str, rounds: &[Vec<Duration>]) -> Self {
        let each: Vec<Latencies> = rounds.iter().cloned().map(Latencies::of).collect();
        Self {
            name,
            p50_ms: Spread::of(each.iter().map(|it| it.p50_ms)),
            p99_ms: Spread::of(each.iter().map(|it| it.p99_ms)),
            together: Latencies::of(rounds.concat()),
            rounds: each,
        }
    }
}

impl Latencies {
    fn of(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        // The smallest value that so many of a hundred do not exceed.
        let percentile = |hundredths: usize| {
            let rank = (samples.len() * hundredths).div_ceil(100).max(1);
            samples.get(rank - 1).map_or(0.0, milliseconds)
        };
        Self {
            samples: samples.len(),
            p50_ms: percentile(50),
            p90_ms: percentile(90),
            p99_ms: percentile(99),
            max_ms: percentile(100),
        }
    }
}

impl Spread {
    fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_unstable_by(f64::total_cmp);
        let at = |index: usize| figures.get(index).copied().unwrap_or_default();
        let last = figures.len().saturating_sub(1);
        Self {
            median: f64::midpoint(at(last / 2), at(last.div_ceil(2))),
            least: at(0),
            most: at(last),
        }
    }
}

/// To the microsecond.
fn milliseconds(duration: &Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(numbers: impl Iterator<Item = u64>) -> Vec<Duration> {
        numbers.map(Duration::from_millis).collect()
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let it = Latencies::of(latencies((1..=200).rev()));
        let figures = [it.p50_ms, it.p90_ms, it.p99_ms, it.max_ms];
        insta::assert_compact_debug_snapshot!(figures, @"[100.0, 180.0, 198.0, 200.0]");
        assert_eq!(
            Latencies::of(latencies(7..=7)).p99_ms.to_bits(),
            7.0_f64.to_bits()
        );
        assert_eq!(Latencies::of(Vec::new()).samples, 0);
    }

    #[test]
    fn a_report_has_the_median_and_the_spread_of_its_rounds() {
        let rounds = [10, 30, 20].map(|last| latencies(1..=last));
        let slower = [20, 60, 60].map(|last| latencies(1..=last));
        let measured = vec![("base", rounds.to_vec()), ("other", slower.to_vec())];
        let report = Report::new("test", Profile::Embedded, json!({}), measured).with_ratio();
        let json: Value = serde_json::from_str(&report.json()).unwrap();
        insta::assert_compact_json_snapshot!(json["series"][0]["p99Ms"], @r#"{"least": 10.0, "median": 20.0, "most": 30.0}"#);
        insta::assert_compact_json_snapshot!(json["ratio"]["p99"], @r#"{"least": 2.0, "median": 2.0, "most": 3.0}"#);
        assert_eq!(json["series"][1]["together"]["samples"], 140);
        assert!(report.table().contains("p99 × 2.00"));
    }
}
