//! Metrics as Prometheus reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use marketplace_sync::metrics::{Metrics, Pace};
use marketplace_sync::schedule::claim_tick;
use poem::Response;
use poem::http::StatusCode;

use super::app::{Profile, TestApp};
use crate::stock::shop::Shops;

/// One scrape.
#[derive(Clone, Debug)]
pub(crate) struct Scrape {
    pub(crate) text: String,
    samples: Vec<Sample>,
    types: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Scrape {
    /// Reads the text format, strictly: every sample belongs to the family before it.
    pub(crate) fn parse(text: &str) -> Self {
        let mut types = BTreeMap::new();
        let mut samples = Vec::new();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(declared) = line.strip_prefix("# TYPE ") {
                let (name, kind) = declared.split_once(' ').unwrap();
                name.clone_into(&mut family);
                let former = types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(former, None, "{name} is there twice");
            } else if !line.starts_with("# HELP ") {
                let sample = parse_sample(line);
                assert!(
                    sample.name.starts_with(&family),
                    "{line} is not of {family}"
                );
                samples.push(sample);
            }
        }
        let text = text.to_owned();
        Self {
            text,
            samples,
            types,
        }
    }

    /// The value of a sample that must be there, with these labels and no others.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels)
            .unwrap_or_else(|| panic!("no {name}{labels:?} in\n{}", self.text))
    }

    /// The same, of what is counted in whole numbers.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a test counts to a thousand"
    )]
    pub(crate) fn count(&self, name: &str, labels: &[(&str, &str)]) -> i64 {
        self.value(name, labels).round() as i64
    }

    /// The same, if it is there.
    pub(crate) fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let is_it = |sample: &&Sample| {
            sample.name == name
                && sample.labels.len() == labels.len()
                && labels
                    .iter()
                    .all(|(key, value)| sample.labels.get(*key).is_some_and(|it| it == value))
        };
        let found = self.samples.iter().find(is_it);
        found.map(|sample| sample.value)
    }

    /// Every sample's name with the names of its labels; those of buckets without `le`.
    pub(crate) fn series(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut series: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for sample in &self.samples {
            let labels = series.entry(sample.name.clone()).or_default();
            labels.extend(sample.labels.keys().cloned());
        }
        series
    }

    /// The values of a label of a series.
    pub(crate) fn values_of(&self, name: &str, label: &str) -> BTreeSet<&str> {
        let of_series = self.samples.iter().filter(|sample| sample.name == name);
        let values = of_series.filter_map(|sample| sample.labels.get(label));
        values.map(String::as_str).collect()
    }

    /// Name, type and labels of each family, a line each.
    pub(crate) fn catalogue(&self) -> String {
        let series = self.series();
        let line = |(name, kind): (&String, &String)| {
            let samples = [name.clone(), format!("{name}_bucket")];
            let labels: BTreeSet<&str> = samples
                .iter()
                .filter_map(|name| series.get(name))
                .flatten()
                .map(String::as_str)
                .filter(|label| *label != "le")
                .collect();
            let labels = labels.into_iter().collect::<Vec<_>>().join(",");
            format!("{name} {kind} {{{labels}}}")
        };
        self.types.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

fn parse_sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let labels = labels.trim_end_matches('}');
    let pairs = labels.split("\",").filter(|pair| !pair.is_empty());
    let labels = pairs.map(|pair| {
        let (key, value) = pair.split_once("=\"").unwrap();
        (key.to_owned(), value.trim_end_matches('"').to_owned())
    });
    Sample {
        name: name.to_owned(),
        labels: labels.collect(),
        value: value.parse().unwrap(),
    }
}

/// Whoever asks is told how it is now.
pub(crate) const ALWAYS: Pace = Pace {
    often: Duration::ZERO,
    seldom: Duration::ZERO,
};

impl TestApp {
    /// An app whose metrics are never older than the scrape.
    pub(crate) async fn watched(on: Profile, settings: &[(&str, &str)]) -> Self {
        Self::build(on, settings, |app| app.metrics = Metrics::new(ALWAYS)).await
    }

    /// One that has done something of everything.
    pub(crate) async fn busy(on: Profile) -> Self {
        let shops = Shops::watched(on).await;
        shops.keep_busy().await;
        let app = shops.app;
        let store = app.register("shop").await;
        app.import(store, "order-1").await;
        // Nobody listens there.
        let target = "http://127.0.0.1:9/hook";
        let endpoint = app.subscribe("sync.started", target).await;
        app.insert_row(store, "r1", "failed", 60).await;
        app.run(store).await.unwrap();
        app.run_jobs().await;
        assert!(app.endpoint(endpoint).await.consecutive_failures > 0);
        for schedule in jobs::schedule::SCHEDULES {
            let now = app.clock.now();
            let claimed = claim_tick(&app.app.db, schedule.name, now, now).await;
            assert!(claimed.unwrap());
        }
        app
    }

    /// One scrape.
    pub(crate) async fn scrape(&self) -> Scrape {
        use poem::{Endpoint, IntoEndpoint, Request};
        let endpoint = marketplace_sync::metrics::endpoint(&self.app).into_endpoint();
        let response: Response = endpoint.get_response(Request::default()).await;
        assert_eq!(response.status(), StatusCode::OK);
        Scrape::parse(&response.into_body().into_string().await.unwrap())
    }
}
