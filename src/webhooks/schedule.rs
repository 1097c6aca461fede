//! What a `callback` tick enqueues: one [`DeliverCallback`] for every event with something due.
//!
//! It goes through the endpoints that something is due to and takes the events of each, the
//! longest due first. So an endpoint that is inactive or left in peace costs nothing, however
//! much it is owed, and none takes more than its share of a pass. It needs no more than that:
//! as soon as an endpoint is being sent to, each delivery brings the next one
//! ([`deliver`](super::deliver)).

use std::collections::HashSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use jobs::{DeliverCallback, OutboxId, QueueError};
use serde::Serialize;
use tokio::time::sleep;
use tracing::info;
use uuid::Uuid;

use super::breaker;
use super::enqueue::log_failure;
use super::queries::schedule::{self as queries, DueEndpoint, DueEvent};
use crate::App;
use crate::db::Tx;
use crate::schedule::slots::{self, Slotted};
use crate::schedule::{self, Position};

/// Endpoints a page.
const PAGE: u32 = 100;
/// Events that are enqueued at once: as many as an endpoint is sent at a time. Whatever happens
/// meanwhile waits behind so many, not behind a backlog: of an endpoint that hangs or fails the
/// others would find nothing that may be sent.
const HANDFUL: u32 = 8;
/// Between two handfuls: workers are faster, so the queue stays short.
const PACE: Duration = Duration::from_millis(5);
/// How often it is looked meanwhile whether somebody sends to the endpoint by now.
const LOOKS: usize = 5;
/// Events of an endpoint that a pass enqueues.
const SHARE: u32 = 500;
/// The same while the endpoint is being sent to: what is on the way brings the rest; and while it
/// fails: more could not be sent before it is left in peace.
const SHARE_WHEN_BUSY: u32 = 16;

/// What a pass did; also its log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallbackPass {
    /// Events seen that have something due.
    pub scanned_outbox: u64,
    /// Jobs put into the queue.
    pub enqueued_jobs: u64,
    /// Jobs that could not be put into the queue.
    pub failed_jobs: u64,
    /// The queue was full before the end.
    pub is_cut_short: bool,
    /// How old the oldest event is that somebody is still owed.
    pub oldest_pending_seconds: Option<i64>,
}

/// One pass over all endpoints that something is due to.
pub async fn enqueue_due_events(app: &App) -> sqlx::Result<CallbackPass> {
    let started = Instant::now();
    slots::free_slots_of_lost_queue::<DeliverCallback>(app).await?;
    let name = jobs::schedule::CALLBACK.name;
    let start = schedule::position(&app.db, name).await?;
    let mut sweep = Sweep {
        app,
        now: app.clock.now(),
        room: 0,
        seen: HashSet::new(),
        pass: CallbackPass::default(),
    };
    let stopped_at = sweep.all_endpoints(start).await?;
    schedule::set_position(&app.db, name, stopped_at).await?;
    let mut tx = app.db.read().await?;
    let oldest = queries::oldest_pending(&mut tx).await?;
    tx.save().await?;
    let pass = CallbackPass {
        scanned_outbox: u64::try_from(sweep.seen.len()).unwrap_or(u64::MAX),
        oldest_pending_seconds: oldest.map(|oldest| (sweep.now - oldest).num_seconds()),
        ..sweep.pass
    };
    info!(
        event = "callback_scheduler_run",
        scannedOutbox = pass.scanned_outbox,
        enqueuedJobs = pass.enqueued_jobs,
        oldestPendingSeconds = pass.oldest_pending_seconds,
        isCutShort = pass.is_cut_short,
        "enqueued {} of {} due events",
        pass.enqueued_jobs,
        pass.scanned_outbox
    );
    app.metrics
        .pass(name, started.elapsed(), pass.enqueued_jobs);
    Ok(pass)
}

/// A pass on its way.
struct Sweep<'a> {
    app: &'a App,
    now: DateTime<Utc>,
    /// How many jobs the queue takes; asked again when it is used up.
    room: usize,
    /// An event may be due to several endpoints.
    seen: HashSet<OutboxId>,
    pass: CallbackPass,
}

/// How far a pass came with an endpoint.
enum Progress {
    Done,
    QueueFull,
    QueueFailed,
}

