//! What is looked at every second.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use secrecy::ExposeSecret;
use sqlx::query_scalar;
use tokio::time::{MissedTickBehavior, interval};

use super::load::Load;
use crate::app::open_queue;
use crate::cli::bench::receiver::Receiver;
use crate::cli::bench::subject::Subject;
use crate::config::Settings;
use crate::db::{Db, Tx};

/// How it all stood at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) at: Instant,
    /// Resident memory of the service.
    pub(super) memory: u64,
    /// What Redis has in use.
    pub(super) redis: Option<u64>,
    /// The database, with its write-ahead log on SQLite.
    pub(super) database: u64,
    /// Orders that there are.
    pub(super) orders: u64,
    /// Events that came to the receiver.
    pub(super) deliveries: usize,
}

/// Looks until the end.
pub(super) async fn take(
    settings: &Settings,
    service: &Subject,
    receiver: &Receiver,
    load: &Load,
    length: Duration,
) -> Result<Vec<Sample>> {
    let url = settings.database_url.expose_secret();
    let db = Db::connect(url, 1).await?;
    let queue = open_queue(settings, &db).await?;
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ends = Instant::now() + length;
    let mut samples = Vec::new();
    while Instant::now() < ends {
        ticks.tick().await;
        samples.push(Sample {
            at: Instant::now(),
            memory: resident(service.pid())?,
            redis: queue.memory().await?,
            database: size(&db, url).await?,
            orders: load.sold(),
            deliveries: receiver.timed(),
        });
    }
    db.close().await;
    Ok(samples)
}

/// Resident memory of a process, as Linux tells it.
fn resident(id: u32) -> Result<u64> {
    let path = format!("/proc/{id}/status");
    let status = std::fs::read_to_string(path).context("the service has ended")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    Ok(kilobytes.context("it has no memory")? * 1024)
}

async fn size(db: &Db, url: &str) -> Result<u64> {
    let mut tx = db.read().await?;
    if let Tx::Postgres(tx) = &mut tx {
        let size = query_scalar::<_, i64>("SELECT pg_database_size(current_database())");
        let size = size.fetch_one(&mut **tx).await?;
        return Ok(size.unsigned_abs());
    }
    let file = url.trim_start_matches("sqlite:");
    let size = |end: &str| std::fs::metadata(format!("{file}{end}")).map_or(0, |it| it.len());
    Ok(size("") + size("-wal"))
}
