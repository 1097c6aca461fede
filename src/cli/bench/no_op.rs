//! What the queue itself takes: jobs that do nothing, from their push to their end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use jobs::{DeliverCallback, OutboxId};
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::place::Place;
use super::report::{Report, Round};
use crate::App;

const PATIENCE: Duration = Duration::from_mins(2);
/// Jobs of one push.
const BATCH: usize = 500;

/// Jobs that do nothing.
#[derive(Clone, Debug, Args)]
pub(super) struct NoOp {
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Jobs of a round.
    #[arg(long, default_value_t = 20_000)]
    jobs: usize,
    /// How many run at the same time.
    #[arg(long, default_value_t = 20)]
    concurrency: usize,
}

impl NoOp {
    pub(super) async fn run(self, place: &Place) -> Result<Report> {
        let app = place.app(&place.environment()?).await?;
        self.round(&app).await?;
        let mut rounds = Vec::new();
        for _ in 0..self.rounds {
            rounds.push(self.round(&app).await?);
        }
        let setup = json!({ "jobsARound": self.jobs, "concurrency": self.concurrency });
        Ok(Report::new(
            "jobs",
            place.profile(),
            setup,
            vec![("jobs", rounds)],
        ))
    }

    async fn round(&self, app: &App) -> Result<Round> {
        let stop = CancellationToken::new();
        let ended = Arc::new((AtomicUsize::new(0), Notify::new()));
        let (queue, noted, stopped) = (app.queue.clone(), ended.clone(), stop.clone());
        let concurrency = self.concurrency;
        let worker = tokio::spawn(async move {
            let handler = move |_: DeliverCallback| {
                noted.0.fetch_add(1, Ordering::Relaxed);
                noted.1.notify_one();
                async { Ok(()) }
            };
            queue.run_worker(concurrency, stopped, handler).await
        });
        let started = Instant::now();
        let now = app.clock.now();
        let have_ended = async |count: usize| {
            let wait = async {
                while ended.0.load(Ordering::Relaxed) < count {
                    ended.1.notified().await;
                }
            };
            timeout(PATIENCE, wait).await.context("jobs did not end")
        };
        let mut pushed = 0;
        while pushed < self.jobs {
            // No push that the queue would refuse: that would cost as much as one that it takes.
            have_ended((pushed + BATCH).saturating_sub(app.queue.max_depth())).await?;
            let new = |_| DeliverCallback {
                outbox_id: OutboxId(app.ids.new_id(now)),
            };
            let jobs: Vec<_> = (0..BATCH.min(self.jobs - pushed)).map(new).collect();
            app.queue.push(&jobs).await?;
            pushed += jobs.len();
        }
        have_ended(self.jobs).await?;
        let took = started.elapsed();
        stop.cancel();
        worker.await??;
        Ok(Round {
            done: self.jobs,
            took: Some(took),
            latencies: Vec::new(),
        })
    }
}
