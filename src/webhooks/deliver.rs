//! What [`DeliverCallback`] does, top to bottom.
//!
//! It takes the deliveries of its event that are due, sends them all at the same time, and
//! writes down what came of each as soon as it is known, so that none waits for another. A
//! delivery is a row: its attempts, its next time and its lease stand there. Each of these steps
//! is a transaction that it shares with the jobs that make the same step just then ([`together`]).
//!
//! It may always run twice: the lease lets one request out at a time, its outcome is written
//! under the lease only, and a delivery that succeeded is never claimed again. A process that
//! dies leaves a lease that ends by itself; the next tick brings the event back. Whoever receives
//! an event twice by that knows it by its id.
//!
//! Nothing in here waits for an endpoint that has enough to do: a delivery without a free lane
//! ([`Lanes`](super::lanes::Lanes)) stays due, and whoever leaves the lane enqueues what the endpoint is owed
//! next ([`together::bring_next`]). So a slow endpoint holds as many workers as it has lanes, a dead one
//! holds none, and a backlog is worked off without waiting for ticks.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::join_all;
use jobs::{DeliverCallback, Job, OutboxId};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::attempt::Outcome;
use super::lanes::width;
use super::outbox::CallbackStatus;
use super::queries::deliveries::{DeliveryLease, DueDelivery, OutcomeRow, OwedEvent};
use super::queries::schedule::EndedEvent;
use super::secrets::SecretUnreadable;
use super::send::Sent;
use super::sign::{SigningSecret, reference_headers, standard_headers};
use super::together::{self, Answered, LEASE_MARGIN, Look, Parcel, Taken, Written};
use super::unreadable;
use crate::App;
use crate::batch::BatchError;
use crate::db;
use crate::traces::{self, NewSpan};

/// How long a job that ends waits for its event while somebody has it locked.
const BUSY: Duration = Duration::from_secs(2);

/// How an event stands.
type State = (CallbackStatus, Option<DateTime<Utc>>);

/// What a job came to.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    sent: usize,
    success: usize,
}

/// Runs the job: what is due of an event, unless another job is at it.
pub(crate) async fn deliver_callback(
    app: &Arc<App>,
    job: DeliverCallback,
    stop: &CancellationToken,
) -> Result<(), BatchError> {
    let id = job.outbox_id;
    if stop.is_cancelled() {
        return finish(app, id).await.map(|_| ());
    }
    let taken = match together::take(app, id).await {
        Err(BatchError::Database(error)) if unreadable::is_unreadable(&error) => {
            return Ok(unreadable::give_up(app, id, &error).await?);
        }
        look => match look? {
            Look::Taken(taken) => *taken,
            // The other job frees the slot.
            Look::Elsewhere => return Ok(()),
            Look::Gone => {
                warn!(event = "outbox_not_found", outboxId = %id, "event {id} does not exist any more");
                return Ok(());
            }
        },
    };
    let event = taken.event.clone();
    let span = || {
        let span = NewSpan::job(DeliverCallback::NAME, event.traceparent.as_deref());
        span.with("event.id", id.to_string())
            .with("event.name", event.event.as_str())
    };
    let work = async {
        let ended = run(app, &job, taken, stop).await;
        if ended.is_err() {
            traces::note_failure("failed");
        }
        ended
    };
    app.traces.within(span, work).await
}

async fn run(
    app: &Arc<App>,
    job: &DeliverCallback,
    taken: Taken,
    stop: &CancellationToken,
) -> Result<(), BatchError> {
    let event = taken.event.clone();
    let id = event.id;
    let mut counts = Counts::default();
    let mut state = (event.status, None);
    if event.status == CallbackStatus::Pending {
        state = rounds(app, taken, stop, &mut counts).await?;
    }
    let (status, next_retry_at) = state;
    if counts.sent > 0 {
        log_deliveries(&event, counts, next_retry_at);
    }
    info!(event = "callback_job_completed", queue = DeliverCallback::QUEUE, jobId = job.identity(), outboxId = %id, %status, "ran the job of event {id}");
    Ok(())
}

/// Sends what is due until nothing is left that this process may send now.
async fn rounds(
    app: &Arc<App>,
    mut taken: Taken,
    stop: &CancellationToken,
    counts: &mut Counts,
) -> Result<State, BatchError> {
    loop {
        let Taken {
            event,
            parcels,
            crowded,
            missed,
        } = taken;
        for delivery in missed {
            together::bring_next(app, &delivery).await?;
        }
        let has_sent = !parcels.is_empty();
        let parcels = parcels.into_iter();
        let sent = join_all(parcels.map(|parcel| deliver(app, &event, parcel))).await;
        let mut state = None;
        for sent in sent {
            let (outcome, written) = sent?;
            counts.sent += 1;
            counts.success += usize::from(outcome == CallbackStatus::Success);
            // The last one that was written knows of all; it freed the slot.
            let is_settled = |(status, _): &State| *status != CallbackStatus::Pending;
            state = written.filter(is_settled).or(state);
        }
        if let Some(state) = state {
            return Ok(state);
        }
        if !has_sent || crowded.is_empty() {
            let state = finish(app, event.id).await?;
            // Whoever left a lane before the slot was free has not seen this event waiting.
            let has_room =
                |it: &DueDelivery| app.lanes.free(it.endpoint_id, width(it.is_ordered)) > 0;
            if !crowded.iter().any(has_room) {
                return Ok(state);
            }
        }
        if stop.is_cancelled() {
            return finish(app, event.id).await;
        }
        match together::take(app, event.id).await? {
            Look::Taken(again) => taken = *again,
            Look::Elsewhere => return Ok((CallbackStatus::Pending, None)),
            Look::Gone => return Ok((CallbackStatus::Success, None)),
        }
    }
}

