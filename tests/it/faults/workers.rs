//! Workers that die, and workers that sleep.

use std::time::Duration;

use tokio::time::sleep;

use super::site::Site;
use crate::support::app::Profile::{self, Embedded, Server};

/// Longer than the lease of a store (20 s) and of a delivery (12 s).
const PAST_THE_LEASE: Duration = Duration::from_secs(24);

/// `kill -9`; whoever looks after processes starts it again a while later.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_takes_nothing_with_it() {
    tokio::join!(kill(Embedded), kill(Server));
}

async fn kill(on: Profile) {
    let mut site = Site::open(on).await;
    site.endure("kill -9", async |site: &mut Site| {
        site.kill_last().await;
        sleep(Duration::from_secs(5)).await;
        site.start_last(&[]).await;
    })
    .await;
    let tally = site.close("kill -9").await;
    assert_eq!(tally.asked_by_two, 0, "{tally:?}");
}

/// A process that was stopped (a virtual machine that was moved, a debugger) believes that it
/// has leases that are somebody else's by now: it may write nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_slept_past_its_leases_writes_nothing() {
    tokio::join!(sleep_past(Embedded), sleep_past(Server));
}

async fn sleep_past(on: Profile) {
    let mut site = Site::open(on).await;
    site.endure("SIGSTOP", async |site: &mut Site| {
        site.last().signal("STOP");
        sleep(PAST_THE_LEASE).await;
        site.last().signal("CONT");
    })
    .await;
    site.close("SIGSTOP").await;
}
