//! Several processes on the same data.

use std::time::Duration;

use jobs::{StoreId, SyncStore};
use rstest::rstest;

use super::Installation;
use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::app::on;

#[rstest]
#[case(Embedded, 50)]
#[case(Server, 200)]
#[tokio::test(flavor = "multi_thread")]
async fn every_due_row_is_asked_about_exactly_once(#[case] on: Profile, #[case] stores: u32) {
    let installation = Installation::new(on, &[]).await;
    installation.insert(stores, 50).await;
    let fleet = installation.start_fleet().await;
    let took = installation.wait_until_synced(Duration::from_mins(1)).await;
    println!("{on:?}: {stores} stores with 50 rows each took {took:?}");
    let calls = installation.assert_all_synced(stores, 50).await;
    assert!(
        calls.values().all(|times| *times == 1),
        "asked more than once"
    );
    let first_worker = usize::from(fleet.len() > 1);
    for worker in &fleet[first_worker..] {
        worker.wait_for_event("job_completed").await;
    }
}

/// However often a store is in the queue, one run at a time has it.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_waits_five_times_is_run_once_at_a_time(
    #[values(Embedded, Server)] on: Profile,
) {
    let installation = Installation::new(on, &[]).await;
    installation.insert(4, 50).await;
    installation.marketplace.delay(Duration::from_millis(50));
    let ids: Vec<StoreId> = on!(&installation.db, pool => {
        sqlx::query_scalar("SELECT id FROM stores").fetch_all(pool).await.unwrap()
    });
    let jobs: Vec<SyncStore> = ids.iter().map(|id| SyncStore { store_id: *id }).collect();
    installation
        .queue()
        .await
        .push(&jobs.repeat(5))
        .await
        .unwrap();
    let fleet = installation.start_fleet().await;
    installation.wait_until_synced(Duration::from_mins(1)).await;
    let calls = installation.assert_all_synced(4, 50).await;
    assert!(
        calls.values().all(|times| *times == 1),
        "asked more than once"
    );
    let met = fleet
        .iter()
        .map(|process| process.events("already_running").len());
    assert!(met.sum::<usize>() > 0, "no job met a run");
}
