//! What [`SyncStore`] does, top to bottom.
//!
//! It takes the lease of the store, asks the marketplace again about every row that is due, in
//! batches, oldest first, each row at most once, and announces the run: one `sync.started`, one
//! closing event. A store with nothing due costs one query and announces nothing.
//!
//! It may always run twice: the lease lets one run in, every write is fenced by it, no write goes
//! over a success, and the count grows only with a row that changed. What is due is in the rows,
//! so a run that dies, or a job that is lost, delays work until the next scheduler pass.
//!
//! A run takes a bounded number of rows, so that no store holds a worker for long. When it leaves
//! some that are due, the store goes to the end of the queue again, behind those that wait.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;

use chrono::{DateTime, Utc};
use futures::{FutureExt, StreamExt, stream};
use jobs::{Job, OutboxId, QueueError, StoreId, SyncStore};
use secrecy::SecretString;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::attempt::{Attempt, attempt};
use super::counts::Counts;
use super::error::Error;
use super::import::count;
use super::model::{DueRow, RowOutcome, Store, SyncLogId, SyncLogStatus, SyncStatus};
use super::operate::is_paused;
use super::queries::orders::RowCursor;
use super::queries::stores::StoreOutcome;
use super::queries::{orders, stores};
use super::status::sync_status;
use super::stores::{access_token, free_slot};
use crate::App;
use crate::db;
use crate::lease::Lease;
use crate::metrics::JobOutcome;
use crate::schedule::slots;
use crate::webhooks::{self, EventType, Recorded};

/// A run ends after so many batches; then the store has to wait for its turn again.
const MAX_BATCHES: u32 = 10;

/// Runs the job: a store's due rows, unless another run is at it.
pub(crate) async fn sync_store(
    app: &App,
    job: SyncStore,
    stop: &CancellationToken,
) -> Result<JobOutcome, Error> {
    let started = Instant::now();
    let store_id = job.store_id;
    let token = app.ids.new_id(app.clock.now());
    let table = stores::store_lease();
    let times = app.lease_times;
    let Some(lease) = Lease::take(&app.db, table, store_id.0, token, &app.clock, times).await?
    else {
        return skip(app, store_id).await;
    };
    // A run that lost its lease ends at once, wherever it is: it may not write any more.
    let outcome = tokio::select! {
        outcome = run(app, store_id, &lease, stop) => outcome,
        () = lease.lost().cancelled() => Err(Error::LeaseLost),
    };
    match outcome {
        Err(Error::LeaseLost) => {
            warn!(event = "lock_lost", storeId = %store_id, "store {store_id} is another run's by now");
            return Ok(JobOutcome::LockLost);
        }
        // A database that is gone cannot be told; then the lease ends by itself.
        _ => {
            if let Err(error) = lease.release().await {
                warn!(%error, storeId = %store_id, "failed to release the lease of store {store_id}");
            }
        }
    }
    let Ended {
        counts,
        status,
        has_backlog,
    } = outcome?;
    if has_backlog {
        enqueue_again(app, store_id).await;
    }
    info!(
        event = "job_completed",
        queue = SyncStore::QUEUE,
        jobId = job.identity(),
        storeId = %store_id,
        processedCount = counts.processed,
        successCount = counts.success,
        failedCount = counts.failed,
        rateLimitedCount = counts.rate_limited,
        syncStatus = status.map(|status| status.to_string()),
        durationMs = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "synced store {store_id}"
    );
    Ok(status.map_or(JobOutcome::Skipped, |_| JobOutcome::Completed))
}

/// What a run came to.
#[derive(Default)]
struct Ended {
    counts: Counts,
    /// None, if there is no such store.
    status: Option<SyncStatus>,
    /// It stopped where it had to, before the last row that is due.
    has_backlog: bool,
}