/// Sends a delivery and writes down what came of it; tells how the delivery stands and, if the
/// lease was not lost, the event.
async fn deliver(
    app: &Arc<App>,
    event: &OwedEvent,
    parcel: Parcel,
) -> Result<(CallbackStatus, Option<State>), BatchError> {
    let Parcel {
        delivery,
        lease,
        signing,
        lane,
    } = parcel;
    let started_at = app.clock.now();
    let sent = match signing {
        Ok(secrets) => send(app, event, &delivery, &secrets, started_at).await,
        Err(SecretUnreadable) => Sent::unsigned(),
    };
    app.metrics.callback_request(sent.result(), sent.duration);
    let now = app.clock.now();
    let settings = &app.settings.callback;
    let outcome = Outcome::of(&sent, delivery.attempt, settings, &app.jitter, now);
    let answered = Answered {
        row: row(app, &delivery, lease, &outcome, sent, started_at),
        delivery,
        is_gone: outcome.is_gone,
    };
    // For as long as the lease lasts: without it the answer is lost, and the event sent again.
    let patience = LEASE_MARGIN.to_std().unwrap_or_default();
    let written = db::persist_within(patience, || together::record(app, answered.clone())).await?;
    let delivery = &answered.delivery;
    // Left only now, so that no more than a laneful is sent after the failure that opens the
    // breaker.
    let was_turned_away = lane.leave();
    let state = written.as_ref().map(|it| (it.status, it.next_retry_at));
    if let Some(Written { next, .. }) = written {
        app.metrics.delivery(outcome.counted_as());
        log_dead_letter(event, delivery, &outcome);
        together::push(app, next).await?;
    } else {
        warn!(event = "delivery_lease_lost", outboxId = %event.id, endpointId = %delivery.endpoint_id, "event {} is sent to webhook {} by somebody else by now", event.id, delivery.endpoint_id);
    }
    if was_turned_away {
        together::bring_next(app, delivery).await?;
    }
    Ok((outcome.status, state))
}

/// What is written after a request.
fn row(
    app: &App,
    delivery: &DueDelivery,
    lease: DeliveryLease,
    outcome: &Outcome,
    sent: Sent,
    started_at: DateTime<Utc>,
) -> OutcomeRow {
    let is_success = outcome.status == CallbackStatus::Success;
    let (error, response) = match sent.reply {
        Ok(reply) => (None, Some(reply.excerpt)),
        Err(error) => (Some(error.to_string()), None),
    };
    OutcomeRow {
        id: app.ids.new_id(started_at),
        delivery_id: delivery.id,
        lease_token: lease.token,
        status: outcome.status,
        failures: outcome.attempt,
        next_attempt_at: outcome.next_attempt_at,
        last_error: outcome.last_error.clone(),
        delivered_at: is_success.then(|| app.clock.now()),
        http_status: outcome.http_status,
        attempt: delivery.attempt.saturating_add(1),
        started_at,
        duration_ms: i32::try_from(sent.duration.as_millis()).unwrap_or(i32::MAX),
        error,
        response,
    }
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

fn log_dead_letter(event: &OwedEvent, delivery: &DueDelivery, outcome: &Outcome) {
    if outcome.status != CallbackStatus::Failed {
        return;
    }
    let endpoint = delivery.endpoint_id;
    let reason = outcome.last_error.as_deref().unwrap_or_default();
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

/// The job ends: its slot is free. Tells how the event stands.
///
/// Whoever looks for what its endpoint is owed next locks an event for an instant; whoever deletes
/// a webhook, for longer: then the slot ends by itself.
async fn finish(app: &Arc<App>, id: OutboxId) -> Result<State, BatchError> {
    let ended = match end(app, id).await {
        Err(BatchError::Busy) => None,
        ended => ended?,
    };
    Ok(ended.map_or((CallbackStatus::Pending, None), |it| {
        (it.status, it.next_retry_at)
    }))
}

/// Lets the next tick enqueue an event whose job failed. What failed may hold the event for an
/// instant yet: a transaction that is not saved is rolled back when nobody waits for it any more.
pub(crate) async fn free_slot(app: &Arc<App>, id: OutboxId) -> Result<(), BatchError> {
    end(app, id).await.map(|_| ())
}

async fn end(app: &Arc<App>, id: OutboxId) -> Result<Option<EndedEvent>, BatchError> {
    db::persist_within(BUSY, || together::end(app, id)).await
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
