//! What a `sync` tick enqueues: one [`SyncStore`] for every store that has something due.
//!
//! A tick never works. It pages through the due stores, takes their enqueue slots
//! ([`crate::schedule::slots`]) and pushes the jobs. When the queue is full the rest stays rows,
//! and the next pass goes on where this one stopped, so that nobody starves.

use std::collections::HashSet;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use jobs::{Job, QueueError, StoreId, SyncStore};
use serde::Serialize;
use tracing::{debug, error, info};

use super::error::Error;
use super::queries::schedule::{
    DueAt, DueStore, claim_slots, due_stores, free_all_slots, move_slots,
};
use crate::App;
use crate::db::Tx;
use crate::schedule::slots::{self, Slotted};
use crate::schedule::{self, Position};

/// Stores a page.
const PAGE: u32 = 100;
/// A row that has been due for so long beats the throttle.
const OVERDUE: TimeDelta = TimeDelta::minutes(10);

/// What a pass did; also its log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pass {
    /// Stores seen that have something due.
    pub scanned_stores: u64,
    /// Jobs put into the queue.
    pub enqueued_jobs: u64,
    /// Jobs that could not be put into the queue.
    pub failed_jobs: u64,
    /// The queue was full before the end.
    pub is_cut_short: bool,
}

/// What became of a page.
enum Page {
    Done,
    QueueFull,
    QueueFailed,
}

/// One pass over all due stores.
pub async fn enqueue_due_stores(app: &App) -> Result<Pass, Error> {
    let started = Instant::now();
    slots::free_slots_of_lost_queue::<SyncStore>(app).await?;
    let start = schedule::position(&app.db, jobs::schedule::SYNC.name).await?;
    let mut pass = Pass::default();
    let mut after = start.unwrap_or(Position::BEGINNING);
    // From where the last pass was cut short to the end, then from the beginning to there.
    let mut wraps = start.is_some();
    let mut stopped_at = None;
    loop {
        let room = app.queue.room::<SyncStore>().await;
        let limit = page_size(&room);
        let stores = page(app, after, (!wraps).then_some(start).flatten(), limit).await?;
        let last = stores.last().map(|store| Position {
            created_at: store.created_at,
            id: store.id.0,
        });
        pass.scanned_stores += u64::try_from(stores.len()).unwrap_or_default();
        match enqueue(app, &stores, room, &mut pass).await? {
            Page::Done => {}
            Page::QueueFull => {
                pass.is_cut_short = true;
                stopped_at = Some(after);
                break;
            }
            Page::QueueFailed => break,
        }
        match last {
            Some(last) if stores.len() == limit as usize => after = last,
            _ if wraps => (wraps, after) = (false, Position::BEGINNING),
            _ => break,
        }
    }
    schedule::set_position(&app.db, jobs::schedule::SYNC.name, stopped_at).await?;
    info!(
        event = "scheduler_run",
        scannedStores = pass.scanned_stores,
        enqueuedJobs = pass.enqueued_jobs,
        isCutShort = pass.is_cut_short,
        "enqueued {} of {} due stores",
        pass.enqueued_jobs,
        pass.scanned_stores
    );
    let name = jobs::schedule::SYNC.name;
    app.metrics
        .pass(name, started.elapsed(), pass.enqueued_jobs);
    Ok(pass)
}

/// As many stores as the queue has room for; one, to see whether it is needed, when it is full.
fn page_size(room: &Result<usize, QueueError>) -> u32 {
    let room = room
        .as_ref()
        .map_or(PAGE, |room| u32::try_from(*room).unwrap_or(PAGE));
    room.clamp(1, PAGE)
}

async fn page(
    app: &App,
    after: Position,
    until: Option<Position>,
    limit: u32,
) -> Result<Vec<DueStore>, Error> {
    let now = app.clock.now();
    let due = DueAt {
        now,
        throttle: now - app.settings.sync.throttle,
        overdue: now - OVERDUE,
    };
    let mut tx = app.db.read().await?;
    let mut stores = due_stores(&mut tx, (after.created_at, after.id), due, limit).await?;
    tx.save().await?;
    if let Some(until) = until {
        stores.retain(|store| (store.created_at, store.id.0) <= (until.created_at, until.id));
    }
    Ok(stores)
}

/// Takes the slots of a page, pushes the jobs whose slot was free, and keeps the slots.
async fn enqueue(
    app: &App,
    stores: &[DueStore],
    room: Result<usize, QueueError>,
    pass: &mut Pass,
) -> Result<Page, Error> {
    if stores.is_empty() {
        return Ok(Page::Done);
    }
    let room = match room {
        Ok(room) => room,
        Err(error) => {
            let ids: Vec<StoreId> = stores.iter().map(|store| store.id).collect();
            log_failure(&ids, &error, pass);
            return Ok(Page::QueueFailed);
        }
    };
    if room < stores.len() {
        debug!(
            event = "queue_full",
            queue = SyncStore::QUEUE,
            "the queue is full; the rest waits as rows"
        );
        return Ok(Page::QueueFull);
    }
    let ids: Vec<StoreId> = stores.iter().map(|store| store.id).collect();
    let enqueued = slots::enqueue::<SyncStore>(app, &ids).await?;
    let claimed = enqueued.claimed;
    log_already_enqueued(&ids, &claimed.iter().copied().collect());
    match enqueued.pushed {
        Ok(()) => {
            pass.enqueued_jobs += u64::try_from(claimed.len()).unwrap_or_default();
            Ok(Page::Done)
        }
        Err(QueueError::Full { .. }) => Ok(Page::QueueFull),
        Err(error) => {
            log_failure(&claimed, &error, pass);
            Ok(Page::QueueFailed)
        }
    }
}

impl Slotted for SyncStore {
    type Id = StoreId;
    const ROWS: &'static str = "stores";

    fn of(store_id: StoreId) -> Self {
        Self { store_id }
    }

    async fn claim_slots(
        tx: &mut Tx,
        stores: &[StoreId],
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> sqlx::Result<HashSet<StoreId>> {
        claim_slots(tx, stores, until, now).await
    }

    async fn move_slots(
        tx: &mut Tx,
        stores: &[StoreId],
        from: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> sqlx::Result<()> {
        move_slots(tx, stores, from, until).await
    }

    async fn free_all_slots(tx: &mut Tx, now: DateTime<Utc>) -> sqlx::Result<u64> {
        free_all_slots(tx, now).await
    }
}

fn log_already_enqueued(ids: &[StoreId], claimed: &HashSet<StoreId>) {
    for store_id in ids.iter().filter(|id| !claimed.contains(id)) {
        let job_id = SyncStore {
            store_id: *store_id,
        }
        .identity();
        info!(event = "already_enqueued", storeId = %store_id, jobId = job_id, "store {store_id} waits or runs already");
    }
}

fn log_failure(ids: &[StoreId], error: &QueueError, pass: &mut Pass) {
    pass.failed_jobs += u64::try_from(ids.len()).unwrap_or_default();
    for store_id in ids {
        let job_id = SyncStore {
            store_id: *store_id,
        }
        .identity();
        error!(event = "enqueue_failed", storeId = %store_id, jobId = job_id, %error, "failed to enqueue store {store_id}");
    }
}
