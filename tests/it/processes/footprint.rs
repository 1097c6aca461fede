//! What a process costs; printed, because a test on a busy machine is no measurement.

use std::time::Duration;

use rstest::rstest;
use tokio::time::{Instant, sleep};

use super::Installation;
use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::process::footprint;

/// It is ready when it says so: the first request after that line is answered.
#[rstest]
#[tokio::test]
async fn a_process_that_says_it_is_ready_is(#[values(Embedded, Server)] on: Profile) {
    let installation = Installation::new(on, &[("SYNC_CRON", "*/30 * * * * *")]).await;
    let started = Instant::now();
    let process = installation.start_all().await;
    let ready = started.elapsed();
    let address = process.address("public").await;
    for path in ["live", "ready"] {
        let url = format!("http://{address}/health/{path}");
        assert_eq!(
            installation.http().get(url).send().await.unwrap().status(),
            200,
            "{path}"
        );
    }
    let (_, before) = footprint(&process);
    // Long enough to see what an idle process does.
    sleep(Duration::from_secs(3)).await;
    let (megabytes, after) = footprint(&process);
    let idle = after.checked_sub(before).unwrap();
    println!(
        "{on:?}: ready after {ready:?}, {megabytes:.0} MB, {idle:?} of processor time in 3 s idle"
    );
}
