//! What an operator does with a store: leaves it alone for a while, hurries it, gives its dead
//! letters another chance.
//!
//! A store that is paused is enqueued by no tick and synced by no job; a run that is under way
//! ends with its next batch. What is due stays due, and imports that are asked for by the API
//! are answered as ever. Everything here may be done twice.

use chrono::{DateTime, Utc};
use jobs::{StoreId, SyncStore};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::error::Error;
use super::queries::orders::{self, RowCursor};
use super::queries::{operate as queries, stores};
use super::sync::sync_store;
use crate::App;
use crate::schedule::slots;

/// Receipts that one request makes due.
const BATCH: i64 = 1000;

/// Why a store is not synced.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// It is not there.
    #[error("store not found")]
    StoreNotFound,
    /// Somebody wants it left alone.
    #[error("the store is paused")]
    Paused,
    /// Its marketplace wants to be left in peace.
    #[error("the marketplace wants to be left in peace until {0}")]
    LeftInPeace(DateTime<Utc>),
    /// The database refused, or is away.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

/// What hurrying came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hurried {
    /// Receipts that are due now and were not before.
    pub receipts: u64,
    /// Whether there are more of them.
    pub has_more: bool,
    /// Whether a job was put into the queue; if not, one waits or runs already, the store is
    /// paused, or the next tick does it.
    pub is_enqueued: bool,
}

/// Whether a store is paused; none when it is not there.
pub(super) async fn is_paused(app: &App, id: StoreId) -> sqlx::Result<Option<bool>> {
    let mut tx = app.db.read().await?;
    let pauses = queries::pauses(&mut tx, id).await?;
    tx.save().await?;
    Ok(pauses.map(|pauses| pauses.paused_at.is_some()))
}

/// Leaves a store alone until somebody resumes it; tells whether it was not paused before.
pub async fn pause_store(app: &App, id: StoreId) -> Result<bool, OperateError> {
    let mut tx = app.db.write().await?;
    let is_changed = queries::pause(&mut tx, id, app.clock.now()).await?;
    queries::pauses(&mut tx, id)
        .await?
        .ok_or(OperateError::StoreNotFound)?;
    tx.save().await?;
    Ok(is_changed)
}

/// Ends a pause, and enqueues what is due; tells whether the store was paused.
pub async fn resume_store(app: &App, id: StoreId) -> Result<bool, OperateError> {
    let mut tx = app.db.write().await?;
    let is_changed = queries::resume(&mut tx, id).await?;
    queries::pauses(&mut tx, id)
        .await?
        .ok_or(OperateError::StoreNotFound)?;
    tx.save().await?;
    if is_changed {
        enqueue(app, id).await;
    }
    Ok(is_changed)
}

/// Makes due what waits for its next try, and enqueues the store, however short ago it was
/// synced. Their tries are counted on; dead letters stay.
pub async fn sync_now(app: &App, id: StoreId) -> Result<Hurried, OperateError> {
    let now = app.clock.now();
    let mut tx = app.db.write().await?;
    stores::lock_store(&mut tx, id).await?;
    let pauses = queries::pauses(&mut tx, id)
        .await?
        .ok_or(OperateError::StoreNotFound)?;
    if pauses.paused_at.is_some() {
        return Err(OperateError::Paused);
    }
    if let Some(until) = pauses.paused_until.filter(|until| *until > now) {
        return Err(OperateError::LeftInPeace(until));
    }
    let receipts = match queries::last_to_hurry(&mut tx, id, now, BATCH).await? {
        Some(last) => queries::hurry(&mut tx, id, last, now).await?,
        None => 0,
    };
    let has_more = queries::last_to_hurry(&mut tx, id, now, 1).await?.is_some();
    tx.save().await?;
    Ok(Hurried {
        receipts,
        has_more,
        is_enqueued: enqueue(app, id).await,
    })
}

/// Makes the dead letters of a store due again, the oldest first, with all their tries before
/// them, and enqueues it.
pub async fn requeue_receipts(app: &App, id: StoreId) -> Result<Hurried, OperateError> {
    let mut tx = app.db.write().await?;
    stores::lock_store(&mut tx, id).await?;
    let pauses = queries::pauses(&mut tx, id)
        .await?
        .ok_or(OperateError::StoreNotFound)?;
    let receipts = match queries::last_to_revive(&mut tx, id, BATCH).await? {
        Some(last) => queries::revive_receipts(&mut tx, id, last, app.clock.now()).await?,
        None => 0,
    };
    let has_more = queries::last_to_revive(&mut tx, id, 1).await?.is_some();
    tx.save().await?;
    let is_paused = pauses.paused_at.is_some();
    Ok(Hurried {
        receipts,
        has_more,
        is_enqueued: !is_paused && receipts > 0 && enqueue(app, id).await,
    })
}

/// Asks the marketplace now about the orders of a store that are due, if there are any. One that is
/// being synced already, or is paused, is left alone.
pub(crate) async fn import_due_orders(
    app: &App,
    id: StoreId,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let mut tx = app.db.read().await?;
    let is_due = !orders::due_rows(&mut tx, id, RowCursor::BEGINNING, app.clock.now(), 1)
        .await?
        .is_empty();
    tx.save().await?;
    if is_due {
        sync_store(app, SyncStore { store_id: id }, stop).await?;
    }
    Ok(())
}

/// Pushes the job of a store, unless one waits or runs. Best effort: what is due is a row, and
/// the next tick sees it.
async fn enqueue(app: &App, id: StoreId) -> bool {
    let failed = |error: &dyn std::fmt::Display| {
        warn!(event = "enqueue_failed", storeId = %id, %error, "failed to enqueue store {id}; the next tick does");
        false
    };
    match slots::enqueue::<SyncStore>(app, &[id]).await {
        Ok(enqueued) => match enqueued.pushed {
            Ok(()) => !enqueued.claimed.is_empty(),
            Err(error) => failed(&error),
        },
        Err(error) => failed(&error),
    }
}
