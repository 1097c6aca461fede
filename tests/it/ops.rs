//! The dashboard and the alert rules ask for what there is: every metric, label and value in
//! them is exported by a service that works.

use std::collections::BTreeSet;

use rstest::rstest;
use serde_json::Value;

use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::app::TestApp;
use crate::support::promql::{Expression, Selector};
use crate::support::scrape::Scrape;

const DASHBOARD: &str = include_str!("../../ops/grafana/marketplace-sync.json");
const ALERTS: &str = include_str!("../../ops/prometheus/alerts.yml");

/// Whoever scrapes adds these, and counts the scrapes.
const OF_PROMETHEUS: [&str; 2] = ["instance", "job"];
const UP: &str = "up";

/// NF-1, as Prometheus has it, and what is told of stock.
const DEMANDED: [&str; 26] = [
    "http_request_duration_seconds",
    "marketplace_request_duration_seconds",
    "sync_rows_processed_total",
    "sync_jobs_total",
    "sync_job_duration_seconds",
    "sync_lock_contention_total",
    "sync_backlog_total",
    "scheduler_pass_duration_seconds",
    "scheduler_enqueued_total",
    "callback_deliveries_total",
    "callback_outbox_rows",
    "callback_outbox_oldest_pending_seconds",
    "queue_depth",
    "stock_api_requests_total",
    "stock_batch_seconds",
    "stock_in_flight_pushes",
    "stock_items_total",
    "stock_lease_conflicts_total",
    "stock_pairs_blocked",
    "stock_push_latency_seconds",
    "stock_queue_oldest_seconds",
    "stock_queue_overdue",
    "stock_queue_pending",
    "stock_rate_limit_hits_total",
    "stock_set_accuracy_ratio",
    "stock_shortfall_units",
];

#[derive(Debug, Default)]
struct Rule {
    alert: String,
    expression: String,
    waits: Option<String>,
    severity: String,
    summary: String,
    action: String,
}

/// Reads the rules line by line: the file keeps to a form that leaves nothing open.
fn rules() -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let lines = ALERTS.lines().filter(|line| !line.starts_with('#'));
    for line in lines.filter(|line| !line.is_empty()) {
        if let Some(alert) = line.strip_prefix("      - alert: ") {
            let alert = alert.to_owned();
            rules.push(Rule {
                alert,
                ..Rule::default()
            });
            continue;
        }
        let Some(rule) = rules.last_mut() else {
            assert!(
                ["groups:", "  - name: marketplace-sync", "    rules:"].contains(&line),
                "{line}"
            );
            continue;
        };
        let (key, value) = line.split_once(':').unwrap();
        let value = value.trim_start();
        match key {
            "        expr" => plain(value).clone_into(&mut rule.expression),
            "        for" => rule.waits = Some(plain(value).to_owned()),
            "        labels" | "        annotations" => assert_eq!(value, ""),
            "          severity" => plain(value).clone_into(&mut rule.severity),
            "          summary" => quoted(value).clone_into(&mut rule.summary),
            "          action" => quoted(value).clone_into(&mut rule.action),
            _ => panic!("{line}"),
        }
    }
    rules
}

/// What YAML takes as it is.
fn plain(value: &str) -> &str {
    let is_plain = !value.contains(": ")
        && !value.contains(" #")
        && value.starts_with(|first: char| first.is_ascii_alphanumeric());
    assert!(is_plain, "{value}");
    value
}

fn quoted(value: &str) -> &str {
    let inner = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'));
    let inner = inner.unwrap_or_else(|| panic!("{value}"));
    assert!(!inner.contains(['"', '\\']), "{inner}");
    inner
}

/// The names in `{{name}}` and `{{ $labels.name }}`; values and formats are none.
fn template_labels(text: &str) -> Vec<&str> {
    let inner = text
        .split("{{")
        .skip(1)
        .filter_map(|rest| rest.split("}}").next());
    let names = inner.map(|inner| inner.trim().trim_start_matches("$labels."));
    names.filter(|name| !name.starts_with("$value")).collect()
}

/// What is wrong with an expression, and with the labels that its text names.
fn faults(expression: &str, text: &str, scrape: &Scrape) -> Vec<String> {
    let parsed = match Expression::parse(expression) {
        Ok(parsed) => parsed,
        Err(error) => return vec![format!("{expression}: {error}")],
    };
    let series = scrape.series();
    let mut faults = Vec::new();
    let mut known: BTreeSet<&str> = OF_PROMETHEUS.into();
    for Selector { metric, matchers } in &parsed.selectors {
        if metric == UP {
            continue;
        }
        let Some(labels) = series.get(metric) else {
            faults.push(format!("{expression}: nothing exports {metric}"));
            continue;
        };
        known.extend(labels.iter().map(String::as_str));
        for matcher in matchers {
            if !labels.contains(&matcher.label) {
                faults.push(format!("{expression}: {metric} has no {}", matcher.label));
            }
            let values = scrape.values_of(metric, &matcher.label);
            for value in matcher.literals() {
                if !values.contains(value) {
                    faults.push(format!("{expression}: no {metric} has {value}"));
                }
            }
        }
    }
    for label in &parsed.grouped_by {
        if !known.contains(label.as_str()) {
            faults.push(format!(
                "{expression}: grouped by {label}, which nothing has"
            ));
        }
    }
    for label in template_labels(text) {
        let is_kept =
            parsed.grouped_by.contains(label) || (!parsed.aggregates && known.contains(label));
        if !is_kept {
            faults.push(format!(
                "{expression}: {text} names {label}, which is not there"
            ));
        }
    }
    faults
}

