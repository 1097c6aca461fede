//! `bench`: what is measured is done.

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::database::TestDatabase;
use crate::support::process::{environment, run};
use crate::support::queues::shared_redis;

/// Few of everything: every quantity is told once, an order by a request, many changes as one, and
/// what has not changed not at all.
#[rstest]
#[tokio::test]
async fn stock_is_measured_while_it_is_told(#[values(Embedded, Server)] on: Profile) {
    let database = TestDatabase::create_empty(on).await;
    let settings = environment(&[
        ("DATABASE_URL", database.url()),
        ("REDIS_URL", &shared_redis()),
    ]);
    let profile = match on {
        Embedded => "embedded",
        Server => "server",
    };
    let sizes = "--pairs 600 --stores 2 --rounds 1 --seconds 1 --clients 4 --orders 3";
    let mut arguments = vec!["bench", "stock", "--profile", profile];
    arguments.extend(sizes.split(' '));
    let exit = run(&arguments, &settings).await;
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let read = |line: &String| serde_json::from_str::<Value>(line).unwrap();
    let reports: Vec<Value> = exit.stdout.iter().map(read).collect();
    let names: Vec<&str> = reports
        .iter()
        .filter_map(|report| report["bench"].as_str())
        .collect();
    let expected = [
        "stock-enqueue",
        "stock-lookups",
        "stock-reserve",
        "stock-trigger",
        "stock-drain",
    ];
    assert_eq!(names, expected);
    let counts = |report: usize| &reports[report]["counts"];
    let done =
        |report: usize, series: usize| &reports[report]["series"][series]["rounds"][0]["done"];
    assert_eq!((done(0, 0), done(1, 0)), (&json!(300), &json!(20)));
    assert!(done(2, 0).as_u64() > Some(4), "{exit:#?}");
    assert_eq!(counts(2)["deadlocks"], 0);
    assert_eq!(*done(3, 0), 3);
    assert_eq!(
        *counts(3),
        json!({ "changesOfOneProduct": 100, "itemsToldForThem": 1 })
    );
    let drained = counts(4);
    assert_eq!(
        (&drained["requests"], &drained["itemsInThem"]),
        (&json!(2), &json!(600))
    );
    assert_eq!(drained["requestsForUnchangedRows"], 0);
    let batch = &drained["ofABatchByItsItems"];
    let statements = |items: &str| batch[items]["statements"].as_u64().unwrap();
    if on == Server {
        assert_eq!(statements("10"), statements("100"));
        assert!((1..=10).contains(&statements("100")), "{batch}");
    }
}
