//! What there is, read when somebody asks, in bounded time and not too often.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use jobs::Queue;
use jobs::schedule::{
    CALLBACK, HOUSEKEEPING, STOCK_CONFIRM, STOCK_JANITOR, STOCK_PUSH, STOCK_RECONCILE, SYNC,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::queries::{self, Counts};
use super::stock_gauges::{self, Stock};
use crate::App;
use crate::schedule;

/// How long a part may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Where counts stop; more than so many show as so many.
const COUNT_LIMIT: i64 = 100_000;
/// The same for what is counted seldom.
const SELDOM_COUNT_LIMIT: i64 = 1_000_000;

/// How often the database and the queue are asked at most.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// For depths, counts and ages.
    pub often: Duration,
    /// For what costs as much as a pass of a scheduler.
    pub seldom: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            often: Duration::from_secs(5),
            seldom: Duration::from_secs(30),
        }
    }
}

/// What was read; what did not answer is none.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    pub(super) database: Option<Database>,
    pub(super) backlog: Option<Backlog>,
    pub(super) stock: Option<Arc<Stock>>,
    pub(super) queues: Option<Vec<(&'static str, u64)>>,
    pub(super) connections: Option<(u32, usize)>,
}

/// From one look at the database.
#[derive(Clone, Debug)]
pub(super) struct Database {
    pub(super) counts: Counts,
    pub(super) at: DateTime<Utc>,
    pub(super) schedules: Vec<Schedule>,
}

/// When a tick was taken last.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Its name.
    pub name: &'static str,
    /// How long ago its last tick was; none when there never was one.
    pub age: Option<TimeDelta>,
    /// From one tick to the next.
    pub interval: Option<TimeDelta>,
}

/// From a look that costs more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backlog {
    pub(super) done_events: i64,
    pub(super) order_due_for: TimeDelta,
    pub(super) delivery_due_for: TimeDelta,
}

impl Reading {
    /// The schedules; none when the database did not answer.
    pub fn schedules(&self) -> Option<&[Schedule]> {
        self.database.as_ref().map(|read| read.schedules.as_slice())
    }

    /// How long the oldest order has been due.
    pub fn order_due_for(&self) -> Option<TimeDelta> {
        self.backlog.map(|backlog| backlog.order_due_for)
    }

    /// How long the oldest delivery has been due.
    pub fn delivery_due_for(&self) -> Option<TimeDelta> {
        self.backlog.map(|backlog| backlog.delivery_due_for)
    }
}

/// The last reading, and when it was made.
#[derive(Debug, Default)]
pub struct Readings {
    pace: Pace,
    /// Held while somebody reads: others wait and get the same.
    times: Mutex<Times>,
    last: RwLock<Arc<Reading>>,
}

#[derive(Debug, Default)]
struct Times {
    often: Option<Instant>,
    seldom: Option<Instant>,
}

impl Readings {
    /// With another pace.
    pub fn new(pace: Pace) -> Self {
        Self {
            pace,
            ..Self::default()
        }
    }

    /// The last reading, however old.
    pub fn last(&self) -> Arc<Reading> {
        let last = self.last.read().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }

    /// A reading that is fresh enough.
    pub async fn fresh(&self, app: &App) -> Arc<Reading> {
        let mut times = self.times.lock().await;
        if is_fresh(times.often, self.pace.often) {
            return self.last();
        }
        let backlog = async {
            if is_fresh(times.seldom, self.pace.seldom) {
                let last = self.last();
                return (last.backlog, last.stock.clone(), times.seldom);
            }
            let (backlog, stock) =
                tokio::join!(in_time(read_backlog(app)), in_time(stock_gauges::read(app)));
            (backlog, stock.map(Arc::new), Some(Instant::now()))
        };
        let (database, (backlog, stock, seldom), queues) = tokio::join!(
            in_time(read_database(app)),
            backlog,
            in_time(read_queues(app))
        );
        let reading = Arc::new(Reading {
            database,
            backlog,
            stock,
            queues,
            connections: Some(app.db.connections()),
        });
        *times = Times {
            often: Some(Instant::now()),
            seldom,
        };
        let mut last = self.last.write().unwrap_or_else(PoisonError::into_inner);
        *last = reading.clone();
        reading
    }
}

fn is_fresh(read: Option<Instant>, pace: Duration) -> bool {
    read.is_some_and(|read| read.elapsed() < pace)
}

/// Nothing, when it fails or takes too long: then nothing is told of it.
async fn in_time<T, E: fmt::Display>(read: impl Future<Output = Result<T, E>>) -> Option<T> {
    match timeout(PATIENCE, read).await {
        Ok(Ok(read)) => Some(read),
        Ok(Err(error)) => {
            debug!(%error, "failed to read what metrics tell of");
            None
        }
        Err(_) => {
            debug!("failed to read in time what metrics tell of");
            None
        }
    }
}

async fn read_database(app: &App) -> sqlx::Result<Database> {
    let now = app.clock.now();
    let mut tx = app.db.read().await?;
    let counts = queries::counts(&mut tx, COUNT_LIMIT, now).await?;
    let mut schedules = Vec::new();
    for (name, cron) in [
        (SYNC.name, app.settings.sync.cron.as_str()),
        (CALLBACK.name, app.settings.callback.cron.as_str()),
        (HOUSEKEEPING.name, HOUSEKEEPING.default_cron),
        (STOCK_PUSH.name, app.settings.stock.cron.as_str()),
        (STOCK_CONFIRM.name, app.settings.stock.confirm_cron.as_str()),
        (
            STOCK_RECONCILE.name,
            app.settings.stock.reconcile_cron.as_str(),
        ),
        (STOCK_JANITOR.name, STOCK_JANITOR.default_cron),
    ] {
        let tick = schedule::last_tick(&mut tx, name).await?;
        schedules.push(Schedule {
            name,
            age: tick.map(|tick| since(tick, now)),
            interval: jobs::schedule::interval(cron, now),
        });
    }
    tx.save().await?;
    Ok(Database {
        counts,
        at: now,
        schedules,
    })
}

async fn read_backlog(app: &App) -> sqlx::Result<Backlog> {
    let now = app.clock.now();
    let due_for = |since_when: Option<DateTime<Utc>>| {
        since_when.map_or(TimeDelta::zero(), |due| since(due, now))
    };
    let mut tx = app.db.read().await?;
    let backlog = Backlog {
        done_events: queries::done_events(&mut tx, SELDOM_COUNT_LIMIT).await?,
        order_due_for: due_for(queries::oldest_due_order(&mut tx, now).await?),
        delivery_due_for: due_for(queries::oldest_due_delivery(&mut tx, now).await?),
    };
    tx.save().await?;
    Ok(backlog)
}

async fn read_queues(app: &App) -> Result<Vec<(&'static str, u64)>, jobs::QueueError> {
    let mut depths = Vec::new();
    for queue in Queue::queues() {
        depths.push((*queue, app.queue.waiting(queue).await?));
    }
    Ok(depths)
}

/// Clocks of several machines differ a little.
pub(super) fn since(then: DateTime<Utc>, now: DateTime<Utc>) -> TimeDelta {
    (now - then).max(TimeDelta::zero())
}
