//! Two reports side by side.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde::Deserialize;

use crate::cli::output::table;

/// How much faster the second of two reports is, figure by figure.
#[derive(Clone, Debug, Args)]
pub(super) struct Compare {
    /// What it is compared with: what `bench` printed, a line a report.
    before: PathBuf,
    /// What is compared.
    after: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    bench: String,
    profile: String,
    series: Vec<Series>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Series {
    name: String,
    per_second: Option<Spread>,
    p99_ms: Spread,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

/// A median with its spread over the rounds.
type Figures = BTreeMap<(String, &'static str), Spread>;

impl Compare {
    /// A table of the figures that both have.
    pub(super) fn table(&self) -> Result<String> {
        let (before, after) = (read(&self.before)?, read(&self.after)?);
        let head = ["", "figure", "before", "after", "ratio"];
        let mut rows = vec![head.map(str::to_owned)];
        for ((name, figure), before) in before {
            let Some(after) = after.get(&(name.clone(), figure)) else {
                continue;
            };
            let ratio = format!("× {:.2}", after.median / before.median);
            rows.push([name, figure.to_owned(), text(before), text(*after), ratio]);
        }
        Ok(table(&rows))
    }
}

fn text(it: Spread) -> String {
    format!("{:.1} ({:.1} to {:.1})", it.median, it.least, it.most)
}

fn read(path: &Path) -> Result<Figures> {
    let name = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    figures(&text).with_context(|| format!("{name} is not what `bench` prints"))
}

fn figures(text: &str) -> Result<Figures> {
    let mut figures = Figures::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let report: Report = serde_json::from_str(line)?;
        for series in report.series {
            let name = format!("{} {}, {}", report.profile, report.bench, series.name);
            if let Some(per_second) = series.per_second {
                figures.insert((name.clone(), "a second"), per_second);
            }
            if series.p99_ms.most > 0.0 {
                figures.insert((name, "p99 ms"), series.p99_ms);
            }
        }
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(median: f64) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let spread = format!(r#"{{"median":{median},"least":1,"most":9}}"#);
        let series = format!(r#"{{"name":"orders","perSecond":{spread},"p99Ms":{spread}}}"#);
        writeln!(
            file,
            r#"{{"bench":"import","profile":"server","series":[{series}]}}"#
        )
        .unwrap();
        file
    }

    #[test]
    fn figures_that_both_have_are_compared() {
        let (before, after) = (file(2.0), file(5.0));
        let compare = Compare {
            before: before.path().to_owned(),
            after: after.path().to_owned(),
        };
        let table = compare.table().unwrap();
        assert_eq!(table.matches("× 2.50").count(), 2, "{table}");
        assert!(figures("{}").is_err());
        assert!(figures("").unwrap().is_empty());
    }
}
