//! What [`DeliverCallback`] does, top to bottom.
//!
//! It claims the deliveries of its event that are due, sends them all at the same time, and
//! writes down what came of each as soon as it is known, so that none waits for another. A
//! delivery is a row: its attempts, its next time and its lease stand there.
//!
//! It may always run twice: the lease lets one request out at a time, its outcome is written
//! under the lease only, and a delivery that succeeded is never claimed again. A process that
//! dies leaves a lease that ends by itself; the next tick brings the event back. Whoever receives
//! an event twice by that knows it by its id.
//!
//! Nothing in here waits for an endpoint that has enough to do: a delivery without a free lane
//! ([`Lanes`](super::lanes::Lanes)) stays due, and whoever leaves the lane enqueues what the endpoint is owed
//! next ([`bring_next`]). So a slow endpoint holds as many workers as it has lanes, a dead one
//! holds none, and a backlog is worked off without waiting for ticks.

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use jobs::{DeliverCallback, Job, OutboxId};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::attempt::Outcome;
use super::breaker;
use super::enqueue::{enqueue_events, next_events};
use super::lanes::{Lane, width};
use super::outbox::CallbackStatus;
use super::queries::deliveries::{AttemptRow, DeliveryLease, DueDelivery, OwedEvent};
use super::queries::{deliveries, endpoints, schedule};
use super::secrets::{SecretUnreadable, signing_secrets};
use super::send::Sent;
use super::settle::settle;
use super::sign::{SigningSecret, reference_headers, standard_headers};
use super::unreadable;
use crate::App;
use crate::db::{self, Tx};
use crate::traces::{self, NewSpan};

/// How much longer than a request its lease lasts: time to write down what came of it.
const LEASE_MARGIN: TimeDelta = TimeDelta::seconds(10);
/// Events that are enqueued when one has left its lane: more than one, so that an endpoint that
/// is back is served by all its lanes soon.
const BROUGHT_AT_ONCE: usize = 2;

/// The `inactive_reason` of an endpoint that said that it is no more; wire format.
const GONE: &str = "gone";

/// A delivery that is ours to send.
struct Parcel {
    delivery: DueDelivery,
    lease: DeliveryLease,
    secrets: Result<Vec<SigningSecret>, SecretUnreadable>,
    lane: Lane,
}

/// What a look at an event found.
#[derive(Default)]
struct Claimed {
    /// To be sent.
    parcels: Vec<Parcel>,
    /// Due, but their endpoints have enough to do.
    crowded: Vec<DueDelivery>,
    /// Taken by somebody else in the meantime.
    lost: Vec<(DueDelivery, Lane)>,
}

/// What a job came to.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    sent: usize,
    success: usize,
}

/// Runs the job: what is due of an event, unless another job is at it.
pub(crate) async fn deliver_callback(
    app: &App,
    job: DeliverCallback,
    stop: &CancellationToken,
) -> sqlx::Result<()> {
    let id = job.outbox_id;
    let mut tx = app.db.read().await?;
    let event = match deliveries::owed_event(&mut tx, id).await {
        Err(error) if unreadable::is_unreadable(&error) => {
            drop(tx);
            return unreadable::give_up(app, id, &error).await;
        }
        event => event?,
    };
    tx.save().await?;
    let Some(event) = event else {
        warn!(event = "outbox_not_found", outboxId = %id, "event {id} does not exist any more");
        return Ok(());
    };
    let span = || {
        let span = NewSpan::job(DeliverCallback::NAME, event.traceparent.as_deref());
        span.with("event.id", id.to_string())
            .with("event.name", event.event.as_str())
    };
    let work = async {
        let ended = run(app, &job, &event, stop).await;
        if ended.is_err() {
            traces::note_failure("failed");
        }
        ended
    };
    app.traces.within(span, work).await
}

async fn run(
    app: &App,
    job: &DeliverCallback,
    event: &OwedEvent,
    stop: &CancellationToken,
) -> sqlx::Result<()> {
    let id = event.id;
    let mut counts = Counts::default();
    let mut state = (event.status, None);
    if event.status == CallbackStatus::Pending {
        state = rounds(app, event, stop, &mut counts).await?;
    }
    let (status, next_retry_at) = state;
    if counts.sent > 0 {
        log_deliveries(event, counts, next_retry_at);
    }
    info!(event = "callback_job_completed", queue = DeliverCallback::QUEUE, jobId = job.identity(), outboxId = %id, %status, "ran the job of event {id}");
    Ok(())
}

