//! What the ticks of this domain enqueue: a run for every store with something due, a look for
//! every push whose results may be there, a comparison for every live store.
//!
//! A tick never works. It pages through what is due, takes the enqueue slots
//! ([`crate::schedule::slots`]), and pushes the jobs. What a full queue does not take stays rows,
//! and the next pass goes on where this one was cut short.
//!
//! The `stock-push` tick also puts rows that have waited for too long first in line, in bounded
//! steps, and tells whose they are. They are never dropped, and never hidden from a run.

use std::collections::HashSet;
use std::time::Instant;

use chrono::{DateTime, Utc};
use jobs::{ConfirmStockPush, PushId, PushStock, QueueError, ReconcileStock, StoreId};
use serde::Serialize;
use serde_json::json;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::error::Error;
use super::events::{announce, tell};
use super::queries::confirm;
use super::queries::reconcile::request_of_live_stores;
use super::queries::schedule::{self as queries, Look};
use super::resync::enqueue_requested_resyncs;
use crate::App;
use crate::db::Tx;
use crate::schedule::slots::{self, Slotted};
use crate::schedule::{self, Position};
use crate::webhooks::EventType;

/// Stores a page.
const PAGE: usize = 500;
/// Rows that are put first in line at once …
const AGED_AT_ONCE: i64 = 1000;
/// … and how often; the rest waits for the next tick.
const AGING_STEPS: usize = 50;
/// Pushes that are enqueued at once.
const HANDFUL: i64 = 200;
/// How often.
const HANDFULS: usize = 50;

/// What a pass did; also its log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StockPass {
    /// Stores, or pushes, that something is due of.
    pub scanned: u64,
    /// Jobs put into the queue.
    pub enqueued_jobs: u64,
    /// Rows that have waited for too long, and are first in line now.
    pub aged_rows: u64,
    /// The queue was full before the end.
    pub is_cut_short: bool,
}

/// One pass over all stores: what is due is enqueued.
pub async fn enqueue_due_stock(app: &App) -> Result<StockPass, Error> {
    let started = Instant::now();
    if !app.settings.stock.enabled {
        debug!(event = "stock_push_disabled", "`STOCK_PUSH_ENABLED` is off");
        return Ok(StockPass::default());
    }
    slots::free_slots_of_lost_queue::<PushStock>(app).await?;
    slots::free_slots_of_lost_queue::<ReconcileStock>(app).await?;
    enqueue_requested_resyncs(app).await?;
    let mut pass = StockPass {
        aged_rows: age_rows(app).await?,
        ..StockPass::default()
    };
    let name = jobs::schedule::STOCK_PUSH.name;
    let stopped_at = see_all(app, schedule::position(&app.db, name).await?, &mut pass).await?;
    pass.is_cut_short = stopped_at.is_some();
    schedule::set_position(&app.db, name, stopped_at).await?;
    info!(
        event = "stock_scheduler_run",
        scannedStores = pass.scanned,
        enqueuedJobs = pass.enqueued_jobs,
        agedRows = pass.aged_rows,
        isCutShort = pass.is_cut_short,
        "enqueued {} jobs of {} stores with due stock",
        pass.enqueued_jobs,
        pass.scanned
    );
    app.metrics
        .pass(name, started.elapsed(), pass.enqueued_jobs);
    Ok(pass)
}

/// Puts rows that have waited for too long first in line; tells how many.
async fn age_rows(app: &App) -> Result<u64, Error> {
    let mut aged = 0;
    for _ in 0..AGING_STEPS {
        let now = app.clock.now();
        let before = now - app.settings.stock.queue_ttl;
        let mut tx = app.db.write().await?;
        let stores = queries::age_rows(&mut tx, before, now, AGED_AT_ONCE).await?;
        tx.save().await?;
        aged += count(stores.len());
        if count(stores.len()) < AGED_AT_ONCE.unsigned_abs() {
            break;
        }
    }
    Ok(aged)
}

