//! Figures over several rounds: each round for itself, their median and spread, and all together;
//! and what the processes cost meanwhile.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Profile;
use super::usage::Process;
use crate::cli::output::table;

/// What was measured, and how.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    bench: &'static str,
    profile: Profile,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    processors: usize,
    setup: Value,
    series: Vec<Series>,
    /// What was counted beside, by name.
    #[serde(skip_serializing_if = "Map::is_empty")]
    counts: Map<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    processes: Vec<Process>,
    /// How much the second series is above the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<Ratio>,
}

/// What was done in one round.
#[derive(Clone, Debug, Default)]
pub(super) struct Round {
    /// How many things were done.
    pub(super) done: usize,
    /// In this time, if there was nothing to wait for but them.
    pub(super) took: Option<Duration>,
    /// How long each of them, or of those that were looked at, took.
    pub(super) latencies: Vec<Duration>,
}

impl From<Vec<Duration>> for Round {
    /// Of things that came at a pace of their own.
    fn from(latencies: Vec<Duration>) -> Self {
        Self {
            done: latencies.len(),
            took: None,
            latencies,
        }
    }
}

impl Round {
    /// How many a second, if that was measured.
    pub(super) fn whole_per_second(&self) -> Option<u32> {
        let took = self.took?.as_millis().max(1);
        u32::try_from(self.done as u128 * 1000 / took).ok()
    }

    fn per_second(&self) -> Option<f64> {
        let seconds = self.took?.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let done = self.done as f64;
        (seconds > 0.0).then(|| (done / seconds).round())
    }
}

/// The same thing, measured in several rounds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Series {
    name: &'static str,
    rounds: Vec<Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_second: Option<Spread>,
    p50_ms: Spread,
    p99_ms: Spread,
    together: Latencies,
}

/// What a round came to.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    done: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_second: Option<f64>,
    #[serde(flatten)]
    latencies: Latencies,
}