/// Sends what is due until nothing is left that this process may send now.
async fn rounds(
    app: &App,
    event: &OwedEvent,
    stop: &CancellationToken,
    counts: &mut Counts,
) -> sqlx::Result<(CallbackStatus, Option<DateTime<Utc>>)> {
    loop {
        let claimed = if stop.is_cancelled() {
            Claimed::default()
        } else {
            claim(app, event).await?
        };
        for (delivery, lane) in claimed.lost {
            if lane.leave() {
                bring_next(app, &delivery).await?;
            }
        }
        let has_sent = !claimed.parcels.is_empty();
        let deliveries = claimed.parcels.into_iter();
        let outcomes = join_all(deliveries.map(|parcel| deliver(app, event, parcel))).await;
        for outcome in outcomes {
            counts.sent += 1;
            counts.success += usize::from(outcome? == CallbackStatus::Success);
        }
        if has_sent && !claimed.crowded.is_empty() {
            continue;
        }
        let state = finish(app, event.id).await?;
        // Whoever left a lane before the slot was free has not seen this event waiting.
        let has_room = |it: &DueDelivery| app.lanes.free(it.endpoint_id, width(it.is_ordered)) > 0;
        if !claimed.crowded.iter().any(has_room) {
            return Ok(state);
        }
    }
}

/// Looks for what is due and takes the leases of what there is room for.
async fn claim(app: &App, event: &OwedEvent) -> sqlx::Result<Claimed> {
    let now = app.clock.now();
    let mut tx = app.db.read().await?;
    let due = deliveries::due_deliveries(&mut tx, event.id, now).await?;
    tx.save().await?;
    let mut claimed = Claimed::default();
    let mut admitted = Vec::new();
    for delivery in due {
        let width = width(delivery.is_ordered);
        match app.lanes.enter(delivery.endpoint_id, width) {
            Some(lane) => admitted.push((delivery, lane)),
            None => claimed.crowded.push(delivery),
        }
    }
    if admitted.is_empty() {
        return Ok(claimed);
    }
    let lease = DeliveryLease {
        token: app.ids.new_id(now),
        expires_at: now + app.settings.callback.timeout + LEASE_MARGIN,
    };
    let mut tx = app.db.write().await?;
    schedule::hold_slot(&mut tx, event.id, lease.expires_at).await?;
    for (delivery, lane) in admitted {
        if !take(&mut tx, &delivery, lease, now).await? {
            claimed.lost.push((delivery, lane));
            continue;
        }
        let secrets = signing_secrets(app, &mut tx, delivery.endpoint_id, now).await?;
        claimed.parcels.push(Parcel {
            delivery,
            lease,
            secrets,
            lane,
        });
    }
    tx.save().await?;
    Ok(claimed)
}

/// Takes the lease of a delivery, and the one chance of an endpoint that was left in peace.
async fn take(
    tx: &mut Tx,
    delivery: &DueDelivery,
    lease: DeliveryLease,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    if breaker::is_tripped(delivery.consecutive_failures)
        && !deliveries::take_probe(tx, delivery.endpoint_id, lease.expires_at, now).await?
    {
        return Ok(false);
    }
    deliveries::claim_delivery(tx, delivery.id, lease, now).await
}