impl Sweep<'_> {
    /// From where the last pass was cut short to the end, then from the beginning to there.
    /// Tells where this one was cut short.
    async fn all_endpoints(&mut self, start: Option<Position>) -> sqlx::Result<Option<Position>> {
        let mut after = start.unwrap_or(Position::BEGINNING);
        let mut wraps = start.is_some();
        loop {
            let endpoints = self.page(after.id).await?;
            let is_last_page = endpoints.len() < PAGE as usize;
            let end = start.filter(|_| !wraps).map(|start| start.id);
            for endpoint in endpoints {
                if end.is_some_and(|end| endpoint.id.0 > end) {
                    return Ok(None);
                }
                let here = Position {
                    created_at: endpoint.created_at,
                    id: endpoint.id.0,
                };
                match self.one_endpoint(&endpoint).await? {
                    Progress::Done => after = here,
                    Progress::QueueFull => {
                        self.pass.is_cut_short = true;
                        // Had it taken something, the next pass begins with the next one.
                        let took = self.pass.enqueued_jobs > 0;
                        return Ok(Some(if took { here } else { after }));
                    }
                    Progress::QueueFailed => return Ok(None),
                }
            }
            if is_last_page {
                if !wraps {
                    return Ok(None);
                }
                (wraps, after) = (false, Position::BEGINNING);
            }
        }
    }

    async fn page(&self, after: Uuid) -> sqlx::Result<Vec<DueEndpoint>> {
        let mut tx = self.app.db.read().await?;
        let endpoints = queries::due_endpoints(&mut tx, after, self.now, PAGE).await?;
        tx.save().await?;
        Ok(endpoints)
    }

    /// Enqueues the share of an endpoint.
    async fn one_endpoint(&mut self, endpoint: &DueEndpoint) -> sqlx::Result<Progress> {
        let mut left = share(endpoint);
        let mut after = (DateTime::UNIX_EPOCH, Uuid::nil());
        while left > 0 {
            let room = self.look_for_room().await;
            // One, to see whether it is needed, when the queue is full.
            let fits = room.as_ref().map_or(HANDFUL, |room| handful(*room));
            let limit = left.min(fits);
            let due = self.due_events(endpoint, after, limit).await?;
            let Some(last) = due.last() else {
                return Ok(Progress::Done);
            };
            after = (last.due_at, last.delivery_id);
            left -= limit;
            match self.enqueue(&due, room).await? {
                Progress::Done if due.len() == limit as usize => {}
                progress => return Ok(progress),
            }
            for _ in 0..LOOKS {
                sleep(PACE).await;
                // Somebody sends to it, and brings the rest as fast as it is taken.
                if self.is_busy(endpoint).await? {
                    return Ok(Progress::Done);
                }
            }
        }
        Ok(Progress::Done)
    }

    async fn is_busy(&self, endpoint: &DueEndpoint) -> sqlx::Result<bool> {
        let mut tx = self.app.db.read().await?;
        let is_busy = queries::is_busy(&mut tx, endpoint.id, self.now).await?;
        tx.save().await?;
        Ok(is_busy)
    }

    async fn look_for_room(&mut self) -> Result<usize, QueueError> {
        if self.room == 0 {
            self.room = self.app.queue.room::<DeliverCallback>().await?;
        }
        Ok(self.room)
    }

    async fn due_events(
        &self,
        endpoint: &DueEndpoint,
        after: (DateTime<Utc>, Uuid),
        limit: u32,
    ) -> sqlx::Result<Vec<DueEvent>> {
        let mut tx = self.app.db.read().await?;
        let due = if endpoint.is_ordered {
            let first = queries::first_event(&mut tx, endpoint.id, self.now).await?;
            first.into_iter().collect()
        } else {
            queries::due_events(&mut tx, endpoint.id, after, self.now, limit).await?
        };
        tx.save().await?;
        Ok(due)
    }

    /// Takes the slots of events and pushes the jobs whose slot was free.
    async fn enqueue(
        &mut self,
        due: &[DueEvent],
        room: Result<usize, QueueError>,
    ) -> sqlx::Result<Progress> {
        let ids: Vec<OutboxId> = due
            .iter()
            .map(|event| event.outbox_id)
            .filter(|id| self.seen.insert(*id))
            .collect();
        match room {
            Ok(0) => return Ok(Progress::QueueFull),
            Ok(_) => {}
            Err(error) => return Ok(self.failed(&ids, error)),
        }
        let enqueued = slots::enqueue::<DeliverCallback>(self.app, &ids).await?;
        let taken = enqueued.claimed.len();
        self.room = self.room.saturating_sub(taken);
        match enqueued.pushed {
            Ok(()) => {
                self.pass.enqueued_jobs += u64::try_from(taken).unwrap_or_default();
                Ok(Progress::Done)
            }
            Err(QueueError::Full { .. }) => Ok(Progress::QueueFull),
            Err(error) => Ok(self.failed(&enqueued.claimed, error)),
        }
    }

    fn failed(&mut self, ids: &[OutboxId], error: QueueError) -> Progress {
        self.pass.failed_jobs += u64::try_from(ids.len()).unwrap_or_default();
        log_failure(ids, &Err(error));
        Progress::QueueFailed
    }
}

fn handful(room: usize) -> u32 {
    u32::try_from(room).unwrap_or(HANDFUL).clamp(1, HANDFUL)
}

/// How many events of an endpoint a pass enqueues. An ordered one is sent what it is owed first;
/// one that was left in peace gets one chance.
fn share(endpoint: &DueEndpoint) -> u32 {
    if endpoint.is_ordered || breaker::is_tripped(endpoint.consecutive_failures) {
        1
    } else if endpoint.is_busy || endpoint.consecutive_failures > 0 {
        SHARE_WHEN_BUSY
    } else {
        SHARE
    }
}

impl Slotted for DeliverCallback {
    type Id = OutboxId;
    const ROWS: &'static str = "events";

    fn of(outbox_id: OutboxId) -> Self {
        Self { outbox_id }
    }

    async fn claim_slots(
        tx: &mut Tx,
        events: &[OutboxId],
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> sqlx::Result<HashSet<OutboxId>> {
        queries::claim_slots(tx, events, until, now).await
    }

    async fn move_slots(
        tx: &mut Tx,
        events: &[OutboxId],
        from: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> sqlx::Result<()> {
        queries::move_slots(tx, events, from, until).await
    }

    async fn free_all_slots(tx: &mut Tx, now: DateTime<Utc>) -> sqlx::Result<u64> {
        queries::free_all_slots(tx, now).await
    }
}
