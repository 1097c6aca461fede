//! A fenced lease on a row: one run at a time, also over processes that stall or die.
//!
//! The row has an owner token and an expiry. [`Lease::take`] wins when the row is free or the
//! last owner's time is up; a task of its own renews it well before it expires; [`Lease::release`]
//! frees it. Every write of the run carries the token ([`Lease::token`]), so a run that lost its
//! lease can write nothing, whatever it believes. A lease is short and renewed rather than long: work of a
//! killed process is free again after [`LeaseTimes::ttl`].
//!
//! The statements are of the table's domain ([`LeaseTable`]); this module only decides when.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::query;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::clock::Clock;
use crate::db::{Db, on, persist_within};

/// How long leases last.
#[derive(Clone, Copy, Debug)]
pub struct LeaseTimes {
    /// How long a lease lasts without renewal.
    pub ttl: Duration,
    /// How often it is renewed.
    pub renew_every: Duration,
}

impl Default for LeaseTimes {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(20),
            renew_every: Duration::from_secs(5),
        }
    }
}

/// The three statements of a table whose rows can be leased.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeaseTable {
    /// `$1` id, `$2` token, `$3` expiry, `$4` now: takes a row that nobody holds.
    pub(crate) take: &'static str,
    /// `$1` id, `$2` token, `$3` expiry: moves the expiry of a row we hold.
    pub(crate) renew: &'static str,
    /// `$1` id, `$2` token: frees a row we hold.
    pub(crate) release: &'static str,
}

/// A lease that is held; its renewal ends when it is released or dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    row: Row,
    lost: CancellationToken,
    renewal: JoinHandle<()>,
}

#[derive(Clone, Debug)]
struct Row {
    db: Db,
    table: LeaseTable,
    id: Uuid,
    token: Uuid,
    clock: Clock,
    times: LeaseTimes,
}

impl Lease {
    /// Takes the lease of a row; none when somebody holds it or the row is gone.
    pub(crate) async fn take(
        db: &Db,
        table: LeaseTable,
        id: Uuid,
        token: Uuid,
        clock: &Clock,
        times: LeaseTimes,
    ) -> sqlx::Result<Option<Self>> {
        let row = Row {
            db: db.clone(),
            table,
            id,
            token,
            clock: clock.clone(),
            times,
        };
        if !in_time(times.ttl, row.take()).await? {
            return Ok(None);
        }
        let lost = CancellationToken::new();
        let renewal = tokio::spawn(keep(row.clone(), lost.clone()));
        Ok(Some(Self { row, lost, renewal }))
    }

    /// Fences the writes of this run.
    pub(crate) fn token(&self) -> Uuid {
        self.row.token
    }

    /// Fires when the lease is found to be somebody else's.
    pub(crate) fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Frees the row, unless it is somebody else's by now.
    ///
    /// A database that is away is waited for until the lease is over: the next run would have to
    /// wait for that, long after the database is back.
    pub(crate) async fn release(self) -> sqlx::Result<()> {
        self.renewal.abort();
        let Self { row, .. } = &self;
        in_time(
            row.times.ttl,
            persist_within(row.times.ttl, || row.release()),
        )
        .await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

impl Row {
    async fn take(&self) -> sqlx::Result<bool> {
        let now = self.clock.now();
        let mut tx = self.db.write().await?;
        let done = on!(&mut tx, conn => query(self.table.take)
            .bind(self.id).bind(self.token).bind(now + self.times.ttl).bind(now)
            .execute(conn).await.map(|done| done.rows_affected() == 1))?;
        tx.save().await?;
        Ok(done)
    }

    async fn renew(&self, until: DateTime<Utc>) -> sqlx::Result<bool> {
        let mut tx = self.db.write().await?;
        let done = on!(&mut tx, conn => query(self.table.renew)
            .bind(self.id).bind(self.token).bind(until)
            .execute(conn).await.map(|done| done.rows_affected() == 1))?;
        tx.save().await?;
        Ok(done)
    }

    async fn release(&self) -> sqlx::Result<()> {
        let mut tx = self.db.write().await?;
        on!(&mut tx, conn => query(self.table.release)
            .bind(self.id).bind(self.token)
            .execute(conn).await.map(|_| ()))?;
        tx.save().await
    }
}

/// Gives up on a database that does not answer.
async fn in_time<T>(
    patience: Duration,
    statement: impl Future<Output = sqlx::Result<T>>,
) -> sqlx::Result<T> {
    timeout(patience, statement)
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Renews until the lease is lost: found with somebody else, or not renewed in time.
async fn keep(row: Row, lost: CancellationToken) {
    let LeaseTimes { ttl, renew_every } = row.times;
    let mut ticks = interval_at(Instant::now() + renew_every, renew_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut expires = Instant::now() + ttl;
    loop {
        ticks.tick().await;
        // A connection that died unnoticed answers never.
        match timeout_at(expires, row.renew(row.clock.now() + ttl)).await {
            Ok(Ok(true)) => expires = Instant::now() + ttl,
            Ok(Ok(false)) => break,
            Ok(Err(error)) => warn!(%error, "failed to renew the lease of row {}", row.id),
            Err(_) => warn!("failed to renew the lease of row {} in time", row.id),
        }
        if Instant::now() >= expires {
            break;
        }
    }
    debug!(event = "lease_lost", "the lease of row {} is lost", row.id);
    lost.cancel();
}