/// Sends a delivery and writes down what came of it; tells how the delivery stands.
async fn deliver(app: &App, event: &OwedEvent, parcel: Parcel) -> sqlx::Result<CallbackStatus> {
    let Parcel {
        delivery,
        lease,
        secrets,
        lane,
    } = parcel;
    let started_at = app.clock.now();
    let sent = match secrets {
        Ok(secrets) => send(app, event, &delivery, &secrets, started_at).await,
        Err(SecretUnreadable) => Sent::unsigned(),
    };
    app.metrics.callback_request(sent.result(), sent.duration);
    let outcome = Outcome::of(
        &sent,
        delivery.attempt,
        &app.settings.callback,
        &app.jitter,
        app.clock.now(),
    );
    let attempt = AttemptRow {
        id: app.ids.new_id(started_at),
        delivery_id: delivery.id,
        attempt: delivery.attempt.saturating_add(1),
        started_at,
        duration_ms: i32::try_from(sent.duration.as_millis()).unwrap_or(i32::MAX),
        http_status: outcome.http_status,
        error: sent.reply.as_ref().err().map(ToString::to_string),
        response: sent.reply.as_ref().ok().map(|reply| reply.excerpt.as_str()),
    };
    let write = Write {
        app,
        event,
        delivery: &delivery,
        lease,
        outcome: &outcome,
        attempt: &attempt,
    };
    // For as long as the lease lasts: without it the answer is lost, and the event sent again.
    let patience = LEASE_MARGIN.to_std().unwrap_or_default();
    let next = db::persist_within(patience, || write.try_write()).await?;
    // Left only now, so that no more than a laneful is sent after the failure that opens the
    // breaker.
    let was_turned_away = lane.leave();
    if next.is_some() {
        app.metrics.delivery(outcome.counted_as());
        write.log_dead_letter();
    } else {
        warn!(event = "delivery_lease_lost", outboxId = %event.id, endpointId = %delivery.endpoint_id, "event {} is sent to webhook {} by somebody else by now", event.id, delivery.endpoint_id);
    }
    enqueue_events(app, &next.unwrap_or_default()).await;
    if was_turned_away {
        bring_next(app, &delivery).await?;
    }
    Ok(outcome.status)
}

/// The request: the same bytes for everyone, signed for each.
async fn send(
    app: &App,
    event: &OwedEvent,
    delivery: &DueDelivery,
    secrets: &[SigningSecret],
    now: DateTime<Utc>,
) -> Sent {
    let body = serde_json::to_vec(&event.payload.0).expect("what was JSON becomes JSON");
    let global = app.settings.webhook.secret.as_ref();
    let timestamp = event.payload.timestamp;
    let headers: Vec<_> = reference_headers(event.id, timestamp, &body, global)
        .into_iter()
        .chain(standard_headers(event.id, now, &body, secrets))
        .collect();
    let span = || {
        let endpoint = delivery.endpoint_id.to_string();
        NewSpan::call("call webhook").with("endpoint.id", endpoint)
    };
    let call = async {
        let traceparent = traces::traceparent().map(|it| (traces::HEADER, it));
        let headers = headers.into_iter().chain(traceparent);
        let sent = app.webhooks.post(&delivery.target_url, headers, body).await;
        if let Ok(reply) = &sent.reply {
            traces::note("http.response.status_code", i64::from(reply.status));
        }
        if sent.result() != "success" {
            traces::note_failure(sent.result());
        }
        sent
    };
    app.traces.within(span, call).await
}

/// Everything that is written after a request.
struct Write<'a> {
    app: &'a App,
    event: &'a OwedEvent,
    delivery: &'a DueDelivery,
    lease: DeliveryLease,
    outcome: &'a Outcome,
    attempt: &'a AttemptRow<'a>,
}

