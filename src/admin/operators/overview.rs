//! Everything at a glance.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use jobs::Queue;
use jobs::schedule::SCHEDULES;
use tokio::time::timeout;
use uuid::Uuid;

use super::queries::counts::{self, CallbackNumbers, StoreNumbers};
use super::queries::stores::{self, Waiting};
use super::stock::overview::stock_counts;
use super::views::{
    COUNT_LIMIT, CallbackCounts, Count, EndpointCounts, OrderCounts, Overview, QueueView,
    StoreCounts, TickView,
};
use crate::App;
use crate::schedule;

/// An order that has been due for so long is overdue.
pub(super) const OVERDUE: TimeDelta = TimeDelta::minutes(10);
/// How long the queue may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// One look at everything. A queue that does not answer is shown as such; a database that does
/// not is an error.
pub(super) async fn overview(app: &App) -> sqlx::Result<Overview> {
    let now = app.clock.now();
    let mut tx = app.db.read().await?;
    let of_stores = counts::stores(&mut tx, COUNT_LIMIT + 1).await?;
    let waiting = stores::waiting(&mut tx, Uuid::nil(), now, COUNT_LIMIT + 1).await?;
    let of_callbacks = counts::callbacks(&mut tx, COUNT_LIMIT + 1, now).await?;
    let stock = stock_counts(app, &mut tx, now).await?;
    let mut ticks = Vec::new();
    for known in SCHEDULES {
        let last = schedule::last_tick(&mut tx, known.name).await?;
        ticks.push(TickView {
            schedule: known.name,
            last_tick_at: last.map(Into::into),
        });
    }
    tx.save().await?;
    Ok(Overview {
        now: now.into(),
        stores: of_stores.into(),
        orders: order_counts(&waiting, of_stores.dead_orders, now),
        callbacks: of_callbacks.into(),
        endpoints: of_callbacks.into(),
        stock,
        ticks,
        queues: queues(app).await,
    })
}

/// Of the stores that were looked at; with more than that, "more" is all that is known.
fn order_counts(waiting: &[Waiting], dead: i64, now: DateTime<Utc>) -> OrderCounts {
    let has_more = i64::try_from(waiting.len()).unwrap_or(i64::MAX) > COUNT_LIMIT;
    let due_since = |before: DateTime<Utc>| {
        let is_due =
            move |it: &&Waiting| it.may_be_synced && it.due_at.is_some_and(|due| due <= before);
        waiting.iter().filter(is_due)
    };
    let count = |before| {
        let found = i64::try_from(due_since(before).count()).unwrap_or(i64::MAX);
        Count::at_least(found, has_more)
    };
    OrderCounts {
        due_stores: count(now),
        overdue_stores: count(now - OVERDUE),
        oldest_due_at: due_since(now)
            .filter_map(|it| it.due_at)
            .min()
            .map(Into::into),
        dead_letters: Count::of(dead),
    }
}

async fn queues(app: &App) -> Vec<QueueView> {
    let ask = async |name: &'static str| {
        let waiting = timeout(PATIENCE, app.queue.waiting(name)).await;
        QueueView {
            name,
            waiting: waiting.ok().and_then(Result::ok),
        }
    };
    let mut views = Vec::new();
    for name in Queue::queues() {
        views.push(ask(name).await);
    }
    views
}

impl From<StoreNumbers> for StoreCounts {
    fn from(numbers: StoreNumbers) -> Self {
        Self {
            failed: Count::of(numbers.failed),
            partial: Count::of(numbers.partial),
            success: Count::of(numbers.success),
            pending: Count::of(numbers.pending),
            paused: Count::of(numbers.paused),
        }
    }
}

impl From<CallbackNumbers> for CallbackCounts {
    fn from(numbers: CallbackNumbers) -> Self {
        Self {
            pending: Count::of(numbers.pending),
            oldest_pending_at: numbers.oldest_pending.map(Into::into),
            dead_letters: Count::of(numbers.failed),
        }
    }
}

impl From<CallbackNumbers> for EndpointCounts {
    fn from(numbers: CallbackNumbers) -> Self {
        Self {
            open: Count::of(numbers.open),
            inactive: Count::of(numbers.inactive),
            paused: Count::of(numbers.paused),
        }
    }
}
