//! A disk that fills up under processes at work, and has room again later.

use std::time::Duration;

use rstest::rstest;
use tokio::time::sleep;

use super::site::Site;
use crate::support::postgres::{OnDisk, PostgresServer};
use crate::support::runs::until;
use crate::support::small_disk::SmallDisk;

/// In megabytes: for the database file of the embedded profile, and for a PostgreSQL.
const SQLITE_DISK: u32 = 12;
const POSTGRES_DISK: u32 = 160;
/// How long it stays full.
const FULL: Duration = Duration::from_secs(8);

fn skipped() {
    println!("SKIPPED: mounting a small disk is not permitted here");
}

/// What was acknowledged is there, and both processes go on by themselves.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_under_two_processes_loses_nothing() {
    let Some(disk) = SmallDisk::mount(SQLITE_DISK) else {
        return skipped();
    };
    let mut site = Site::open_on_disk(disk).await;
    site.endure("full disk", async |site: &mut Site| {
        let disk = site.disk.as_ref().unwrap();
        disk.fill();
        until(async || site.last().written().contains("is full")).await;
        sleep(FULL).await;
        disk.free();
    })
    .await;
    site.close("full disk").await;
}

/// Without room for its tables PostgreSQL refuses statements one by one. Without room for its
/// write-ahead log it cannot go on: it ends all connections (PANIC), starts itself again, and ends
/// if there is still no room to recover. Then somebody has to start it once there is, as whoever
/// looks after services does; here the test. The service itself is never touched.
#[rstest]
#[case::tables(OnDisk::Tables)]
#[case::log(OnDisk::Log)]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_postgres_loses_nothing(#[case] part: OnDisk) {
    let Some(disk) = SmallDisk::mount(POSTGRES_DISK) else {
        return skipped();
    };
    let name = format!("full disk of PostgreSQL, {part:?}");
    let mut site = Site::open_on_postgres(PostgresServer::start_on(disk, part)).await;
    site.endure(&name, async |site: &mut Site| {
        let server = site.postgres.as_mut().unwrap();
        let before = server.written().len();
        server.disk().fill();
        // It has made room for the next part beforehand, but not for those after it.
        for _ in 0..20 {
            if part == OnDisk::Log {
                server.switch_log().await;
            }
            sleep(FULL / 20).await;
        }
        let written = server.written().split_off(before);
        assert!(
            written.contains("No space left on device"),
            "it never was full: {written}"
        );
        assert_eq!(written.contains("PANIC"), part == OnDisk::Log, "{written}");
        server.disk().free();
        let had_ended = server.start_if_ended();
        println!("{name}: it had to be started again: {had_ended}");
    })
    .await;
    site.close(&name).await;
}
