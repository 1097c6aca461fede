//! How fast due receipts are worked off by the jobs of stores.

use std::time::Duration;

use anyhow::{Result, bail};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use jobs::SyncStore;
use serde_json::json;
use sqlx::{query, query_scalar};
use tokio::time::{Instant, sleep};

use super::place::{Place, new_store};
use super::report::{Report, Round};
use super::stage::Stage;
use crate::App;
use crate::db::{on, sql};

/// Nothing takes as long as that.
const PATIENCE: Duration = Duration::from_mins(5);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What is due.
#[derive(Clone, Debug, Args)]
pub(super) struct Drain {
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Stores.
    #[arg(long, default_value_t = 40)]
    stores: usize,
    /// Receipts that are due of each.
    #[arg(long, default_value_t = 250)]
    due: u32,
}

impl Drain {
    /// One store with all the receipts that these have together.
    pub(super) fn of_one(self) -> Self {
        Self {
            due: self.due * u32::try_from(self.stores).unwrap_or(u32::MAX),
            stores: 1,
            ..self
        }
    }

    pub(super) async fn run(self, place: &Place) -> Result<Report> {
        // No scheduler: it would begin before all is set up.
        let stage = Stage::set(place, "api,worker", 0, 0).await?;
        // The first is not counted: connections are made, code is read.
        self.round(&stage).await?;
        let watch = stage.watch();
        let mut rounds = Vec::new();
        for _ in 0..self.rounds {
            rounds.push(self.round(&stage).await?);
        }
        let processes = watch.stop();
        let setup = json!({ "stores": self.stores, "dueOfEach": self.due });
        let report = Report::new(
            "drain",
            place.profile(),
            setup,
            vec![("due receipts", rounds)],
        );
        Ok(report.with_processes(processes))
    }

    async fn round(&self, stage: &Stage) -> Result<Round> {
        let app = &stage.app;
        let mut jobs = Vec::new();
        for _ in 0..self.stores {
            let (_, store_id, _) = new_store(app).await?;
            owe(app, store_id, self.due).await?;
            jobs.push(SyncStore { store_id });
        }
        let done = self.stores * usize::try_from(self.due)?;
        let before = stage.marketplace.answered();
        let started = Instant::now();
        app.queue.push(&jobs).await?;
        while stage.marketplace.answered() - before < done as u64 || due(app).await? > 0 {
            if started.elapsed() > PATIENCE {
                bail!("{} receipts are still due", due(app).await?);
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(Round {
            done,
            took: Some(started.elapsed()),
            latencies: Vec::new(),
        })
    }
}

/// Receipts that failed at their import, so that they are due at once.
async fn owe(app: &App, store_id: jobs::StoreId, receipts: u32) -> Result<()> {
    let now: DateTime<Utc> = app.clock.now() - TimeDelta::hours(1);
    let mut tx = app.db.write().await?;
    let sql = tx.pick(
        sql!(postgres:
            "INSERT INTO sync_logs (id, store_id, receipt, status, attempt, failed_attempt,
                 created_at, updated_at)
             SELECT gen_random_uuid(), $1, 'due-' || n, 'failed', 0, 0,
                 CAST($3 AS TIMESTAMPTZ) + n * INTERVAL '1 millisecond', $3
             FROM generate_series(1, $2) AS n"),
        sql!(sqlite:
            "WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < $2)
             INSERT INTO sync_logs (id, store_id, receipt, status, attempt, failed_attempt,
                 created_at, updated_at)
             SELECT randomblob(16), $1, 'due-' || n, 'failed', 0, 0, $3, $3
             FROM series"),
    );
    on!(&mut tx, conn => query(sql)
        .bind(store_id).bind(i64::from(receipts)).bind(now)
        .execute(conn).await.map(|_| ()))?;
    tx.save().await?;
    Ok(())
}

/// How many receipts are not imported yet, up to a hundred.
async fn due(app: &App) -> Result<i64> {
    let mut tx = app.db.read().await?;
    let due = on!(&mut tx, conn => query_scalar(sql!(
        "SELECT COUNT(*)
         FROM (
             SELECT 1
             FROM sync_logs
             WHERE status <> 'success' AND dead_at IS NULL
             LIMIT 100
         ) AS head"))
        .fetch_one(conn).await)?;
    tx.save().await?;
    Ok(due)
}