/// From where the last pass was cut short to the end; tells where this one was.
async fn see_all(
    app: &App,
    start: Option<Position>,
    pass: &mut StockPass,
) -> Result<Option<Position>, Error> {
    let mut after = start.unwrap_or(Position::BEGINNING);
    loop {
        let now = app.clock.now();
        let overdue = now - app.settings.stock.queue_ttl;
        let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
        let mut tx = app.db.read().await?;
        let place = (after.created_at, after.id);
        let stores = queries::looks(&mut tx, place, overdue, now, limit).await?;
        tx.save().await?;
        tell_delayed(app, &stores, now).await?;
        let ids = |is_wanted: fn(&Look) -> bool| -> Vec<StoreId> {
            stores
                .iter()
                .filter(|look| is_wanted(look))
                .map(|look| look.id)
                .collect()
        };
        let due = ids(|look| look.is_due);
        pass.scanned += count(due.len());
        let is_over = enqueue::<PushStock>(app, &due, pass).await?
            && enqueue::<ReconcileStock>(app, &ids(|look| look.is_to_be_reconciled), pass).await?;
        if !is_over {
            return Ok(Some(after));
        }
        match stores.last() {
            Some(last) if stores.len() == PAGE => {
                after = Position {
                    created_at: last.created_at,
                    id: last.id.0,
                };
            }
            _ => return Ok(None),
        }
    }
}

/// Tells whose rows have waited for too long.
async fn tell_delayed(app: &App, stores: &[Look], now: DateTime<Utc>) -> Result<(), Error> {
    for store in stores.iter().filter(|store| store.is_delayed) {
        let ttl = app.settings.stock.queue_ttl.num_seconds();
        let data = json!({ "waitsForMoreThanSeconds": ttl });
        let of = (store.organization_id.as_str(), store.id);
        let mut tx = app.db.write().await?;
        let told = tell(app, &mut tx, of, EventType::StockPushDelayed, data, now).await?;
        tx.save().await?;
        if let Some(recorded) = told {
            warn!(event = "stock_push_delayed", storeId = %store.id, "stock of store {} has waited for more than {ttl} s", store.id);
            announce(app, vec![recorded]).await;
        }
    }
    Ok(())
}

