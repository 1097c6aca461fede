//! One list: which handler runs a job, which handler runs a tick.
//!
//! | job or tick | handler |
//! |---|---|
//! | [`SyncStore`] | [`marketplace::sync_store`] |
//! | `sync` tick | [`marketplace::enqueue_due_stores`] |
//! | `housekeeping` tick | [`tidy_up`] |

use std::sync::Arc;
use std::time::Duration;

use jobs::{Job, QueueError, SyncStore, schedule};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::App;
use crate::marketplace;
use crate::schedule::housekeeping::tidy_up;
use crate::schedule::tick::run_every;

/// How often a pass that met a full queue looks for room.
const LOOK_FOR_ROOM: Duration = Duration::from_millis(200);

/// Runs jobs until `stop` fires and the running ones are done.
pub(crate) async fn run_jobs(app: Arc<App>, stop: CancellationToken) {
    let concurrency = app.settings.sync.concurrency;
    let queue = app.queue.clone();
    let handler_stop = stop.clone();
    let handler = move |job: SyncStore| {
        let (app, stop) = (app.clone(), handler_stop.clone());
        async move { sync_store(&app, job, &stop).await }
    };
    if let Err(error) = queue.run_worker(concurrency, stop, handler).await {
        error!(event = "worker_failed", queue = SyncStore::QUEUE, %error, "the worker of {} ended", SyncStore::QUEUE);
    }
}

/// Runs jobs until none is left, for tests and one-shot commands; tells how many ran.
pub async fn run_jobs_until_empty(app: &Arc<App>) -> Result<u64, QueueError> {
    let concurrency = app.settings.sync.concurrency;
    let handler_app = app.clone();
    let handler = move |job: SyncStore| {
        let app = handler_app.clone();
        async move { sync_store(&app, job, &CancellationToken::new()).await }
    };
    app.queue.run_until_empty(concurrency, handler).await
}

/// The handler of [`SyncStore`]. A failed job is shown as failed and not run again: what is due
/// stays due, and the next tick enqueues the store.
pub async fn sync_store(app: &App, job: SyncStore, stop: &CancellationToken) -> Result<(), String> {
    let job_id = job.identity();
    let store_id = job.store_id;
    let Err(error) = marketplace::sync_store(app, job, stop).await else {
        return Ok(());
    };
    error!(event = "job_failed", queue = SyncStore::QUEUE, jobId = job_id, %error, "failed to run {job_id}");
    if let Err(error) = marketplace::free_slot(app, store_id).await {
        warn!(%error, storeId = %store_id, "failed to free the slot of store {store_id}; it ends by itself");
    }
    Err(error.to_string())
}

/// Fires ticks until `stop` fires.
pub(crate) async fn run_ticks(app: Arc<App>, stop: CancellationToken) {
    let cron = app.settings.sync.cron.clone();
    let (sync_app, sync_stop) = (app.clone(), stop.clone());
    let sync = run_every(
        app.clone(),
        schedule::SYNC.name,
        &cron,
        stop.clone(),
        move || {
            let (app, stop) = (sync_app.clone(), sync_stop.clone());
            async move { sync_tick(&app, &stop).await }
        },
    );
    let tidy_app = app.clone();
    let cron = schedule::HOUSEKEEPING.default_cron;
    let housekeeping = run_every(app, schedule::HOUSEKEEPING.name, cron, stop, move || {
        let app = tidy_app.clone();
        async move { tidy_up(&app).await }
    });
    let (sync, housekeeping) = tokio::join!(sync, housekeeping);
    for error in [sync, housekeeping].into_iter().filter_map(Result::err) {
        error!(event = "schedule_failed", %error, "a schedule ended");
    }
}

/// A pass, and further ones as the queue drains, until every due store was enqueued.
async fn sync_tick(app: &App, stop: &CancellationToken) {
    loop {
        match marketplace::enqueue_due_stores(app).await {
            Ok(pass) if pass.is_cut_short => {}
            Ok(_) => return,
            Err(error) => {
                error!(event = "scheduler_failed", schedule = schedule::SYNC.name, %error, "failed to enqueue due stores");
                return;
            }
        }
        loop {
            if stop
                .run_until_cancelled(sleep(LOOK_FOR_ROOM))
                .await
                .is_none()
            {
                return;
            }
            match app.queue.room::<SyncStore>().await {
                Ok(room) if room >= app.queue.max_depth() / 2 => break,
                Ok(_) => {}
                // The next tick tells whether the queue is back.
                Err(_) => return,
            }
        }
    }
}
