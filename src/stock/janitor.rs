//! Clears up after runs that died, and forgets what has served its purpose: closed rows after seven
//! days, pushes and logged requests after thirty. All of it goes in small steps; movements and
//! reservations are kept.

use chrono::{DateTime, TimeDelta, Utc};
use jobs::{PushId, StoreId};
use tracing::info;

use super::abandon::abandon;
use super::error::Error;
use super::queries::gates::clear_expired_leases;
use super::queries::lost::forgotten_pushes;
use super::queries::schedule as queries;
use crate::App;
use crate::db::{self, Tx};

/// How long closed rows are kept.
const ROWS_KEPT: TimeDelta = TimeDelta::days(7);
/// How long pushes, with their items, and logged requests are kept.
const PUSHES_KEPT: TimeDelta = TimeDelta::days(30);
/// How long an expired lease is left: the clocks of two machines differ a little.
const EXPIRED_LEASE: TimeDelta = TimeDelta::minutes(1);
/// Rows, or requests, that are forgotten in one step.
const AT_ONCE: i64 = 1000;
/// Pushes that are: each has a thousand items.
const PUSHES_AT_ONCE: i64 = 20;
/// Steps a round: the rest comes with the next one.
const STEPS: usize = 500;
/// Pushes of dead runs that are looked for at once.
const ABANDONED_AT_ONCE: i64 = 100;

/// What a round did; also its log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// Pushes whose run died.
    pub abandoned_pushes: u64,
    /// Leases of runs that died.
    pub expired_leases: u64,
    /// Closed rows that were forgotten.
    pub purged_rows: u64,
    /// Pushes that were, with their items.
    pub purged_pushes: u64,
    /// Logged requests that were.
    pub purged_logs: u64,
}

/// One round.
pub async fn clear_up_stock(app: &App) -> Result<Cleared, Error> {
    let now = app.clock.now();
    let cleared = Cleared {
        abandoned_pushes: abandon_forgotten(app, now).await?,
        expired_leases: clear_leases(app, now).await?,
        purged_rows: purge(app, Kind::Rows, now - ROWS_KEPT).await?,
        purged_pushes: purge(app, Kind::Pushes, now - PUSHES_KEPT).await?,
        purged_logs: purge(app, Kind::Logs, now - PUSHES_KEPT).await?,
    };
    info!(
        event = "stock_janitor_run",
        abandonedPushes = cleared.abandoned_pushes,
        expiredLeases = cleared.expired_leases,
        purgedRows = cleared.purged_rows,
        purgedPushes = cleared.purged_pushes,
        purgedLogs = cleared.purged_logs,
        "cleared up stock"
    );
    Ok(cleared)
}

/// Ends pushes that are on the way for longer than a lease lasts, of stores that no run holds.
async fn abandon_forgotten(app: &App, now: DateTime<Utc>) -> Result<u64, Error> {
    let before = now - app.settings.stock.lease;
    let mut tx = app.db.read().await?;
    let forgotten = forgotten_pushes(&mut tx, before, now, ABANDONED_AT_ONCE).await?;
    tx.save().await?;
    let mut abandoned = 0;
    for (push_id, store_id) in forgotten {
        if app.stop.is_cancelled() {
            break;
        }
        db::persist(move || abandon_one(app, push_id, store_id)).await?;
        abandoned += 1;
    }
    Ok(abandoned)
}

async fn abandon_one(app: &App, push_id: PushId, store_id: StoreId) -> Result<(), Error> {
    let error = "the run died before the answer came";
    let mut tx = app.db.write().await?;
    abandon(app, &mut tx, store_id, push_id, error, app.clock.now()).await?;
    tx.save().await?;
    Ok(())
}

async fn clear_leases(app: &App, now: DateTime<Utc>) -> Result<u64, Error> {
    let mut tx = app.db.write().await?;
    let cleared = clear_expired_leases(&mut tx, now - EXPIRED_LEASE).await?;
    tx.save().await?;
    Ok(cleared)
}

/// What is forgotten.
#[derive(Clone, Copy)]
enum Kind {
    Rows,
    Pushes,
    Logs,
}

impl Kind {
    const fn at_once(self) -> i64 {
        match self {
            Self::Rows | Self::Logs => AT_ONCE,
            Self::Pushes => PUSHES_AT_ONCE,
        }
    }

    async fn purge(self, tx: &mut Tx, before: DateTime<Utc>) -> sqlx::Result<u64> {
        match self {
            Self::Rows => queries::purge_rows(tx, before, self.at_once()).await,
            Self::Pushes => queries::purge_pushes(tx, before, self.at_once()).await,
            Self::Logs => queries::purge_logs(tx, before, self.at_once()).await,
        }
    }
}

/// Forgets what is of before an instant. Others write between the steps.
async fn purge(app: &App, kind: Kind, before: DateTime<Utc>) -> Result<u64, Error> {
    let mut purged = 0;
    for _ in 0..STEPS {
        if app.stop.is_cancelled() {
            break;
        }
        let mut tx = app.db.write().await?;
        let gone = kind.purge(&mut tx, before).await?;
        tx.save().await?;
        purged += gone;
        if gone < kind.at_once().unsigned_abs() {
            break;
        }
    }
    Ok(purged)
}
