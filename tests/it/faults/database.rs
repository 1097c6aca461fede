//! A PostgreSQL that cannot be reached, answers late or never, or goes down in the middle.

use std::time::Duration;

use rstest::rstest;
use tokio::time::sleep;

use super::site::Site;
use crate::support::app::Profile::Server;
use crate::support::faulty_line::FaultyLine;

/// How a line is broken for a while.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// Connections are refused.
    Cut,
    /// Nothing gets through, until it does.
    Stall,
    /// Everything takes longer.
    Slow,
    /// Connections break again and again.
    Resets,
    /// What was open is dead, and nobody is told.
    Freeze,
}

async fn trouble(kind: Trouble, lines: [&FaultyLine; 2]) {
    if matches!(kind, Trouble::Resets) {
        for _ in 0..10 {
            for line in lines {
                line.reset();
            }
            sleep(Duration::from_millis(300)).await;
        }
        return;
    }
    for line in lines {
        match kind {
            Trouble::Cut => line.cut(),
            Trouble::Stall => line.stall(),
            Trouble::Freeze => line.freeze(),
            Trouble::Slow | Trouble::Resets => line.slow_down(Duration::from_millis(30)),
        }
    }
    if matches!(kind, Trouble::Freeze) {
        return;
    }
    sleep(Duration::from_secs(7)).await;
    for line in lines {
        line.mend();
    }
}

#[rstest]
#[case::cut(Trouble::Cut)]
#[case::stall(Trouble::Stall)]
#[case::slow(Trouble::Slow)]
#[case::resets(Trouble::Resets)]
#[case::freeze(Trouble::Freeze)]
#[tokio::test(flavor = "multi_thread")]
async fn a_line_to_postgres_in_trouble_loses_nothing(#[case] kind: Trouble) {
    let name = format!("PostgreSQL, {kind:?}");
    let mut site = Site::open(Server).await;
    site.endure(&name, async |site: &mut Site| {
        trouble(kind, [site.database(), site.last_database()]).await;
    })
    .await;
    site.close(&name).await;
}

/// One worker does not see the database for longer than its leases last, while the others go on:
/// it must stop by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_lost_sight_of_postgres_writes_nothing() {
    let mut site = Site::open(Server).await;
    site.endure("one worker without PostgreSQL", async |site: &mut Site| {
        site.last_database().stall();
        sleep(Duration::from_secs(24)).await;
        site.last_database().mend();
    })
    .await;
    let tally = site.close("one worker without PostgreSQL").await;
    assert_eq!(tally.asked_by_two, 0, "{tally:?}");
}

/// `pg_ctl stop -m immediate`: every connection is gone, and the next start recovers.
#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_goes_down_loses_nothing() {
    let mut site = Site::open_on_own_postgres().await;
    site.endure("PostgreSQL goes down", async |site: &mut Site| {
        let postgres = site.postgres.as_mut().unwrap();
        postgres.crash();
        sleep(Duration::from_secs(5)).await;
        postgres.run();
    })
    .await;
    site.close("PostgreSQL goes down").await;
}