/// Enqueues a store that has more due than a run takes. Best effort: the next tick does it, too.
async fn enqueue_again(app: &App, store_id: StoreId) {
    let enqueued = slots::enqueue::<SyncStore>(app, &[store_id]).await;
    let error = match enqueued.map(|enqueued| enqueued.pushed) {
        Ok(Ok(()) | Err(QueueError::Full { .. })) => return,
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    warn!(storeId = %store_id, error, "failed to enqueue store {store_id} again; the next tick does");
}

/// The lease was not to be had.
async fn skip(app: &App, store_id: StoreId) -> Result<JobOutcome, Error> {
    match is_paused(app, store_id).await? {
        Some(true) => {
            info!(event = "store_paused", storeId = %store_id, "store {store_id} is paused");
            // Whoever resumes it can enqueue it at once.
            free_slot(app, store_id).await?;
        }
        Some(false) => {
            app.metrics.lock_contention();
            info!(event = "already_running", storeId = %store_id, "store {store_id} is being synced already");
        }
        None => {
            warn!(event = "store_not_found", storeId = %store_id, "store {store_id} does not exist any more");
        }
    }
    Ok(JobOutcome::Skipped)
}

async fn run(
    app: &App,
    store_id: StoreId,
    lease: &Lease,
    stop: &CancellationToken,
) -> Result<Ended, Error> {
    let mut tx = app.db.read().await?;
    let store = stores::store_by_id(&mut tx, store_id).await?;
    tx.save().await?;
    let Some(store) = store else {
        warn!(event = "store_not_found", storeId = %store_id, "store {store_id} does not exist any more");
        return Ok(Ended::default());
    };
    let is_paused = store
        .paused_until
        .is_some_and(|until| until > app.clock.now());
    if is_paused || stop.is_cancelled() {
        return Ok(Ended {
            status: Some(store.sync_status),
            ..Ended::default()
        });
    }
    // Before any row is touched: they stay due until it can be read.
    let access_token = access_token(app, &store)?;
    let mut run = Run {
        app,
        lease,
        stop,
        access_token,
        status: store.sync_status,
        imported: store.imported_success_count,
        store,
        cursor: RowCursor::BEGINNING,
        totals: Counts::default(),
        has_backlog: false,
        started: OutboxId(app.ids.new_id(app.clock.now())),
        closing: OutboxId(app.ids.new_id(app.clock.now())),
    };
    let first = run.next_batch().await?;
    if first.is_empty() {
        return Ok(run.ended());
    }
    run.announce_start().await?;
    let outcome = AssertUnwindSafe(run.batches(first)).catch_unwind().await;
    match outcome.unwrap_or(Err(Error::Panicked)) {
        Ok(()) => Ok(run.ended()),
        Err(Error::LeaseLost) => Err(Error::LeaseLost),
        Err(cause) => {
            if let Err(error) = run.announce_abort().await {
                warn!(%error, storeId = %store_id, "failed to announce that the run of store {store_id} ended");
            }
            Err(cause)
        }
    }
}

/// One run of one store.
struct Run<'a> {
    app: &'a App,
    lease: &'a Lease,
    stop: &'a CancellationToken,
    access_token: SecretString,
    store: Store,
    cursor: RowCursor,
    totals: Counts,
    status: SyncStatus,
    imported: i64,
    has_backlog: bool,
    /// The ids of the two events, known before, so that none can be written twice.
    started: OutboxId,
    closing: OutboxId,
}

/// What a batch came to.
struct Batch {
    rows: Vec<RowOutcome>,
    pause_until: Option<DateTime<Utc>>,
}

/// How a run stands after a batch.
struct Written {
    status: SyncStatus,
    imported: i64,
    has_backlog: bool,
    is_last: bool,
    recorded: Option<Recorded>,
}