/// Takes the slots of jobs and pushes those whose slot was free; tells whether the queue took them.
async fn enqueue<J: Slotted>(
    app: &App,
    ids: &[J::Id],
    pass: &mut StockPass,
) -> Result<bool, Error> {
    if ids.is_empty() {
        return Ok(true);
    }
    let enqueued = slots::enqueue::<J>(app, ids).await?;
    match enqueued.pushed {
        Ok(()) => {
            pass.enqueued_jobs += count(enqueued.claimed.len());
            Ok(true)
        }
        Err(QueueError::Full { .. }) => {
            debug!(
                event = "queue_full",
                queue = J::QUEUE,
                "the queue is full; the rest waits as rows"
            );
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// One pass over all pushes whose next look is due.
pub async fn enqueue_due_looks(app: &App) -> Result<StockPass, Error> {
    let started = Instant::now();
    slots::free_slots_of_lost_queue::<ConfirmStockPush>(app).await?;
    let mut pass = StockPass::default();
    for _ in 0..HANDFULS {
        let mut tx = app.db.read().await?;
        let due = confirm::due_looks(&mut tx, app.clock.now(), HANDFUL).await?;
        tx.save().await?;
        pass.scanned += count(due.len());
        // A full queue is met again in three seconds.
        if !enqueue::<ConfirmStockPush>(app, &due, &mut pass).await?
            || count(due.len()) < HANDFUL.unsigned_abs()
        {
            break;
        }
    }
    if pass.scanned > 0 {
        debug!(
            event = "stock_confirm_scheduler_run",
            scannedPushes = pass.scanned,
            enqueuedJobs = pass.enqueued_jobs,
            "enqueued looks at {} pushes",
            pass.enqueued_jobs
        );
    }
    let name = jobs::schedule::STOCK_CONFIRM.name;
    app.metrics
        .pass(name, started.elapsed(), pass.enqueued_jobs);
    Ok(pass)
}

/// Asks for every live store to be compared with its marketplace, and enqueues that.
pub async fn enqueue_comparisons(app: &App) -> Result<StockPass, Error> {
    let started = Instant::now();
    let mut pass = StockPass::default();
    let mut after = StoreId(Uuid::nil());
    let mut is_taken = true;
    loop {
        let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
        let mut tx = app.db.write().await?;
        let stores = request_of_live_stores(&mut tx, after, limit, app.clock.now()).await?;
        tx.save().await?;
        pass.scanned += count(stores.len());
        // What the queue does not take, the stock-push tick brings.
        is_taken = is_taken && enqueue::<ReconcileStock>(app, &stores, &mut pass).await?;
        match stores.iter().max_by_key(|store| store.0) {
            Some(last) if stores.len() == PAGE => after = *last,
            _ => break,
        }
    }
    info!(
        event = "stock_reconcile_scheduler_run",
        scannedStores = pass.scanned,
        enqueuedJobs = pass.enqueued_jobs,
        "enqueued the comparison of {} stores",
        pass.enqueued_jobs
    );
    let name = jobs::schedule::STOCK_RECONCILE.name;
    app.metrics
        .pass(name, started.elapsed(), pass.enqueued_jobs);
    Ok(pass)
}

fn count(things: usize) -> u64 {
    u64::try_from(things).unwrap_or(u64::MAX)
}

impl Slotted for PushStock {
    type Id = StoreId;
    const ROWS: &'static str = "stores with stock";

    fn of(store_id: StoreId) -> Self {
        Self { store_id }
    }

    async fn claim_slots(
        tx: &mut Tx,
        stores: &[StoreId],
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> sqlx::Result<HashSet<StoreId>> {
        queries::claim_push_slots(tx, stores, until, now).await
    }

    async fn move_slots(
        tx: &mut Tx,
        stores: &[StoreId],
        from: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> sqlx::Result<()> {
        queries::move_push_slots(tx, stores, from, until).await
    }

    async fn free_all_slots(tx: &mut Tx, now: DateTime<Utc>) -> sqlx::Result<u64> {
        queries::free_all_push_slots(tx, now).await
    }
}

impl Slotted for ReconcileStock {
    type Id = StoreId;
    const ROWS: &'static str = "comparisons";

    fn of(store_id: StoreId) -> Self {
        Self { store_id }
    }

    async fn claim_slots(
        tx: &mut Tx,
        stores: &[StoreId],
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> sqlx::Result<HashSet<StoreId>> {
        queries::claim_reconcile_slots(tx, stores, until, now).await
    }

    async fn move_slots(
        tx: &mut Tx,
        stores: &[StoreId],
        from: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> sqlx::Result<()> {
        queries::move_reconcile_slots(tx, stores, from, until).await
    }

    async fn free_all_slots(tx: &mut Tx, now: DateTime<Utc>) -> sqlx::Result<u64> {
        queries::free_all_reconcile_slots(tx, now).await
    }
}

impl Slotted for ConfirmStockPush {
    type Id = PushId;
    const ROWS: &'static str = "pushes";

    fn of(push_id: PushId) -> Self {
        Self { push_id }
    }

    async fn claim_slots(
        tx: &mut Tx,
        pushes: &[PushId],
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> sqlx::Result<HashSet<PushId>> {
        confirm::claim_slots(tx, pushes, until, now).await
    }

    async fn move_slots(
        tx: &mut Tx,
        pushes: &[PushId],
        from: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> sqlx::Result<()> {
        confirm::move_slots(tx, pushes, from, until).await
    }

    async fn free_all_slots(tx: &mut Tx, now: DateTime<Utc>) -> sqlx::Result<u64> {
        confirm::free_all_slots(tx, now).await
    }
}
