//! What deliveries want of the database, done together for all that want it at the same moment:
//! one transaction for each step, whatever the event and its endpoints.
//!
//! Alone each delivery would be some fifteen round trips and four commits.

mod record;
mod take;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use jobs::OutboxId;

use self::record::Record;
pub(super) use self::record::{Answered, Written, record};
pub(super) use self::take::{LEASE_MARGIN, Look, Parcel, Taken, take};
use super::enqueue::{Served, claim_next, push_next};
use super::lanes::width;
use super::model::EndpointId;
use super::queries::deliveries::DueDelivery;
use super::queries::schedule::{self, EndedEvent};
use crate::App;
use crate::batch::{BatchError, Batcher};
use crate::schedule::slots::SLOT_BEFORE_PUSH;

/// Writes at the same time. Two would make smaller batches, and want the same events next.
const WRITES: usize = 1;
/// Events that are enqueued when one has left its lane: more than one, so that an endpoint that
/// is back is served by all its lanes soon.
const BROUGHT_AT_ONCE: usize = 2;
/// Jobs of one push, which are all taken or none.
const PUSHED_AT_ONCE: usize = 64;

/// Steps that many deliveries make at the same time; one a process.
#[derive(Debug)]
pub(crate) struct Steps {
    takes: Batcher<OutboxId, Look>,
    outcomes: Batcher<Answered, Record>,
    turns: Batcher<DueDelivery, ()>,
    pushes: Batcher<Next, ()>,
    ends: Batcher<OutboxId, End>,
}

impl Default for Steps {
    fn default() -> Self {
        Self {
            takes: Batcher::new(WRITES),
            outcomes: Batcher::new(WRITES),
            turns: Batcher::new(WRITES),
            pushes: Batcher::new(WRITES),
            ends: Batcher::new(WRITES),
        }
    }
}

/// What came of freeing a slot.
#[derive(Debug)]
enum End {
    Ended(EndedEvent),
    /// There is no such event any more.
    Gone,
    /// The event is locked by somebody else.
    Busy,
}

/// What the endpoint of a delivery is owed next; of several answers of an endpoint the first has
/// it. To be pushed, once the lane is left.
#[derive(Debug)]
pub(super) struct Next {
    events: Vec<OutboxId>,
    /// Until when their slots are taken.
    until: DateTime<Utc>,
}

/// Who may be sent more, as their lanes have room: a few events for each of these deliveries,
/// because whoever leaves a lane does the same. `leaving` of them are still in a lane.
fn served<'a>(
    app: &App,
    deliveries: impl Iterator<Item = &'a DueDelivery>,
    leaving: usize,
) -> Vec<Served> {
    let mut counts: HashMap<EndpointId, (usize, bool)> = HashMap::new();
    for it in deliveries {
        counts.entry(it.endpoint_id).or_insert((0, it.is_ordered)).0 += 1;
    }
    let served = counts.into_iter().map(|(endpoint, (count, is_ordered))| {
        let room = app.lanes.free(endpoint, width(is_ordered)) + count * leaving;
        Served {
            endpoint,
            is_ordered,
            limit: room.min(count * BROUGHT_AT_ONCE),
        }
    });
    served.collect()
}

/// Enqueues what the endpoint of a delivery is owed next: somebody who would have sent it was
/// turned away.
pub(super) async fn bring_next(app: &Arc<App>, delivery: &DueDelivery) -> Result<(), BatchError> {
    let work = |app: Arc<App>, left: Vec<Arc<DueDelivery>>| async move {
        let served = served(&app, left.iter().map(|it| &**it), 0);
        let mut tx = app.db.write().await?;
        let now = app.clock.now();
        let until = now + SLOT_BEFORE_PUSH;
        let next = claim_next(&mut tx, &served, until, now).await?;
        tx.save().await?;
        let next: Vec<OutboxId> = next.into_values().flatten().collect();
        push_next(&app, &next, until).await;
        Ok(vec![(); left.len()])
    };
    app.deliveries.turns.run(app, delivery.clone(), work).await
}

/// Pushes the jobs of what endpoints are owed next.
pub(super) async fn push(app: &Arc<App>, next: Next) -> Result<(), BatchError> {
    if next.events.is_empty() {
        return Ok(());
    }
    let work = |app: Arc<App>, next: Vec<Arc<Next>>| async move {
        let mut by_end: BTreeMap<DateTime<Utc>, Vec<OutboxId>> = BTreeMap::new();
        for it in &next {
            by_end.entry(it.until).or_default().extend(&it.events);
        }
        for (until, ids) in by_end {
            // In handfuls: of those that fit some at least are taken.
            for ids in ids.chunks(PUSHED_AT_ONCE) {
                push_next(&app, ids, until).await;
            }
        }
        Ok(vec![(); next.len()])
    };
    app.deliveries.pushes.run(app, next, work).await
}

/// The job of an event ends: its slot is free. Tells how the event stands; nothing, when it was
/// deleted with its store meanwhile. Busy, while somebody else has it locked.
pub(super) async fn end(app: &Arc<App>, id: OutboxId) -> Result<Option<EndedEvent>, BatchError> {
    let work = |app: Arc<App>, ids: Vec<Arc<OutboxId>>| async move { end_all(&app, &ids).await };
    match app.deliveries.ends.run(app, id, work).await? {
        End::Ended(ended) => Ok(Some(ended)),
        End::Gone => Ok(None),
        End::Busy => Err(BatchError::Busy),
    }
}

async fn end_all(app: &App, asked: &[Arc<OutboxId>]) -> sqlx::Result<Vec<End>> {
    let ids = distinct(asked);
    let mut tx = app.db.write().await?;
    let ended = schedule::free_slots(&mut tx, &ids).await?;
    let ended: HashMap<OutboxId, EndedEvent> = ended.into_iter().map(|it| (it.id, it)).collect();
    let missed = ids.into_iter().filter(|id| !ended.contains_key(id));
    let busy = schedule::there(&mut tx, &missed.collect::<Vec<_>>()).await?;
    tx.save().await?;
    let ends = asked.iter().map(|id| match ended.get(id) {
        Some(ended) => End::Ended(*ended),
        None if busy.contains(id) => End::Busy,
        None => End::Gone,
    });
    Ok(ends.collect())
}

fn distinct(ids: &[Arc<OutboxId>]) -> Vec<OutboxId> {
    distinct_of(ids.iter().map(|id| **id))
}

fn distinct_of<T: Ord>(ids: impl Iterator<Item = T>) -> Vec<T> {
    let mut ids: Vec<T> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
