//! What a `sync` tick enqueues: one [`SyncStore`] for every store that has something due.
//!
//! A tick never works. It pages through the due stores, takes the enqueue slots
//! ([`crate::schedule::slots`]) of as many as the queue takes, organizations in turns
//! ([`super::turns`]), and pushes the jobs. The rest stays rows, and the next pass goes on with
//! those that this one left, so that nobody starves.

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
use super::turns::{Turns, goes_on_at};
use crate::App;
use crate::db::Tx;
use crate::schedule::slots::{self, Slotted};
use crate::schedule::{self, Position};

/// Stores a page.
const PAGE: usize = 500;
/// Stores that are enqueued at once.
const HANDFUL: usize = 100;
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

/// What became of jobs that were to be enqueued.
enum Handed {
    Over,
    QueueFull,
    QueueFailed,
}

/// One pass over all due stores.
pub async fn enqueue_due_stores(app: &App) -> Result<Pass, Error> {
    let started = Instant::now();
    slots::free_slots_of_lost_queue::<SyncStore>(app).await?;
    let name = jobs::schedule::SYNC.name;
    let start = schedule::position(&app.db, name).await?;
    let mut pass = Pass::default();
    let stopped_at = match app.queue.room::<SyncStore>().await {
        Ok(room) => {
            let turns = see_all(app, start, room, &mut pass).await?;
            enqueue(app, turns, &mut pass).await?
        }
        Err(error) => {
            let stores = page(app, Position::BEGINNING, None).await?;
            pass.scanned_stores = count(stores.len());
            let ids: Vec<StoreId> = stores.iter().map(|store| store.id).collect();
            log_failure(&ids, &error, &mut pass);
            None
        }
    };
    pass.is_cut_short = stopped_at.is_some();
    schedule::set_position(&app.db, name, stopped_at).await?;
    info!(
        event = "scheduler_run",
        scannedStores = pass.scanned_stores,
        enqueuedJobs = pass.enqueued_jobs,
        isCutShort = pass.is_cut_short,
        "enqueued {} of {} due stores",
        pass.enqueued_jobs,
        pass.scanned_stores
    );
    app.metrics
        .pass(name, started.elapsed(), pass.enqueued_jobs);
    Ok(pass)
}

/// From where the last pass was cut short to the end, then from the beginning to there.
async fn see_all(
    app: &App,
    start: Option<Position>,
    room: usize,
    pass: &mut Pass,
) -> Result<Turns, Error> {
    let mut turns = Turns::new(room);
    let mut after = start.unwrap_or(Position::BEGINNING);
    let mut wraps = start.is_some();
    loop {
        let stores = page(app, after, start.filter(|_| !wraps)).await?;
        pass.scanned_stores += count(stores.len());
        let now = app.clock.now();
        for store in &stores {
            if store.enqueued_until.is_some_and(|until| until > now) {
                log_already_enqueued(store.id);
            } else {
                turns.see(store, after);
            }
            after = Position {
                created_at: store.created_at,
                id: store.id.0,
            };
        }
        if room == 0 && !turns.has_room_for_all() {
            // One is enough to know that the queue is too full.
            return Ok(turns);
        }
        match stores.len() {
            PAGE => {}
            _ if wraps => (wraps, after) = (false, Position::BEGINNING),
            _ => return Ok(turns),
        }
    }
}

async fn page(app: &App, after: Position, until: Option<Position>) -> Result<Vec<DueStore>, Error> {
    let now = app.clock.now();
    let due = DueAt {
        now,
        throttle: now - app.settings.sync.throttle,
        overdue: now - OVERDUE,
    };
    let limit = u32::try_from(PAGE).unwrap_or(u32::MAX);
    let mut tx = app.db.read().await?;
    let mut stores = due_stores(&mut tx, (after.created_at, after.id), due, limit).await?;
    tx.save().await?;
    if let Some(until) = until {
        stores.retain(|store| (store.created_at, store.id.0) <= (until.created_at, until.id));
    }
    Ok(stores)
}

/// Enqueues those who are next; tells where the next pass goes on, if the queue did not take all.
async fn enqueue(app: &App, turns: Turns, pass: &mut Pass) -> Result<Option<Position>, Error> {
    let (next, left) = turns.order();
    let mut rest = next.as_slice();
    let (mut most, mut is_full) = (HANDFUL, false);
    while !rest.is_empty() && most > 0 {
        let (handful, others) = rest.split_at(rest.len().min(most));
        let ids: Vec<StoreId> = handful.iter().map(|candidate| candidate.id).collect();
        match hand_over(app, &ids, pass).await? {
            Handed::Over => {
                rest = others;
                if is_full {
                    break;
                }
            }
            Handed::QueueFull if is_full => break,
            // There was more room when the pass began to look at stores.
            Handed::QueueFull => {
                let room = app.queue.room::<SyncStore>().await;
                (most, is_full) = (room.unwrap_or_default().min(HANDFUL), true);
            }
            Handed::QueueFailed => return Ok(None),
        }
    }
    let stopped_at = goes_on_at(left, rest);
    if stopped_at.is_some() {
        debug!(
            event = "queue_full",
            queue = SyncStore::QUEUE,
            "the queue is full; the rest waits as rows"
        );
    }
    Ok(stopped_at)
}

/// Takes the slots of stores, pushes the jobs whose slot was free, and keeps the slots.
async fn hand_over(app: &App, ids: &[StoreId], pass: &mut Pass) -> Result<Handed, Error> {
    let enqueued = slots::enqueue::<SyncStore>(app, ids).await?;
    let claimed = enqueued.claimed;
    for id in ids.iter().filter(|id| !claimed.contains(id)) {
        log_already_enqueued(*id);
    }
    match enqueued.pushed {
        Ok(()) => {
            pass.enqueued_jobs += count(claimed.len());
            Ok(Handed::Over)
        }
        Err(QueueError::Full { .. }) => Ok(Handed::QueueFull),
        Err(error) => {
            log_failure(&claimed, &error, pass);
            Ok(Handed::QueueFailed)
        }
    }
}

fn count(stores: usize) -> u64 {
    u64::try_from(stores).unwrap_or(u64::MAX)
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

fn log_already_enqueued(store_id: StoreId) {
    let job_id = SyncStore { store_id }.identity();
    info!(event = "already_enqueued", storeId = %store_id, jobId = job_id, "store {store_id} waits or runs already");
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
