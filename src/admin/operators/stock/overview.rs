//! Stock at a glance.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::views::{ClosedView, StockCounts};
use crate::App;
use crate::admin::operators::queries::stock::stores::Waiting;
use crate::admin::operators::queries::stock::{counts, stores};
use crate::admin::operators::views::{COUNT_LIMIT, Count};
use crate::db::Tx;
use crate::stock::Closed;
use crate::stock::model::GateReason;

/// How long a push counts of which nobody knows whether it arrived: what it told is sent again soon.
const UNKNOWN_FOR: TimeDelta = TimeDelta::days(1);
/// Stores whose overdue pairs are counted; with more of them, "more" is all that is known.
const LOOKED_INTO: usize = 100;

/// One look at the stock of all stores.
pub(in crate::admin::operators) async fn stock_counts(
    app: &App,
    tx: &mut Tx,
    now: DateTime<Utc>,
) -> sqlx::Result<StockCounts> {
    let settings = &app.settings.stock;
    let overdue_since = now - settings.queue_ttl;
    let pairs = counts::pairs(tx, COUNT_LIMIT + 1).await?;
    let pushes = counts::pushes(tx, now - UNKNOWN_FOR, COUNT_LIMIT + 1).await?;
    let waiting = stores::waiting(tx, Uuid::nil(), COUNT_LIMIT + 1).await?;
    let has_more_waiting = is_more(waiting.len());
    let is_overdue = |store: &&Waiting| store.oldest_at <= overdue_since;
    let overdue: Vec<&Waiting> = waiting.iter().filter(is_overdue).collect();
    let limited = stores::limited(tx, Uuid::nil(), COUNT_LIMIT + 1).await?;
    let has_more_limited = is_more(limited.len());
    let closed = limited
        .iter()
        .filter_map(|store| Closed::by_row(app, &store.gate, now))
        .map(|closed| closed.reason);
    let closed: Vec<GateReason> = closed.collect();
    Ok(StockCounts {
        is_enabled: settings.enabled,
        pending: Count::of(pairs.pending),
        overdue: count_overdue(tx, &overdue, overdue_since).await?,
        oldest_pending_at: waiting
            .iter()
            .map(|store| store.oldest_at)
            .min()
            .map(Into::into),
        waiting_stores: seen(waiting.len(), has_more_waiting),
        overdue_stores: seen(overdue.len(), has_more_waiting),
        blocked: Count::of(pairs.blocked),
        in_flight: Count::at_least(pushes.in_flight, pushes.seen > COUNT_LIMIT),
        unknown: Count::at_least(pushes.unknown, pushes.seen > COUNT_LIMIT),
        closed: seen(closed.len(), has_more_limited),
        closed_by_reason: by_reason(&closed, has_more_limited),
    })
}

/// Whether one more was found than is counted.
fn is_more(found: usize) -> bool {
    i64::try_from(found).unwrap_or(i64::MAX) > COUNT_LIMIT
}

/// So many of those that were looked at.
fn seen(found: usize, is_more: bool) -> Count {
    let found = i64::try_from(found).unwrap_or(i64::MAX);
    Count::at_least(found.min(COUNT_LIMIT), is_more)
}

fn by_reason(closed: &[GateReason], is_more: bool) -> Vec<ClosedView> {
    let views = GateReason::ALL.iter().map(|reason| {
        let stores = closed.iter().filter(|of| *of == reason).count();
        (*reason, stores)
    });
    views
        .filter(|(_, stores)| *stores > 0)
        .map(|(reason, stores)| ClosedView {
            reason,
            stores: seen(stores, is_more),
        })
        .collect()
}

/// The overdue pairs of these stores, up to the limit.
async fn count_overdue(
    tx: &mut Tx,
    stores: &[&Waiting],
    overdue_since: DateTime<Utc>,
) -> sqlx::Result<Count> {
    let mut found = 0;
    for store in stores.iter().take(LOOKED_INTO) {
        let age = stores::age(tx, store.id, overdue_since, COUNT_LIMIT + 1).await?;
        found += age.overdue;
        if found > COUNT_LIMIT {
            return Ok(Count::of(found));
        }
    }
    Ok(Count::at_least(found, stores.len() > LOOKED_INTO))
}
