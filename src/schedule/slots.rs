//! Enqueue slots: of the jobs of one identity, one waits or runs at a time.
//!
//! A slot is a column of the row that the job is about ([`Slotted`]), taken and freed by
//! conditional updates, so that "waiting or running already" is known whatever the transport. It
//! is short until the job is in the queue, so that a crash in between costs seconds; then it
//! lasts until the job ends, or [`SLOT`] at most. Where few jobs wait, the slot
//! of one that starts soon stays short, which saves a write. When the queue was lost, which its epoch
//! tells, all slots are free again.

use std::collections::HashSet;
use std::hash::Hash;

use chrono::{DateTime, TimeDelta, Utc};
use jobs::{Job, QueueError};
use tracing::warn;

use super::queries::note_epoch;
use crate::App;
use crate::db::Tx;

/// How long a slot lasts while its job is on the way into the queue.
pub(crate) const SLOT_BEFORE_PUSH: TimeDelta = TimeDelta::seconds(30);
/// How long a slot lasts while its job waits; longer than a full queue takes to drain.
const SLOT: TimeDelta = TimeDelta::minutes(15);

/// So few jobs are begun before such a short slot ends, as a rule: one that is not is enqueued once
/// more by the next tick, and the queue has it already.
const FEW: u64 = 512;

/// A job whose row has an enqueue slot. The statements are of the row's domain.
pub(crate) trait Slotted: Job {
    /// Of the row.
    type Id: Copy + Eq + Hash + Send + Sync;
    /// What its queue waits for, in words.
    const ROWS: &'static str;

    /// The job of a row.
    fn of(id: Self::Id) -> Self;

    /// Takes the slots of these rows until `until`; returns the ones that were free.
    fn claim_slots(
        tx: &mut Tx,
        ids: &[Self::Id],
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> impl Future<Output = sqlx::Result<HashSet<Self::Id>>> + Send;

    /// Moves the slots that were claimed until `from`, and no others.
    fn move_slots(
        tx: &mut Tx,
        ids: &[Self::Id],
        from: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Frees the slots of all rows whose job does not run.
    fn free_all_slots(
        tx: &mut Tx,
        now: DateTime<Utc>,
    ) -> impl Future<Output = sqlx::Result<u64>> + Send;
}

/// What became of jobs that were to be enqueued.
#[derive(Debug)]
pub(crate) struct Enqueued<Id> {
    /// The rows whose slot was free.
    pub(crate) claimed: Vec<Id>,
    /// Whether their jobs are in the queue; if not, the slots are free again.
    pub(crate) pushed: Result<(), QueueError>,
}

/// Takes the slots of rows, pushes the jobs whose slot was free, and keeps the slots.
pub(crate) async fn enqueue<J: Slotted>(app: &App, ids: &[J::Id]) -> sqlx::Result<Enqueued<J::Id>> {
    let now = app.clock.now();
    let until = now + SLOT_BEFORE_PUSH;
    let mut tx = app.db.write().await?;
    let free = J::claim_slots(&mut tx, ids, until, now).await?;
    tx.save().await?;
    let is_free = |id: &J::Id| free.contains(id);
    let claimed: Vec<J::Id> = ids.iter().copied().filter(is_free).collect();
    let pushed = push_claimed::<J>(app, &claimed, until).await?;
    Ok(Enqueued { claimed, pushed })
}

/// Pushes the jobs of rows whose slots were claimed until `claimed_until`, and keeps the slots,
/// or frees them when the queue does not take the jobs.
pub(crate) async fn push_claimed<J: Slotted>(
    app: &App,
    ids: &[J::Id],
    claimed_until: DateTime<Utc>,
) -> sqlx::Result<Result<(), QueueError>> {
    if ids.is_empty() {
        return Ok(Ok(()));
    }
    let jobs: Vec<J> = ids.iter().copied().map(J::of).collect();
    let pushed = app.queue.push(&jobs).await.map(|_waiting| ());
    let now = app.clock.now();
    let until = if pushed.is_ok() { now + SLOT } else { now };
    let mut tx = app.db.write().await?;
    J::move_slots(&mut tx, ids, claimed_until, until).await?;
    tx.save().await?;
    Ok(pushed)
}

/// The same for jobs that start soon, unless many wait: then their slots stay as short as they
/// are, which saves a write.
pub(crate) async fn push_to_start<J: Slotted>(
    app: &App,
    ids: &[J::Id],
    claimed_until: DateTime<Utc>,
) -> sqlx::Result<Result<(), QueueError>> {
    let jobs: Vec<J> = ids.iter().copied().map(J::of).collect();
    let now = app.clock.now();
    let (until, pushed) = match app.queue.push(&jobs).await {
        Ok(waiting) if waiting <= FEW => return Ok(Ok(())),
        Ok(_) => (now + SLOT, Ok(())),
        Err(error) => (now, Err(error)),
    };
    let mut tx = app.db.write().await?;
    J::move_slots(&mut tx, ids, claimed_until, until).await?;
    tx.save().await?;
    Ok(pushed)
}

/// When Redis was flushed, what the slots stand for is gone.
pub(crate) async fn free_slots_of_lost_queue<J: Slotted>(app: &App) -> sqlx::Result<()> {
    let epoch = match app.queue.epoch().await {
        Ok(epoch) => epoch,
        // The pass itself tells what cannot be enqueued.
        Err(error) => {
            warn!(%error, "the queue does not answer");
            return Ok(());
        }
    };
    let mut tx = app.db.write().await?;
    if note_epoch(&mut tx, J::QUEUE, epoch).await? {
        let freed = J::free_all_slots(&mut tx, app.clock.now()).await?;
        if freed > 0 {
            warn!(
                event = "queue_lost",
                queue = J::QUEUE,
                freed,
                "the queue was lost: {freed} {} can be enqueued again",
                J::ROWS
            );
        }
    }
    tx.save().await
}
