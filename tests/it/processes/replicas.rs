//! Several processes on the same data.

use std::time::Duration;

use rstest::rstest;

use super::Installation;
use crate::support::app::Profile::{self, Embedded, Server};

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