impl Write<'_> {
    /// One transaction, fenced by the lease: the delivery, the attempt, the endpoint's record,
    /// and how the event stands by that. Returns what the endpoint is owed next, or nothing when
    /// the lease is lost.
    async fn try_write(&self) -> sqlx::Result<Option<Vec<OutboxId>>> {
        let now = self.app.clock.now();
        let id = self.event.id;
        let mut tx = self.app.db.write().await?;
        // Locks the event, so that each of its deliveries sees how the others stand.
        schedule::hold_slot(&mut tx, id, self.lease.expires_at).await?;
        let lease = self.lease.token;
        if !deliveries::write_outcome(&mut tx, self.delivery.id, lease, self.outcome, now).await? {
            return Ok(None);
        }
        deliveries::insert_attempt(&mut tx, self.attempt).await?;
        let states = deliveries::delivery_states(&mut tx, id).await?;
        deliveries::write_event_state(&mut tx, id, &settle(&states), now).await?;
        self.keep_record(&mut tx, now).await?;
        let room = self
            .app
            .lanes
            .free(self.delivery.endpoint_id, width(self.delivery.is_ordered))
            + 1;
        let next = next_in_lane(&mut tx, self.delivery, room, now).await?;
        tx.save().await?;
        Ok(Some(next))
    }

    /// What a request says of its endpoint.
    async fn keep_record(&self, tx: &mut Tx, now: DateTime<Utc>) -> sqlx::Result<()> {
        let endpoint = self.delivery.endpoint_id;
        if self.outcome.status == CallbackStatus::Success {
            if deliveries::count_success(tx, endpoint).await? {
                info!(event = "webhook_resumed", endpointId = %endpoint, "webhook {endpoint} is back");
            }
            return Ok(());
        }
        let is_probe = breaker::is_tripped(self.delivery.consecutive_failures);
        let failures =
            deliveries::count_failure(tx, endpoint, is_probe, breaker::THRESHOLD).await?;
        if let Some(pause) = breaker::pause(failures, is_probe) {
            let until = now + pause;
            deliveries::open_breaker(tx, endpoint, until).await?;
            warn!(event = "webhook_paused", endpointId = %endpoint, consecutiveFailures = failures, until = %until, "webhook {endpoint} failed {failures} times in a row and is left in peace");
        }
        if self.outcome.is_gone && endpoints::deactivate(tx, endpoint, GONE, now).await? {
            warn!(event = "webhook_gone", endpointId = %endpoint, "webhook {endpoint} says that it is no more: nothing is sent to it until it is activated again");
        }
        Ok(())
    }

    fn log_dead_letter(&self) {
        if self.outcome.status != CallbackStatus::Failed {
            return;
        }
        let (event, endpoint) = (self.event, self.delivery.endpoint_id);
        let reason = self.outcome.last_error.as_deref().unwrap_or_default();
        error!(
            event = "callback_dead_letter",
            outboxId = %event.id,
            organizationId = event.organization_id,
            storeId = %event.store_id,
            outboxEvent = %event.event,
            endpointId = %endpoint,
            lastError = format!("{endpoint}: {reason}"),
            "gave up event {} for webhook {endpoint}", event.id
        );
    }
}

/// Enqueues what the endpoint of a delivery is owed next: somebody who would have sent it was
/// turned away.
async fn bring_next(app: &App, delivery: &DueDelivery) -> sqlx::Result<()> {
    let room = app
        .lanes
        .free(delivery.endpoint_id, width(delivery.is_ordered));
    let mut tx = app.db.read().await?;
    let next = next_in_lane(&mut tx, delivery, room, app.clock.now()).await?;
    tx.save().await?;
    enqueue_events(app, &next).await;
    Ok(())
}

/// What the endpoint of a delivery is owed next, if its lane has room; not more than a few events,
/// because whoever leaves a lane does the same.
async fn next_in_lane(
    tx: &mut Tx,
    delivery: &DueDelivery,
    room: usize,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<OutboxId>> {
    let limit = room.min(BROUGHT_AT_ONCE);
    next_events(tx, delivery.endpoint_id, delivery.is_ordered, limit, now).await
}

/// The job ends: its slot is free. Tells how the event stands.
async fn finish(app: &App, id: OutboxId) -> sqlx::Result<(CallbackStatus, Option<DateTime<Utc>>)> {
    let mut tx = app.db.write().await?;
    let state = schedule::free_slot(&mut tx, id).await?;
    tx.save().await?;
    // None when it was deleted with its store meanwhile: nobody is owed it.
    Ok(state.unwrap_or((CallbackStatus::Success, None)))
}

/// Lets the next tick enqueue an event whose job failed.
pub(crate) async fn free_slot(app: &App, id: OutboxId) -> sqlx::Result<()> {
    let mut tx = app.db.write().await?;
    schedule::free_slot(&mut tx, id).await?;
    tx.save().await
}

fn log_deliveries(event: &OwedEvent, counts: Counts, next_retry_at: Option<DateTime<Utc>>) {
    info!(
        event = "callback_delivery",
        outboxEvent = %event.event,
        outboxId = %event.id,
        organizationId = event.organization_id,
        storeId = %event.store_id,
        attempt = event.attempt,
        endpointCount = counts.sent,
        successCount = counts.success,
        failCount = counts.sent - counts.success,
        nextRetryAt = next_retry_at.map(crate::timestamp::format),
        "sent event {} to {} webhooks, {} took it", event.id, counts.sent, counts.success
    );
}
