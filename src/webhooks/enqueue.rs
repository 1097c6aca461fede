//! Pushes jobs right after the commit that made them due.
//!
//! Best effort, and never an error of the caller: the `callback` tick makes up for a queue that is
//! away or full, and for a process that dies in between.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;

use chrono::{DateTime, Utc};
use jobs::{DeliverCallback, OutboxId, QueueError};
use tracing::{debug, warn};

use super::model::EndpointId;
use super::queries::schedule;
use super::record::Recorded;
use crate::App;
use crate::db::Tx;
use crate::schedule::slots;

/// Pushes the job of an event that was recorded.
pub(crate) async fn enqueue_recorded(app: &App, recorded: Recorded) {
    let Recorded { id, slot } = recorded;
    let Some(slot) = slot else {
        return;
    };
    push_next(app, &[id], slot).await;
}

/// Somebody who is to be sent what it is owed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Served {
    pub(super) endpoint: EndpointId,
    pub(super) is_ordered: bool,
    /// How much may be enqueued.
    pub(super) limit: usize,
}

/// What endpoints are owed next: the first event of an ordered one, else up to `limit` that wait.
pub(super) async fn next_events(
    tx: &mut Tx,
    served: &[Served],
    now: DateTime<Utc>,
) -> sqlx::Result<HashMap<EndpointId, Vec<OutboxId>>> {
    let mut next = HashMap::new();
    let mut limits = HashMap::new();
    for it in served.iter().filter(|it| it.limit > 0) {
        if it.is_ordered {
            let first = schedule::first_event(tx, it.endpoint, now).await?;
            next.insert(it.endpoint, first.iter().map(|it| it.outbox_id).collect());
        } else {
            limits.insert(it.endpoint, it.limit);
        }
    }
    if !limits.is_empty() {
        let endpoints: Vec<EndpointId> = limits.keys().copied().collect();
        for mut waiting in schedule::waiting_events(tx, &endpoints, now).await? {
            waiting.events.truncate(limits[&waiting.endpoint_id]);
            next.insert(waiting.endpoint_id, waiting.events);
        }
    }
    Ok(next)
}

/// Takes the slots of what endpoints are owed next; returns what was free, by endpoint.
pub(super) async fn claim_next(
    tx: &mut Tx,
    served: &[Served],
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<HashMap<EndpointId, Vec<OutboxId>>> {
    let mut next = next_events(tx, served, now).await?;
    let wanted: HashSet<OutboxId> = next.values().flatten().copied().collect();
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let wanted: Vec<OutboxId> = wanted.into_iter().collect();
    let mut claimed = schedule::claim_slots(tx, &wanted, until, now).await?;
    for events in next.values_mut() {
        events.retain(|id| claimed.remove(id));
    }
    Ok(next)
}

/// Pushes the jobs of events whose slots were taken for that until `until`.
pub(super) async fn push_next(app: &App, ids: &[OutboxId], until: DateTime<Utc>) {
    match slots::push_to_start::<DeliverCallback>(app, ids, until).await {
        Ok(pushed) => log_failure(ids, &pushed),
        Err(error) => warn_of(ids, &error),
    }
}

/// Pushes the jobs of events that are due, unless they wait or run already.
pub(super) async fn enqueue_events(app: &App, ids: &[OutboxId]) {
    if ids.is_empty() {
        return;
    }
    match slots::enqueue::<DeliverCallback>(app, ids).await {
        Ok(enqueued) => log_failure(&enqueued.claimed, &enqueued.pushed),
        Err(error) => warn_of(ids, &error),
    }
}

/// Tells of events whose jobs are not in the queue. A queue that is full is no failure.
pub(super) fn log_failure(ids: &[OutboxId], pushed: &Result<(), QueueError>) {
    match pushed {
        Ok(()) => {}
        Err(QueueError::Full { .. }) => {
            debug!(
                event = "queue_full",
                "the callback queue is full; the rest waits as rows"
            );
        }
        Err(error) => warn_of(ids, error),
    }
}

fn warn_of(ids: &[OutboxId], error: &dyn Display) {
    for id in ids {
        warn!(event = "callback_enqueue_failed", outboxId = %id, %error, "failed to enqueue event {id}; the next tick does");
    }
}
