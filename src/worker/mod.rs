//! One list: which handler runs a job, which handler runs a tick.
//!
//! | job or tick | handler |
//! |---|---|
//! | [`SyncStore`] | [`marketplace::sync_store`] |
//! | [`DeliverCallback`] | [`webhooks::deliver_callback`] |
//! | [`PushStock`](jobs::PushStock) | [`stock::push_stock`](crate::stock::push_stock) |
//! | [`ConfirmStockPush`](jobs::ConfirmStockPush) | [`stock::confirm_push`](crate::stock::confirm_push) |
//! | [`ReconcileStock`](jobs::ReconcileStock) | [`stock::reconcile_stock`](crate::stock::reconcile_stock) |
//! | [`ResyncStore`](jobs::ResyncStore) | [`stock::resync_store`](crate::stock::resync_store) |
//! | ticks | [`ticks`] |

mod stock;
mod ticks;

use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use jobs::{DeliverCallback, Job, QueueError, SyncStore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::App;
use crate::db::AsTransient;
use crate::marketplace;
use crate::metrics::JobOutcome;
use crate::traces::{self, NewSpan};
use crate::webhooks;

pub use stock::{
    confirm_push, push_stock, reconcile_stock, resync_store, run_resyncs_until_empty,
    run_until_empty as run_stock_until_empty,
};
pub(crate) use ticks::run_ticks;

/// How often a failed job looks whether the database is back.
const FREE_AGAIN: Duration = Duration::from_secs(1);

/// Runs jobs until `stop` fires and the running ones are done.
pub async fn run_jobs(app: Arc<App>, stop: CancellationToken) {
    let (sync_app, sync_stop) = (app.clone(), stop.clone());
    let sync = run_worker(&app, app.settings.sync.concurrency, &stop, move |job| {
        let (app, stop) = (sync_app.clone(), sync_stop.clone());
        async move { sync_store(&app, job, &stop).await }
    });
    let (callback_app, callback_stop) = (app.clone(), stop.clone());
    let concurrency = app.settings.callback.concurrency;
    let callback = run_worker(&app, concurrency, &stop, move |job| {
        let (app, stop) = (callback_app.clone(), callback_stop.clone());
        async move { deliver_callback(&app, job, &stop).await }
    });
    tokio::join!(sync, callback, stock::run_jobs(&app, &stop));
}

async fn run_worker<J, H, F>(app: &App, concurrency: usize, stop: &CancellationToken, handler: H)
where
    J: Job,
    H: Fn(J) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let stop = stop.clone();
    if let Err(error) = app.queue.run_worker(concurrency, stop, handler).await {
        error!(event = "worker_failed", queue = J::QUEUE, %error, "the worker of {} ended", J::QUEUE);
    }
}

/// Runs jobs until none is left, for tests and one-shot commands; tells how many ran.
pub async fn run_jobs_until_empty(app: &Arc<App>) -> Result<u64, QueueError> {
    let mut ran = 0;
    loop {
        // The runs of stores first: they make events.
        let synced = run_syncs_until_empty(app).await?;
        let pushed = stock::run_until_empty(app).await?;
        let delivered = run_callbacks_until_empty(app).await?;
        ran += synced + pushed + delivered;
        if pushed + delivered == 0 {
            return Ok(ran);
        }
    }
}

/// The same for the jobs of stores alone.
pub async fn run_syncs_until_empty(app: &Arc<App>) -> Result<u64, QueueError> {
    let concurrency = app.settings.sync.concurrency;
    let handler_app = app.clone();
    let handler = move |job: SyncStore| {
        let app = handler_app.clone();
        async move { sync_store(&app, job, &CancellationToken::new()).await }
    };
    app.queue.run_until_empty(concurrency, handler).await
}

/// The same for the jobs of events alone.
pub async fn run_callbacks_until_empty(app: &Arc<App>) -> Result<u64, QueueError> {
    let concurrency = app.settings.callback.concurrency;
    let handler_app = app.clone();
    let handler = move |job: DeliverCallback| {
        let app = handler_app.clone();
        async move { deliver_callback(&app, job, &CancellationToken::new()).await }
    };
    app.queue.run_until_empty(concurrency, handler).await
}

