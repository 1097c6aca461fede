//! Every statement about ticks, positions and queue epochs.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, query, query_as, query_scalar};
use uuid::Uuid;

use crate::db::{Db, Tx, on, sql};

/// Where a pass over rows ordered by `created_at, id` stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct Position {
    /// Of the last row taken.
    pub(crate) created_at: DateTime<Utc>,
    /// Of the last row taken.
    pub(crate) id: Uuid,
}

impl Position {
    /// Before every row.
    pub(crate) const BEGINNING: Self = Self {
        created_at: DateTime::UNIX_EPOCH,
        id: Uuid::nil(),
    };
}

/// Claims a tick; tells whether this replica is the one to run it.
pub async fn claim_tick(
    db: &Db,
    schedule: &str,
    tick: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let mut tx = db.write().await?;
    let claimed = on!(&mut tx, conn => query(sql!(
        "INSERT INTO schedule_ticks (schedule, tick, claimed_at)
         VALUES ($1, $2, $3)
         ON CONFLICT (schedule, tick) DO NOTHING"))
        .bind(schedule).bind(tick).bind(now)
        .execute(conn).await.map(|done| done.rows_affected() == 1))?;
    tx.save().await?;
    Ok(claimed)
}

/// Whether a tick was ever run at or after this instant.
pub(crate) async fn has_tick_since(
    db: &Db,
    schedule: &str,
    tick: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let mut tx = db.read().await?;
    let found = on!(&mut tx, conn => query(sql!(
        "SELECT 1 FROM schedule_ticks WHERE schedule = $1 AND tick >= $2 LIMIT 1"))
        .bind(schedule).bind(tick)
        .fetch_optional(conn).await.map(|row| row.is_some()))?;
    tx.save().await?;
    Ok(found)
}

/// The last tick of a schedule that any process took.
pub(crate) async fn last_tick(tx: &mut Tx, schedule: &str) -> sqlx::Result<Option<DateTime<Utc>>> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT tick FROM schedule_ticks WHERE schedule = $1 ORDER BY tick DESC LIMIT 1"))
        .bind(schedule)
        .fetch_optional(conn).await)
}

/// Forgets ticks before this instant.
pub(crate) async fn purge_ticks(db: &Db, before: DateTime<Utc>) -> sqlx::Result<u64> {
    let mut tx = db.write_at_length().await?;
    let purged = on!(&mut tx, conn => query(sql!("DELETE FROM schedule_ticks WHERE tick < $1"))
        .bind(before)
        .execute(conn).await.map(|done| done.rows_affected()))?;
    tx.save().await?;
    Ok(purged)
}

/// Where the last pass was cut short; none when it came to the end.
pub(crate) async fn position(db: &Db, schedule: &str) -> sqlx::Result<Option<Position>> {
    let mut tx = db.read().await?;
    let position = on!(&mut tx, conn => query_as(sql!(
        "SELECT created_at, id FROM schedule_cursors WHERE schedule = $1"))
        .bind(schedule)
        .fetch_optional(conn).await)?;
    tx.save().await?;
    Ok(position)
}

/// Remembers where a pass was cut short, or that it came to the end.
pub(crate) async fn set_position(
    db: &Db,
    schedule: &str,
    position: Option<Position>,
) -> sqlx::Result<()> {
    let mut tx = db.write().await?;
    match position {
        Some(position) => on!(&mut tx, conn => query(sql!(
            "INSERT INTO schedule_cursors (schedule, created_at, id)
             VALUES ($1, $2, $3)
             ON CONFLICT (schedule) DO UPDATE
             SET created_at = excluded.created_at, id = excluded.id"))
            .bind(schedule).bind(position.created_at).bind(position.id)
            .execute(conn).await.map(|_| ()))?,
        None => on!(&mut tx, conn => query(sql!(
            "DELETE FROM schedule_cursors WHERE schedule = $1"))
            .bind(schedule)
            .execute(conn).await.map(|_| ()))?,
    }
    tx.save().await
}

/// Notes the incarnation of a queue; tells whether it is another than before. Of several that
/// note the same one at a time, one is told so.
pub(crate) async fn note_epoch(tx: &mut Tx, queue: &str, epoch: Uuid) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "INSERT INTO queue_epochs (queue, epoch) VALUES ($1, $2)
         ON CONFLICT (queue) DO UPDATE SET epoch = excluded.epoch
         WHERE queue_epochs.epoch <> excluded.epoch"))
        .bind(queue).bind(epoch)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}