#[rstest]
#[tokio::test]
async fn every_alert_asks_for_what_there_is(#[values(Embedded, Server)] on: Profile) {
    let scrape = TestApp::busy(on).await.scrape().await;
    let rules = rules();
    let faults: Vec<String> = rules
        .iter()
        .flat_map(|rule| faults(&rule.expression, &rule.summary, &scrape))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for rule in &rules {
        assert!(
            ["warning", "critical"].contains(&rule.severity.as_str()),
            "{rule:?}"
        );
        assert!(
            !rule.summary.is_empty() && !rule.action.is_empty(),
            "{rule:?}"
        );
        let minutes = rule
            .waits
            .as_deref()
            .map(|waits| waits.strip_suffix('m').unwrap());
        assert!(
            minutes.is_none_or(|minutes| minutes.parse::<u8>().is_ok()),
            "{rule:?}"
        );
        for name in rule.action.split('`').skip(1).step_by(2) {
            assert!(is_known(name), "{name}, of {rule:?}");
        }
    }
    let names: BTreeSet<&str> = rules.iter().map(|rule| rule.alert.as_str()).collect();
    assert_eq!(names.len(), rules.len());
}

/// NF-2: the five alerts that there must be.
#[test]
fn the_alerts_that_are_demanded_are_there() {
    let rules = rules();
    let expression = |name: &str| {
        let rule = rules.iter().find(|rule| rule.alert == name).unwrap();
        (
            rule.expression.as_str(),
            rule.waits.as_deref().unwrap_or("0m"),
        )
    };
    let demanded = [
        "DeadLetters",
        "OldestPendingEvent",
        "SyncJobsFail",
        "SchedulerStopped",
        "MarketplaceRefusesCredentials",
    ];
    let texts = demanded.map(|name| {
        let (expression, waits) = expression(name);
        format!("{name} after {waits}: {expression}")
    });
    insta::assert_snapshot!(texts.join("\n"));
}

/// A command, a route, an event of the log or a metric that a person is told to look at.
fn is_known(name: &str) -> bool {
    let readme = include_str!("../../README.md");
    let events = include_str!("snapshots/it__wire__log_events.snap");
    let metrics = include_str!("metrics/snapshots/it__metrics__listeners__metrics.snap");
    let elsewhere = ["ulimit -n", "requestId", "scheduler"];
    let route = name.strip_prefix("GET ").map(|path| format!("\"{path}\""));
    let document = include_str!("../../openapi/openapi.json");
    elsewhere.contains(&name)
        || readme.contains(name)
        || events.lines().any(|line| line == name)
        || metrics
            .lines()
            .any(|line| line.starts_with(&format!("{name} ")))
        || route.is_some_and(|route| document.contains(&route))
}

#[rstest]
#[tokio::test]
async fn every_panel_asks_for_what_there_is(#[values(Embedded, Server)] on: Profile) {
    let scrape = TestApp::busy(on).await.scrape().await;
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut faults = Vec::new();
    let mut asked = String::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(
            panel["title"]
                .as_str()
                .is_some_and(|title| !title.is_empty())
        );
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            let legend = target["legendFormat"].as_str().unwrap();
            assert_eq!(target["datasource"]["uid"], "${datasource}");
            faults.extend(self::faults(expression, legend, &scrape));
            asked.push_str(expression);
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for name in DEMANDED {
        assert!(asked.contains(name), "no panel shows {name}");
        assert!(
            scrape
                .catalogue()
                .lines()
                .any(|line| line.starts_with(&format!("{name} ")))
        );
    }
}

/// Panels lie beside and below each other, and each has an id of its own.
#[test]
fn no_panel_covers_another() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut cells = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels {
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        let (left, top) = (side("x"), side("y"));
        assert!(left + side("w") <= 24, "{}", panel["title"]);
        for column in left..left + side("w") {
            for line in top..top + side("h") {
                assert!(cells.insert((column, line)), "{}", panel["title"]);
            }
        }
        assert!(ids.insert(panel["id"].as_u64().unwrap()));
    }
}

/// The check finds what it is for.
#[rstest]
#[case("sum(rate(no_such_total[5m]))", "", "nothing exports")]
#[case(
    "sum(rate(sync_jobs_total{outcom=\"failed\"}[5m]))",
    "",
    "has no outcom"
)]
#[case("sum(rate(sync_jobs_total{outcome=\"fialed\"}[5m]))", "", "has fialed")]
#[case("callback_outbox_rows{status=~\"pending|faild\"}", "", "has faild")]
#[case("sum by (queue) (sync_jobs_total)", "", "grouped by queue")]
#[case("sum(sync_jobs_total)", "{{outcome}}", "is not there")]
#[case("sum(rate(sync_jobs_total[5m])", "", "is not closed")]
#[case("summ(sync_jobs_total)", "", "no function")]
#[case("rate(sync_jobs_total)", "", "a range")]
#[tokio::test]
async fn what_is_not_there_is_found(
    #[case] expression: &str,
    #[case] text: &str,
    #[case] fault: &str,
) {
    let scrape = TestApp::busy(Embedded).await.scrape().await;
    let faults = faults(expression, text, &scrape).join("\n");
    assert!(faults.contains(fault), "{faults}");
}