/// How latencies are distributed.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Latencies {
    samples: usize,
    p50_ms: f64,
    p90_ms: f64,
    p95_ms: f64,
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
    /// A report of rounds: for each series its name and its rounds.
    pub(super) fn new(
        bench: &'static str,
        profile: Profile,
        setup: Value,
        measured: Vec<(&'static str, Vec<Round>)>,
    ) -> Self {
        let series: Vec<Series> = measured
            .into_iter()
            .map(|(name, rounds)| Series::new(name, &rounds))
            .collect();
        Self {
            bench,
            profile,
            version: env!("CARGO_PKG_VERSION"),
            commit: commit(),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            setup,
            series,
            counts: Map::new(),
            processes: Vec::new(),
            ratio: None,
        }
    }

    /// Also tells what was counted.
    pub(super) fn with_counts<const N: usize>(mut self, counts: [(&str, Value); N]) -> Self {
        let counts = counts.map(|(name, count)| (name.to_owned(), count));
        self.counts.extend(counts);
        self
    }

    /// Also tells what the processes cost.
    pub(super) fn with_processes(mut self, processes: Vec<Process>) -> Self {
        self.processes = processes;
        self
    }

    /// Also tells the ratio of the second series to the first, round by round.
    pub(super) fn with_ratio(mut self) -> Self {
        if let [base, other] = &self.series[..] {
            let ratio = |figure: fn(&Latencies) -> f64| {
                let rounds = other.rounds.iter().zip(&base.rounds);
                Spread::of(
                    rounds.map(|(other, base)| figure(&other.latencies) / figure(&base.latencies)),
                )
            };
            self.ratio = Some(Ratio {
                p50: ratio(|it| it.p50_ms),
                p99: ratio(|it| it.p99_ms),
            });
        }
        self
    }

    /// How much another report of the same measurement differs, a line a series.
    pub(super) fn compared_with(&self, other: &Self) -> String {
        let pairs = self.series.iter().zip(&other.series);
        let lines = pairs.filter_map(|(own, other)| {
            let ratio = other.per_second?.median / own.per_second?.median;
            Some(format!("{} {}: × {ratio:.2}", self.bench, own.name))
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// For programs.
    pub(super) fn json(&self) -> String {
        json!(self).to_string()
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let head = [
            "", "round", "done", "a second", "p50 ms", "p90", "p95", "p99", "max",
        ];
        let mut rows = vec![head.map(str::to_owned)];
        for series in &self.series {
            let each = series.rounds.iter().enumerate();
            let each = each.map(|(index, it)| {
                let pace = it.per_second.map(|pace| format!("{pace:.0}"));
                let pace = pace.unwrap_or_default();
                row(
                    series.name,
                    (index + 1).to_string(),
                    it.done,
                    pace,
                    &it.latencies,
                )
            });
            rows.extend(each);
            let all = series.rounds.iter().map(|it| it.done).sum();
            let together = &series.together;
            rows.push(row(
                series.name,
                "all".to_owned(),
                all,
                String::new(),
                together,
            ));
        }
        let mut lines = vec![
            format!(
                "{} on {} processors, {:?}\n",
                self.bench, self.processors, self.profile
            ),
            table(&rows),
            String::new(),
        ];
        lines.extend(self.series.iter().flat_map(Series::summary));
        lines.extend(self.ratio.map(|Ratio { p50, p99 }| {
            format!(
                "p50 × {:.2}, p99 × {:.2} (median of the rounds; p99 from {:.2} to {:.2})",
                p50.median, p99.median, p99.least, p99.most
            )
        }));
        let counts = self.counts.iter();
        lines.extend(counts.map(|(name, count)| format!("{name}: {count}")));
        lines.extend(self.processes.iter().map(ToString::to_string));
        lines.join("\n")
    }
}

fn row(name: &str, round: String, done: usize, pace: String, latencies: &Latencies) -> [String; 9] {
    let it = latencies;
    let figures = [it.p50_ms, it.p90_ms, it.p95_ms, it.p99_ms, it.max_ms];
    let [p50, p90, p95, p99, max] = figures.map(|figure| match it.samples {
        0 => String::new(),
        _ => format!("{figure:.1}"),
    });
    [
        name.to_owned(),
        round,
        done.to_string(),
        pace,
        p50,
        p90,
        p95,
        p99,
        max,
    ]
}

/// What was built, when this runs in a clone of the repository.
fn commit() -> Option<String> {
    let folder = std::env::current_exe().ok()?;
    let git = std::process::Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=12"])
        .current_dir(folder.parent()?)
        .output()
        .ok()?;
    let commit = String::from_utf8(git.stdout).ok()?;
    (git.status.success()).then(|| commit.trim().to_owned())
}

impl Series {
    /// Its medians, for people.
    fn summary(&self) -> Vec<String> {
        let name = self.name;
        let pace = self.per_second.map(|it| {
            format!(
                "{name}: median {:.0} a second, from {:.0} to {:.0}",
                it.median, it.least, it.most
            )
        });
        let p99 = self.p99_ms;
        let p99 = (self.together.samples > 0).then(|| {
            format!(
                "p99 {name}: median {:.1} ms, from {:.1} to {:.1}",
                p99.median, p99.least, p99.most
            )
        });
        pace.into_iter().chain(p99).collect()
    }

    fn new(name: &'static str, rounds: &[Round]) -> Self {
        let each = rounds.iter().map(|round| Figures {
            done: round.done,
            per_second: round.per_second(),
            latencies: Latencies::of(round.latencies.clone()),
        });
        let each: Vec<Figures> = each.collect();
        let paces: Vec<f64> = each.iter().filter_map(|it| it.per_second).collect();
        let together = rounds.iter().flat_map(|round| round.latencies.clone());
        Self {
            name,
            per_second: (!paces.is_empty()).then(|| Spread::of(paces.into_iter())),
            p50_ms: Spread::of(each.iter().map(|it| it.latencies.p50_ms)),
            p99_ms: Spread::of(each.iter().map(|it| it.latencies.p99_ms)),
            together: Latencies::of(together.collect()),
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
            p95_ms: percentile(95),
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
    fn a_report_tells_what_was_counted() {
        let measured = vec![("base", vec![Round::from(latencies(1..=2))])];
        let report = Report::new("test", Profile::Embedded, json!({}), measured);
        let json: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json.get("counts"), None);
        let report = report.with_counts([("requests", json!(3))]);
        assert!(report.json().contains(r#""counts":{"requests":3}"#));
        assert!(report.table().contains("\nrequests: 3"));
    }

    #[test]
    fn a_report_has_the_median_and_the_spread_of_its_rounds() {
        let rounds = [10, 30, 20].map(|last| Round {
            took: Some(Duration::from_secs(2)),
            ..Round::from(latencies(1..=last))
        });
        let slower = [20, 60, 60].map(|last| latencies(1..=last).into());
        let measured = vec![("base", rounds.to_vec()), ("other", slower.to_vec())];
        let report = Report::new("test", Profile::Embedded, json!({}), measured).with_ratio();
        let json: Value = serde_json::from_str(&report.json()).unwrap();
        insta::assert_compact_json_snapshot!(json["series"][0]["p99Ms"], @r#"{"least": 10.0, "median": 20.0, "most": 30.0}"#);
        insta::assert_compact_json_snapshot!(json["series"][0]["perSecond"], @r#"{"least": 5.0, "median": 10.0, "most": 15.0}"#);
        assert_eq!(json["series"][1].get("perSecond"), None);
        insta::assert_compact_json_snapshot!(json["ratio"]["p99"], @r#"{"least": 2.0, "median": 2.0, "most": 3.0}"#);
        assert_eq!(json["series"][1]["together"]["samples"], 140);
        assert!(report.table().contains("p99 × 2.00"));
    }
}
