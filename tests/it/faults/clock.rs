//! A worker whose clock is wrong, by libfaketime.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use marketplace_sync::clock::Clock;
use serde_json::Value;
use tempfile::NamedTempFile;
use tokio::time::sleep;

use super::site::Site;
use crate::support::app::Profile::{self, Embedded, Server};

/// More than a lease lasts, in seconds.
const JUMP: i64 = 25;

/// The clock of a process, which can be set at any time.
struct WrongClock {
    file: NamedTempFile,
    library: PathBuf,
}

impl WrongClock {
    fn new() -> Self {
        let libraries = fs::read_dir("/usr/lib").unwrap();
        let library = libraries
            .map(|folder| folder.unwrap().path().join("faketime/libfaketimeMT.so.1"))
            .find(|path| path.exists())
            .expect("libfaketime is not installed: run scripts/test");
        let clock = Self {
            file: NamedTempFile::new().unwrap(),
            library,
        };
        clock.set(0);
        clock
    }

    fn settings(&self) -> [(&str, &str); 4] {
        [
            ("LD_PRELOAD", self.library.to_str().unwrap()),
            (
                "FAKETIME_TIMESTAMP_FILE",
                self.file.path().to_str().unwrap(),
            ),
            ("FAKETIME_CACHE_DURATION", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ]
    }

    /// So many seconds ahead of the others.
    fn set(&self, seconds: i64) {
        fs::write(self.file.path(), format!("{seconds:+}\n")).unwrap();
    }
}

/// It takes leases that others still hold, and gives out leases that are over: the token of a
/// lease decides, not the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_clock_jumps_loses_nothing() {
    tokio::join!(jump(Embedded), jump(Server));
}

async fn jump(on: Profile) {
    let clock = WrongClock::new();
    let mut site = Site::open(on).await;
    site.kill_last().await;
    site.start_last(&clock.settings()).await;
    site.endure("clock jumps", async |site: &mut Site| {
        clock.set(JUMP);
        sleep(Duration::from_secs(6)).await;
        assert!(
            ahead(site) > JUMP / 2,
            "its clock is {} s ahead",
            ahead(site)
        );
        clock.set(-JUMP);
        sleep(Duration::from_secs(6)).await;
        assert!(
            ahead(site) < -JUMP / 2,
            "its clock is {} s ahead",
            ahead(site)
        );
        clock.set(0);
    })
    .await;
    site.close("clock jumps").await;
}

/// By how many seconds the clock of the last process is ahead, as its last lines tell.
fn ahead(site: &Site) -> i64 {
    let written = site.last().written();
    let last = written.lines().last().unwrap();
    let line: Value = serde_json::from_str(last).unwrap();
    let at: DateTime<Utc> = line["timestamp"].as_str().unwrap().parse().unwrap();
    let ahead: TimeDelta = at - Clock::system().now();
    ahead.num_seconds()
}
