//! What [`PushStock`] does, top to bottom.
//!
//! It takes the lease of the store, and until nothing is due or its time is over: looks whether
//! the marketplace may be told something ([`gates`](super::gates)), takes the rows that are due,
//! reads the newest quantities, decides what becomes of each row ([`compose`](super::compose)),
//! writes the push, sends it ([`send`](super::send)), and writes what came of it
//! ([`settle`](super::settle)).
//!
//! It may always run twice: the lease lets one run in, a push is written only by the run that
//! holds it, and a row is closed only if nobody enqueued its product since it was taken. What is
//! due is in the rows, so a run that dies, or a job that is lost, costs a minute. What it sent is
//! an absolute quantity, so sending it once more does no harm.
//!
//! A store that is switched off has its rows closed instead; becoming live again, it is resynced.
//! One that only tries it out does everything but the request.

use std::time::Duration;

use jobs::{Job, PushStock, QueueError, StoreId};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::abandon::abandon_earlier;
use super::error::Error;
use super::gates::{Closed, Rules, UNKNOWN_COUNTS_FOR};
use super::model::{GateReason, PushMode};
use super::offline::skip_rows;
use super::queries::gates::{free_push_slot, limits, push_lease};
use super::queries::settings::store_row;
use super::run::{Ended, Run, UNABLE, Way, close};
use super::settings::stock_store;
use crate::App;
use crate::lease::{Lease, LeaseTimes};
use crate::marketplace;
use crate::metrics::{JobOutcome, StoreLabel};
use crate::schedule::slots;

/// How long orders may be imported before quantities are told.
const IMPORT_TIME: Duration = Duration::from_secs(15);

/// Runs the job: tells the marketplace of a store what is due, unless another run is at it.
pub(crate) async fn push_stock(
    app: &App,
    job: PushStock,
    stop: &CancellationToken,
) -> Result<JobOutcome, Error> {
    let started = Instant::now();
    let store_id = job.store_id;
    if !app.settings.stock.enabled {
        debug!(event = "stock_push_disabled", storeId = %store_id, "`STOCK_PUSH_ENABLED` is off");
        free_slot(app, store_id).await?;
        return Ok(JobOutcome::Skipped);
    }
    import_orders(app, store_id, stop).await;
    let token = app.ids.new_id(app.clock.now());
    let ttl = app.settings.stock.lease;
    let times = LeaseTimes {
        ttl,
        renew_every: ttl / 4,
    };
    let lease = Lease::take(&app.db, push_lease(), store_id.0, token, &app.clock, times).await?;
    let Some(lease) = lease else {
        return skip(app, store_id).await;
    };
    // A request on its way is always seen to its end, also by a run that lost its lease: only then
    // is it known that nothing of it comes later.
    let outcome = run(app, store_id, &lease, stop).await;
    if matches!(outcome, Err(Error::LeaseLost)) {
        warn!(event = "stock_lease_lost", storeId = %store_id, "store {store_id} is another run's by now");
        return Ok(JobOutcome::LockLost);
    }
    if let Err(error) = lease.release().await {
        warn!(%error, storeId = %store_id, "failed to release the lease of store {store_id}");
    }
    let ended = outcome?;
    if ended.has_backlog {
        enqueue_again(app, store_id).await;
    }
    info!(
        event = "stock_push_completed",
        queue = PushStock::QUEUE,
        jobId = job.identity(),
        storeId = %store_id,
        requests = ended.requests,
        items = ended.items,
        gate = ended.closed.map(|closed| closed.reason.as_str()),
        hasBacklog = ended.has_backlog,
        durationMs = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "pushed the stock of store {store_id}"
    );
    Ok(JobOutcome::Completed)
}

/// Lets the next tick enqueue a store that no run holds.
pub(crate) async fn free_slot(app: &App, store_id: StoreId) -> Result<(), Error> {
    let mut tx = app.db.write().await?;
    free_push_slot(&mut tx, store_id, app.clock.now()).await?;
    tx.save().await?;
    Ok(())
}

/// Imports the orders of the store that are due, as far as there is time: what is told afterwards
/// knows of them.
async fn import_orders(app: &App, store_id: StoreId, stop: &CancellationToken) {
    let soon = stop.child_token();
    let mut import = Box::pin(marketplace::import_due_orders(app, store_id, &soon));
    let in_time = timeout(IMPORT_TIME, &mut import).await;
    let outcome = if let Ok(outcome) = in_time {
        outcome
    } else {
        soon.cancel();
        import.await
    };
    if let Err(error) = outcome {
        warn!(%error, storeId = %store_id, "failed to import orders of store {store_id} before its stock was pushed");
    }
}

/// Enqueues a store that has more due than a run sends. Best effort: the next tick does it, too.
pub(super) async fn enqueue_again(app: &App, store_id: StoreId) {
    let enqueued = slots::enqueue::<PushStock>(app, &[store_id]).await;
    let error = match enqueued.map(|enqueued| enqueued.pushed) {
        Ok(Ok(()) | Err(QueueError::Full { .. })) => return,
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    warn!(storeId = %store_id, error, "failed to enqueue the stock of store {store_id}; the next tick does");
}

/// The lease was not to be had.
async fn skip(app: &App, store_id: StoreId) -> Result<JobOutcome, Error> {
    let mut tx = app.db.read().await?;
    let store = store_row(&mut tx, store_id).await?;
    tx.save().await?;
    match store {
        Some(store) => {
            let marketplace = store.marketplace;
            app.metrics.stock.lease_conflict(StoreLabel {
                store_id,
                marketplace,
            });
            info!(event = "stock_lease_held", storeId = %store_id, "the stock of store {store_id} is being pushed already");
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
    let now = app.clock.now();
    let mut tx = app.db.read().await?;
    let store = stock_store(app, &mut tx, store_id).await?;
    let limits = limits(&mut tx, store_id, now - UNKNOWN_COUNTS_FOR).await?;
    tx.save().await?;
    let (Some(store), Some(limits)) = (store, limits) else {
        warn!(event = "store_not_found", storeId = %store_id, "store {store_id} does not exist any more");
        return Ok(Ended::default());
    };
    let is_on = store.is_active && store.send_stock && store.push_mode != PushMode::Off;
    if !is_on {
        let has_backlog = skip_rows(app, store_id, lease, &limits, stop).await?;
        return Ok(Ended {
            has_backlog,
            ..Ended::default()
        });
    }
    let Some(adapter) = app.adapters.get(store.shop.marketplace) else {
        let until = now + UNABLE;
        let closed = Closed {
            reason: GateReason::AdapterMissing,
            until,
        };
        warn!(event = "stock_adapter_missing", storeId = %store_id, marketplace = %store.shop.marketplace, "there is no adapter for {}", store.shop.marketplace);
        close(app, &store, lease, &limits, closed, &[]).await?;
        return Ok(Ended {
            closed: Some(closed),
            ..Ended::default()
        });
    };
    let rules = Rules::of(&app.settings.stock, &store, adapter.manners());
    let mut run = Run {
        app,
        lease,
        stop,
        store,
        adapter,
        rules,
        limits,
        has_sent: false,
        started: Instant::now(),
        ended: Ended::default(),
    };
    if run.limits.abandoned > 0 {
        abandon_earlier(&mut run).await?;
    }
    if run.store.push_mode == PushMode::DryRun {
        run.until_nothing_is_due(Way::Rehearse).await?;
    } else if run.adapter.has_credentials(&run.store.shop) {
        run.until_nothing_is_due(Way::Send).await?;
    } else {
        run.lacks_credentials().await?;
    }
    Ok(run.ended)
}