/// The handler of [`SyncStore`]. A failed job is shown as failed and not run again: what is due
/// stays due, and the next tick enqueues the store.
///
/// It goes on with stores whose own jobs found no lane, as long as it may.
pub async fn sync_store(app: &App, job: SyncStore, stop: &CancellationToken) -> Result<(), String> {
    let store_id = job.store_id;
    let lane = match caught(marketplace::enter_lane(app, store_id)).await {
        Ok(Some(lane)) => lane,
        Ok(None) => return Ok(()),
        Err(error) => {
            app.metrics.sync_job().ended(JobOutcome::Failed);
            let free_slot = || marketplace::free_slot(app, store_id);
            return Err(failed(&job, error, free_slot).await);
        }
    };
    let ended = run_store(app, job, stop).await;
    let mut next = lane.leave();
    while let Some((store_id, lane)) = next.filter(|_| !stop.is_cancelled()) {
        // A failure is in the log; there is no job that could tell of it.
        let _failure = run_store(app, SyncStore { store_id }, stop).await.err();
        next = lane.leave();
    }
    ended
}

async fn run_store(app: &App, job: SyncStore, stop: &CancellationToken) -> Result<(), String> {
    let store_id = job.store_id;
    let timer = app.metrics.sync_job();
    let span = || NewSpan::job(SyncStore::NAME, None).with("store.id", store_id.to_string());
    let work = async {
        let ended = caught(marketplace::sync_store(app, job, stop)).await;
        if ended.is_err() {
            traces::note_failure("failed");
        }
        ended
    };
    match app.traces.within(span, work).await {
        Ok(outcome) => {
            timer.ended(outcome);
            Ok(())
        }
        Err(error) => {
            timer.ended(JobOutcome::Failed);
            let free_slot = || marketplace::free_slot(app, store_id);
            Err(failed(&job, error, free_slot).await)
        }
    }
}

/// The handler of [`DeliverCallback`]. A failed job is shown as failed and not run again: what is
/// due stays due, and the next tick enqueues the event.
pub async fn deliver_callback(
    app: &Arc<App>,
    job: DeliverCallback,
    stop: &CancellationToken,
) -> Result<(), String> {
    let timer = app.metrics.callback_job();
    match caught(webhooks::deliver_callback(app, job, stop)).await {
        Ok(()) => {
            timer.ended(JobOutcome::Completed);
            Ok(())
        }
        Err(error) => {
            timer.ended(JobOutcome::Failed);
            let free_slot = || webhooks::free_slot(app, job.outbox_id);
            Err(failed(&job, error, free_slot).await)
        }
    }
}

/// A panic is a failure like any other, once the log has it.
fn caught<T, E: Display>(
    work: impl Future<Output = Result<T, E>>,
) -> impl Future<Output = Result<T, String>> {
    // Not an async function, which would keep room for two of these large futures.
    AssertUnwindSafe(work)
        .catch_unwind()
        .map(|caught| match caught {
            Ok(ended) => ended.map_err(|error| error.to_string()),
            Err(_panic) => Err("the job panicked".to_owned()),
        })
}

/// Logs that a job failed and frees its slot, so that the next tick enqueues what is left.
async fn failed<J, F, E>(job: &J, error: String, free_slot: impl Fn() -> F) -> String
where
    J: Job,
    F: Future<Output = Result<(), E>>,
    E: AsTransient + Display,
{
    let job_id = job.identity();
    error!(event = "job_failed", queue = J::QUEUE, jobId = job_id, %error, "failed to run {job_id}");
    while let Err(error) = free_slot().await {
        if !may_pass(&job_id, &error).await {
            break;
        }
    }
    error
}

/// After the slot of a failed job could not be freed: waits a moment, if the database may be back
/// then; without its slot free the next tick would not enqueue what is left.
///
/// While the database is away the job does not end: its slot would be taken for many minutes
/// after the database is back, and the jobs behind it would only fail as well. A process that
/// stops meanwhile leaves the job to whoever takes over the jobs of a dead one.
async fn may_pass<E: AsTransient + Display>(job_id: &str, error: &E) -> bool {
    if !error.is_transient() {
        warn!(jobId = job_id, %error, "failed to free the slot of {job_id}; it ends by itself");
        return false;
    }
    debug!(jobId = job_id, %error, "the slot of {job_id} cannot be freed yet");
    sleep(FREE_AGAIN).await;
    true
}
