//! More stores due at once than any queue should hold.

use std::time::Duration;

use super::Installation;
use crate::support::app::Profile::Server;

/// Only what the test waits for: logs are a good part of what a run costs.
const FEW_LOGS: &str =
    "warn,marketplace_sync::service=info,marketplace_sync::marketplace::schedule=info";

/// The queue holds 2,000 jobs and the rest waits as rows; apalis-redis by itself would stop for
/// good at 8,000.
#[tokio::test(flavor = "multi_thread")]
async fn of_nine_thousand_due_stores_nobody_is_forgotten() {
    let settings = [("SYNC_CONCURRENCY", "16"), ("RUST_LOG", FEW_LOGS)];
    let installation = Installation::new(Server, &settings).await;
    installation.insert(9_000, 1).await;
    let fleet = installation.start_fleet().await;
    // Each thousand by itself: all of them take as long as the machine needs.
    for left in (0..9).rev().map(|thousands| thousands * 1_000) {
        let took = installation
            .wait_until_left(left, Duration::from_secs(30))
            .await;
        println!("{left} stores are left, after {took:?}");
    }
    let passes = fleet[0].wait_for_event("scheduler_run").await;
    assert_eq!(
        passes["isCutShort"], true,
        "the first pass met a full queue"
    );
    let calls = installation.assert_all_synced(9_000, 1).await;
    assert!(
        calls.values().all(|times| *times == 1),
        "asked more than once"
    );
}
