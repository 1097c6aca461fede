//! The jobs and ticks of stock.

use std::sync::Arc;

use jobs::{
    ConfirmStockPush, Job, PushStock, QueueError, ReconcileStock, ResyncStore, ScheduleError,
    schedule,
};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::ticks::pass_by_pass;
use super::{caught, failed, run_worker};
use crate::App;
use crate::schedule::tick::run_every;
use crate::stock;
use crate::traces::{self, NewSpan};

/// Resyncs at a time; each is one transaction after the other.
const RESYNCS: usize = 2;

/// Runs jobs until `stop` fires and the running ones are done.
pub(super) async fn run_jobs(app: &Arc<App>, stop: &CancellationToken) {
    let concurrency = app.settings.stock.concurrency;
    let (job_app, job_stop) = (app.clone(), stop.clone());
    let pushes = run_worker(app, concurrency, stop, move |job| {
        let (app, stop) = (job_app.clone(), job_stop.clone());
        async move { push_stock(&app, job, &stop).await }
    });
    let (job_app, job_stop) = (app.clone(), stop.clone());
    let looks = run_worker(app, concurrency, stop, move |job| {
        let (app, stop) = (job_app.clone(), job_stop.clone());
        async move { confirm_push(&app, job, &stop).await }
    });
    let (job_app, job_stop) = (app.clone(), stop.clone());
    let comparisons = run_worker(app, concurrency, stop, move |job| {
        let (app, stop) = (job_app.clone(), job_stop.clone());
        async move { reconcile_stock(&app, job, &stop).await }
    });
    let (job_app, job_stop) = (app.clone(), stop.clone());
    let resyncs = run_worker(app, RESYNCS, stop, move |job| {
        let (app, stop) = (job_app.clone(), job_stop.clone());
        async move { resync_store(&app, job, &stop).await }
    });
    tokio::join!(pushes, looks, comparisons, resyncs);
}

/// Runs jobs until none is left, for tests and one-shot commands; tells how many ran.
pub async fn run_until_empty(app: &Arc<App>) -> Result<u64, QueueError> {
    let concurrency = app.settings.stock.concurrency;
    let stop = CancellationToken::new();
    let mut ran = 0;
    loop {
        let (job_app, job_stop) = (app.clone(), stop.clone());
        let push = move |job: PushStock| {
            let (app, stop) = (job_app.clone(), job_stop.clone());
            async move { push_stock(&app, job, &stop).await }
        };
        let (job_app, job_stop) = (app.clone(), stop.clone());
        let look = move |job: ConfirmStockPush| {
            let (app, stop) = (job_app.clone(), job_stop.clone());
            async move { confirm_push(&app, job, &stop).await }
        };
        let (job_app, job_stop) = (app.clone(), stop.clone());
        let compare = move |job: ReconcileStock| {
            let (app, stop) = (job_app.clone(), job_stop.clone());
            async move { reconcile_stock(&app, job, &stop).await }
        };
        let done = run_resyncs_until_empty(app).await?
            + app.queue.run_until_empty(concurrency, push).await?
            + app.queue.run_until_empty(concurrency, look).await?
            + app.queue.run_until_empty(concurrency, compare).await?;
        ran += done;
        if done == 0 {
            return Ok(ran);
        }
    }
}

/// The same for resyncs alone.
pub async fn run_resyncs_until_empty(app: &Arc<App>) -> Result<u64, QueueError> {
    let handler_app = app.clone();
    let handler = move |job: ResyncStore| {
        let app = handler_app.clone();
        async move { resync_store(&app, job, &CancellationToken::new()).await }
    };
    app.queue.run_until_empty(RESYNCS, handler).await
}

/// The handler of [`PushStock`]. A failed job is shown as failed and not run again: what is due
/// stays due, and the next tick enqueues the store.
pub async fn push_stock(app: &App, job: PushStock, stop: &CancellationToken) -> Result<(), String> {
    let store_id = job.store_id;
    let span = || NewSpan::job(PushStock::NAME, None).with("store.id", store_id.to_string());
    let work = async {
        let ended = caught(Box::pin(stock::push_stock(app, job, stop))).await;
        if ended.is_err() {
            traces::note_failure("failed");
        }
        ended
    };
    match app.traces.within(span, work).await {
        Ok(_outcome) => Ok(()),
        Err(error) => {
            let free_slot = || stock::free_push_slot(app, store_id);
            Err(failed(&job, error, free_slot).await)
        }
    }
}

