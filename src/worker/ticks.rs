//! One list: which handler runs a tick.
//!
//! | tick | handler |
//! |---|---|
//! | `sync` | [`marketplace::enqueue_due_stores`] |
//! | `callback` | [`webhooks::enqueue_due_events`] |
//! | `housekeeping` | [`tidy_up`] |
//! | `stock-push` | [`stock::enqueue_due_stock`](crate::stock::enqueue_due_stock) |
//! | `stock-confirm` | [`stock::enqueue_due_looks`](crate::stock::enqueue_due_looks) |
//! | `stock-reconcile` | [`stock::enqueue_comparisons`](crate::stock::enqueue_comparisons) |
//! | `stock-janitor` | [`stock::clear_up_stock`](crate::stock::clear_up_stock) |

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use jobs::{DeliverCallback, Job, SyncStore, schedule};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::stock;
use crate::App;
use crate::marketplace;
use crate::schedule::housekeeping::tidy_up;
use crate::schedule::tick::run_every;
use crate::webhooks;

/// How often a pass that met a full queue looks for room.
const LOOK_FOR_ROOM: Duration = Duration::from_millis(200);

/// Fires ticks until `stop` fires.
pub(crate) async fn run_ticks(app: Arc<App>, stop: CancellationToken) {
    let (sync_app, sync_stop) = (app.clone(), stop.clone());
    let cron = app.settings.sync.cron.clone();
    let sync = schedule::SYNC.name;
    let sync = run_every(app.clone(), sync, &cron, stop.clone(), move || {
        let (app, stop) = (sync_app.clone(), sync_stop.clone());
        async move { sync_tick(&app, &stop).await }
    });
    let (callback_app, callback_stop) = (app.clone(), stop.clone());
    let cron = app.settings.callback.cron.clone();
    let callback = schedule::CALLBACK.name;
    let callback = run_every(app.clone(), callback, &cron, stop.clone(), move || {
        let (app, stop) = (callback_app.clone(), callback_stop.clone());
        async move { callback_tick(&app, &stop).await }
    });
    let tidy_app = app.clone();
    let cron = schedule::HOUSEKEEPING.default_cron;
    let name = schedule::HOUSEKEEPING.name;
    let housekeeping = run_every(app.clone(), name, cron, stop.clone(), move || {
        let app = tidy_app.clone();
        async move { tidy_up(&app).await }
    });
    let stock = stock::run_ticks(app, stop);
    let (sync, callback, housekeeping, stock) = tokio::join!(sync, callback, housekeeping, stock);
    let ended = [sync, callback, housekeeping].into_iter().chain(stock);
    for error in ended.filter_map(Result::err) {
        error!(event = "schedule_failed", %error, "a schedule ended");
    }
}

async fn sync_tick(app: &App, stop: &CancellationToken) {
    pass_by_pass::<SyncStore, _, _>(app, stop, schedule::SYNC.name, || async {
        let pass = marketplace::enqueue_due_stores(app).await?;
        Ok::<_, marketplace::Error>(pass.is_cut_short)
    })
    .await;
}

async fn callback_tick(app: &App, stop: &CancellationToken) {
    pass_by_pass::<DeliverCallback, _, _>(app, stop, schedule::CALLBACK.name, || async {
        let pass = webhooks::enqueue_due_events(app).await?;
        Ok::<_, sqlx::Error>(pass.is_cut_short)
    })
    .await;
}

/// A pass, and further ones as the queue drains, until everything that is due was enqueued.
pub(super) async fn pass_by_pass<J: Job, F, E: Display>(
    app: &App,
    stop: &CancellationToken,
    name: &'static str,
    pass: impl Fn() -> F,
) where
    F: Future<Output = Result<bool, E>>,
{
    loop {
        match pass().await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                error!(event = "scheduler_failed", schedule = name, %error, "the `{name}` pass failed");
                app.metrics.pass_failed(name);
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
            match app.queue.room::<J>().await {
                Ok(room) if room >= app.queue.max_depth() / 2 => break,
                Ok(_) => {}
                // The next tick tells whether the queue is back.
                Err(_) => return,
            }
        }
    }
}
