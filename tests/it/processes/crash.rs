//! `kill -9` in the middle of work.

use std::time::Duration;

use tokio::time::Instant;

use super::Installation;
use crate::support::app::Profile::{self, Embedded, Server};

const STORES: u32 = 30;
const ROWS: u32 = 40;
/// What an operator may count on.
const PICKED_UP_WITHIN: Duration = Duration::from_mins(1);

/// A worker dies (the whole process on the embedded profile) and is started again. Its work is
/// free after its leases, and only what was in flight is asked about twice.
#[tokio::test(flavor = "multi_thread")]
async fn the_work_of_a_killed_process_is_picked_up() {
    // Most of it is waiting for leases to end, so both profiles wait at the same time.
    tokio::join!(kill_and_restart(Embedded), kill_and_restart(Server));
}

async fn kill_and_restart(on: Profile) {
    // A chunk is written at once, so this is what a crash can cost.
    let settings = [("SYNC_CHUNK_SIZE", "10"), ("SYNC_CONCURRENCY", "4")];
    let installation = Installation::new(on, &settings).await;
    installation.insert(STORES, ROWS).await;
    installation.marketplace.delay(Duration::from_millis(20));
    let mut fleet = installation.start_fleet().await;
    installation.marketplace.called(300).await;
    let victim = fleet.pop().unwrap();
    let roles = if fleet.is_empty() {
        "api,worker,scheduler"
    } else {
        "worker"
    };
    let exit = victim.kill().await;
    assert_eq!(exit.code, None, "a signal ended it");
    let killed = Instant::now();
    let leases = installation
        .count("SELECT COUNT(*) FROM stores WHERE lease_token IS NOT NULL")
        .await;
    assert!(leases > 0, "it was killed in the middle");
    let _next = installation.start(roles, "next").await;

    installation.wait_until_synced(PICKED_UP_WITHIN).await;
    let last_call = installation.marketplace.last_call().unwrap() - killed;
    println!("{on:?}: the last row of the dead process was asked about {last_call:?} later");
    let calls = installation.assert_all_synced(STORES, ROWS).await;
    let repeated = calls.values().filter(|times| **times > 1).count();
    assert!(repeated <= 4 * 10, "{repeated} rows were asked about again");
    assert!(calls.values().all(|times| *times <= 2));
}