impl Run<'_> {
    fn ended(&self) -> Ended {
        Ended {
            counts: self.totals,
            status: Some(self.status),
            has_backlog: self.has_backlog,
        }
    }

    async fn next_batch(&mut self) -> Result<Vec<DueRow>, Error> {
        let mut tx = self.app.db.read().await?;
        let now = self.app.clock.now();
        let limit = self.app.settings.sync.chunk_size;
        let batch = orders::due_rows(&mut tx, self.store.id, self.cursor, now, limit).await?;
        tx.save().await?;
        if let Some(last) = batch.last() {
            self.cursor = RowCursor {
                created_at: last.created_at,
                id: last.id,
            };
        }
        Ok(batch)
    }

    async fn batches(&mut self, mut due: Vec<DueRow>) -> Result<(), Error> {
        let chunk_size = usize::try_from(self.app.settings.sync.chunk_size).unwrap_or(usize::MAX);
        for iteration in 1..=MAX_BATCHES {
            let was_full = due.len() >= chunk_size;
            let batch = self.ask_marketplace(&due).await;
            let is_cut_short = batch.rows.len() < due.len();
            let is_paused = batch.pause_until.is_some();
            let is_last = !was_full || is_cut_short || is_paused || iteration == MAX_BATCHES;
            let processed = batch.rows.len();
            let written = self.write(&batch, is_last, is_cut_short).await?;
            if written.is_last {
                if written.has_backlog && iteration == MAX_BATCHES {
                    self.has_backlog = true;
                    self.app.metrics.backlog();
                    info!(
                        event = "remaining_backlog",
                        storeId = %self.store.id,
                        iterations = iteration,
                        lastBatchProcessed = processed,
                        "store {} has more rows due", self.store.id
                    );
                }
                return Ok(());
            }
            due = self.next_batch().await?;
            if due.is_empty() {
                let nothing = Batch {
                    rows: Vec::new(),
                    pause_until: None,
                };
                self.write(&nothing, true, false).await?;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Asks about each row, several at a time. When the process shuts down or the marketplace wants
    /// a pause, no further call is made; the rows not asked about stay due.
    async fn ask_marketplace(&self, due: &[DueRow]) -> Batch {
        let pause: OnceLock<()> = OnceLock::new();
        let attempts: Vec<(DueRow, Attempt)> = stream::iter(due.to_vec())
            .map(|row| {
                let pause = &pause;
                async move {
                    if self.stop.is_cancelled() || pause.get().is_some() {
                        return None;
                    }
                    let attempt = self.ask(&row).await;
                    if matches!(
                        attempt,
                        Attempt::RateLimited {
                            retry_after: Some(_),
                            ..
                        }
                    ) {
                        pause.get_or_init(|| ());
                    }
                    Some((row, attempt))
                }
            })
            .buffer_unordered(self.app.settings.sync.row_concurrency)
            .filter_map(|attempt| async move { attempt })
            .collect()
            .await;
        let now = self.app.clock.now();
        Batch {
            rows: attempts
                .iter()
                .map(|(row, attempt)| attempt.after(row, &self.app.settings.sync, now))
                .collect(),
            pause_until: attempts
                .iter()
                .filter_map(|(_, attempt)| attempt.pause_until(now))
                .max(),
        }
    }

    async fn ask(&self, row: &DueRow) -> Attempt {
        attempt(
            self.app,
            &self.store,
            Some(&self.access_token),
            &row.receipt,
        )
        .await
    }

    /// Writes a batch, and again while the database is busy or away, for as long as the lease
    /// lasts: the answers of the marketplace are not to be lost.
    async fn write(
        &mut self,
        batch: &Batch,
        is_last: bool,
        is_cut_short: bool,
    ) -> Result<Written, Error> {
        let counts = Counts::of(&batch.rows);
        let totals = self.totals.plus(counts);
        let this = &*self;
        let patience = self.app.lease_times.ttl;
        let mut written = db::persist_within(patience, move || async move {
            this.try_write(batch, totals, is_last, is_cut_short).await
        })
        .await?;
        if let Some(recorded) = written.recorded.take() {
            webhooks::enqueue_recorded(self.app, recorded).await;
        }
        (self.totals, self.status, self.imported) = (totals, written.status, written.imported);
        if counts.processed > 0 {
            self.log_batch(counts);
            self.count_batch(counts, &batch.rows);
        }
        Ok(written)
    }

    /// One fenced transaction: the rows, the store's count and status and, if the batch is the
    /// last, the closing event. It is the last when the store was paused meanwhile.
    async fn try_write(
        &self,
        batch: &Batch,
        totals: Counts,
        is_last: bool,
        is_cut_short: bool,
    ) -> Result<Written, Error> {
        let now = self.app.clock.now();
        let id = self.store.id;
        let mut tx = self.app.db.write().await?;
        let is_paused = stores::lock_leased_store(&mut tx, id, self.lease.token())
            .await?
            .ok_or(Error::LeaseLost)?;
        let is_last = is_last || is_paused;
        let written = orders::record_outcomes(&mut tx, &batch.rows, now).await?;
        let successes = new_successes(&batch.rows, &written);
        let newest = orders::newest_outcomes(&mut tx, &[id]).await?;
        let status = sync_status(newest.into_iter().flat_map(|newest| newest.statuses.0));
        let outcome = StoreOutcome {
            id,
            successes,
            status,
        };
        let counts = stores::record_attempts(&mut tx, &[outcome], now).await?;
        let imported = counts.get(&id).copied().unwrap_or_default();
        if let Some(until) = batch.pause_until {
            stores::pause_store(&mut tx, id, until).await?;
        }
        let mut has_backlog = is_cut_short;
        let mut recorded = None;
        if is_last {
            let left = orders::due_rows(&mut tx, id, self.cursor, now, 1).await?;
            has_backlog |= !left.is_empty();
            let event = match status {
                SyncStatus::Failed => EventType::SyncFailed,
                _ => EventType::SyncCompleted,
            };
            let data = totals.event_data(status, imported, has_backlog);
            recorded = Some(self.record(&mut tx, event, data, now).await?);
        }
        tx.save().await?;
        Ok(Written {
            status,
            imported,
            has_backlog,
            is_last,
            recorded,
        })
    }

    fn log_batch(&self, counts: Counts) {
        info!(
            event = "sync_store_batch",
            storeId = %self.store.id,
            processedCount = counts.processed,
            successCount = counts.success,
            failedCount = counts.failed,
            rateLimitedCount = counts.rate_limited,
            "tried {} rows of store {}", counts.processed, self.store.id
        );
    }

    fn count_batch(&self, counts: Counts, rows: &[RowOutcome]) {
        let metrics = &self.app.metrics;
        metrics.sync_rows(counts.success, counts.failed, counts.rate_limited);
        metrics.orders_given_up(rows.iter().filter(|row| row.dead_at.is_some()).count());
    }

    async fn announce_start(&self) -> Result<(), Error> {
        let data = json!({ "syncStatus": self.status });
        self.announce(EventType::SyncStarted, data).await
    }

    /// The run ends by an error after it was announced: the subscribers hear of that, too.
    async fn announce_abort(&self) -> Result<(), Error> {
        let mut data = self.totals.event_data(self.status, self.imported, true);
        data["reason"] = json!("internal_error");
        self.announce(EventType::SyncFailed, data).await
    }

    async fn announce(&self, event: EventType, data: serde_json::Value) -> Result<(), Error> {
        let mut tx = self.app.db.write().await?;
        stores::lock_leased_store(&mut tx, self.store.id, self.lease.token())
            .await?
            .ok_or(Error::LeaseLost)?;
        let recorded = self
            .record(&mut tx, event, data, self.app.clock.now())
            .await?;
        tx.save().await?;
        webhooks::enqueue_recorded(self.app, recorded).await;
        Ok(())
    }

    async fn record(
        &self,
        tx: &mut crate::db::Tx,
        event: EventType,
        data: serde_json::Value,
        now: DateTime<Utc>,
    ) -> Result<Recorded, Error> {
        let id = match event {
            EventType::SyncStarted => self.started,
            _ => self.closing,
        };
        let event = webhooks::NewEvent {
            id,
            organization_id: &self.store.organization_id,
            store_id: self.store.id,
            event,
            data,
        };
        Ok(webhooks::record(self.app, tx, &event, now).await?)
    }
}

/// Rows that became a success by this write, and not by an earlier one.
fn new_successes(rows: &[RowOutcome], written: &HashSet<SyncLogId>) -> i64 {
    let is_new =
        |row: &&RowOutcome| row.status == SyncLogStatus::Success && written.contains(&row.id);
    count(rows.iter().filter(is_new).count())
}