/// The handler of [`ConfirmStockPush`]; the same.
pub async fn confirm_push(
    app: &App,
    job: ConfirmStockPush,
    stop: &CancellationToken,
) -> Result<(), String> {
    match caught(Box::pin(stock::confirm_push(app, job, stop))).await {
        Ok(()) => Ok(()),
        Err(error) => {
            let free_slot = || stock::free_look_slot(app, job.push_id);
            Err(failed(&job, error, free_slot).await)
        }
    }
}

/// The handler of [`ReconcileStock`]; the same.
pub async fn reconcile_stock(
    app: &App,
    job: ReconcileStock,
    stop: &CancellationToken,
) -> Result<(), String> {
    match caught(Box::pin(stock::reconcile_stock(app, job, stop))).await {
        Ok(()) => Ok(()),
        Err(error) => {
            let free_slot = || stock::free_comparison_slot(app, job.store_id);
            Err(failed(&job, error, free_slot).await)
        }
    }
}

/// The handler of [`ResyncStore`]. A failed job is shown as failed and not run again: what was
/// asked for stays so, and the next tick enqueues the store.
pub async fn resync_store(
    app: &App,
    job: ResyncStore,
    stop: &CancellationToken,
) -> Result<(), String> {
    match caught(stock::resync_store(app, job, stop)).await {
        Ok(()) => Ok(()),
        Err(error) => {
            let free_slot = || stock::free_resync_slot(app, job.store_id);
            Err(failed(&job, error, free_slot).await)
        }
    }
}

/// Fires ticks until `stop` fires; tells how each schedule ended.
pub(super) async fn run_ticks(
    app: Arc<App>,
    stop: CancellationToken,
) -> [Result<(), ScheduleError>; 4] {
    let (tick_app, tick_stop) = (app.clone(), stop.clone());
    let (name, cron) = (schedule::STOCK_PUSH.name, app.settings.stock.cron.clone());
    let push = run_every(app.clone(), name, &cron, stop.clone(), move || {
        let (app, stop) = (tick_app.clone(), tick_stop.clone());
        async move { push_tick(&app, &stop).await }
    });
    let tick_app = app.clone();
    let (name, cron) = (
        schedule::STOCK_CONFIRM.name,
        app.settings.stock.confirm_cron.clone(),
    );
    let confirm = run_every(app.clone(), name, &cron, stop.clone(), move || {
        let app = tick_app.clone();
        async move { note(&app, name, stock::enqueue_due_looks(&app).await) }
    });
    let tick_app = app.clone();
    let (name, cron) = (
        schedule::STOCK_RECONCILE.name,
        app.settings.stock.reconcile_cron.clone(),
    );
    let reconcile = run_every(app.clone(), name, &cron, stop.clone(), move || {
        let app = tick_app.clone();
        async move { note(&app, name, stock::enqueue_comparisons(&app).await) }
    });
    let tick_app = app.clone();
    let (name, cron) = (
        schedule::STOCK_JANITOR.name,
        schedule::STOCK_JANITOR.default_cron,
    );
    let janitor = run_every(app, name, cron, stop, move || {
        let app = tick_app.clone();
        async move { note(&app, name, stock::clear_up_stock(&app).await) }
    });
    let (push, confirm, reconcile, janitor) = tokio::join!(push, confirm, reconcile, janitor);
    [push, confirm, reconcile, janitor]
}

async fn push_tick(app: &App, stop: &CancellationToken) {
    pass_by_pass::<PushStock, _, _>(app, stop, schedule::STOCK_PUSH.name, || async {
        let pass = stock::enqueue_due_stock(app).await?;
        Ok::<_, stock::Error>(pass.is_cut_short)
    })
    .await;
}

/// Logs that the work of a tick failed; the next one does it.
fn note<T>(app: &App, name: &'static str, outcome: Result<T, stock::Error>) {
    if let Err(error) = outcome {
        error!(event = "scheduler_failed", schedule = name, %error, "the `{name}` pass failed");
        app.metrics.pass_failed(name);
    }
}
