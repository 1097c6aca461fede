//! What an answer to a request means for its push, its items, their pairs and their rows. It writes
//! nothing: [`settle`](super::settle) does.

use chrono::{DateTime, TimeDelta, Utc};
use jobs::PushId;
use serde_json::{Value, json};
use tracing::{error, warn};

use super::abandon::READ_BACK_AFTER;
use super::api_logs;
use super::compose::{self, Planned};
use super::connector::{
    CallFailure, FailureKind, ItemOutcome, Rejection, RejectionClass, SendOutcome,
};
use super::failures::{Aftermath, Sent, after_failure, after_success};
use super::model::{ItemState, PushState, QueueId, QueueOutcome, Reason};
use super::queries::claim::{Requeued, RowEnd};
use super::queries::gates::Limits;
use super::queries::pairs::{Before, PairEnd};
use super::queries::pushes::{ItemEnd, PushEnd};
use super::rejections::{REQUEST_REFUSED, Refusal, after_rejection};
use super::results::{self, Digest, digest};
use super::run::Run;
use super::send::Push;
use crate::App;
use crate::metrics::StoreLabel;
use crate::webhooks::EventType;

/// When a marketplace is first asked for the results of what it accepted.
pub(super) const FIRST_LOOK: TimeDelta = TimeDelta::seconds(3);
/// How long results can be asked for, if the marketplace does not say.
pub(super) const RESULTS_FOR: TimeDelta = TimeDelta::hours(24);

/// What is written about a push.
#[derive(Debug)]
pub(super) struct Settlement {
    /// Pairs whose end is known.
    pub(super) pairs: Vec<PairEnd>,
    /// Pairs that stand as before, or of which it is not known.
    pub(super) taken_back: Vec<Before>,
    pub(super) rows: Vec<RowEnd>,
    pub(super) again: Vec<Requeued>,
    pub(super) push: PushEnd,
    pub(super) items: Items,
    pub(super) limits: Limits,
    /// The request was refused because it was sent before.
    pub(super) is_identical: bool,
    pub(super) events: Vec<(EventType, Value)>,
}

/// What becomes of the items of a push.
#[derive(Debug)]
pub(super) enum Items {
    AsSent,
    All(ItemState),
    Each(Vec<ItemEnd>),
}

/// What an answer means, and, if the request came to nothing, for the requests after it.
pub(super) fn meaning(
    run: &Run<'_>,
    push: &Push,
    outcome: &SendOutcome,
    status: Option<u16>,
    now: DateTime<Utc>,
) -> (Settlement, Option<Aftermath>) {
    match outcome {
        SendOutcome::Accepted { batch_id } => (accepted(run, push, batch_id, status, now), None),
        SendOutcome::Done(outcomes) => (done(run, push, outcomes, status, now), None),
        SendOutcome::Failed(failure) => {
            let aftermath = aftermath(run, push, failure, now);
            let settlement = failed(run, push, failure, &aftermath, status, now);
            (settlement, Some(aftermath))
        }
    }
}

/// The rows of a request.
fn rows_of(planned: &[Planned]) -> Vec<QueueId> {
    planned
        .iter()
        .filter_map(|it| it.row.as_ref())
        .map(|row| row.id)
        .collect()
}

/// What a request that the marketplace took leaves behind, as far as it is the same for all.
fn taken(run: &Run<'_>, push: &Push, status: Option<u16>, now: DateTime<Utc>) -> Settlement {
    let rows = rows_of(&push.plan.send);
    let sent = Sent {
        rows: &rows,
        item_count: push.items.len(),
    };
    Settlement {
        pairs: Vec::new(),
        taken_back: Vec::new(),
        rows: row_ends(push, |_| (Some(QueueOutcome::Sent), None, None)),
        again: Vec::new(),
        push: PushEnd {
            state: PushState::Accepted,
            failed_item_count: 0,
            external_batch_id: None,
            http_status: status.map(i32::from),
            error: None,
            accepted_at: Some(now),
            confirmed_at: None,
            expires_at: None,
            next_poll_at: None,
            was_received: true,
        },
        items: Items::AsSent,
        limits: after_success(&run.limits, sent, &run.rules, now),
        is_identical: false,
        events: Vec::new(),
    }
}

/// The marketplace says later what became of the items.
fn accepted(
    run: &Run<'_>,
    push: &Push,
    batch_id: &str,
    status: Option<u16>,
    now: DateTime<Utc>,
) -> Settlement {
    run.app
        .metrics
        .stock
        .items(run.label(), "accepted", push.items.len());
    let taken = taken(run, push, status, now);
    Settlement {
        push: PushEnd {
            external_batch_id: Some(api_logs::message(batch_id)),
            expires_at: Some(now + run.rules.manners.results_for.unwrap_or(RESULTS_FOR)),
            next_poll_at: Some(now + FIRST_LOOK),
            ..taken.push
        },
        ..taken
    }
}

/// The marketplace said at once what became of the items.
fn done(
    run: &Run<'_>,
    push: &Push,
    outcomes: &[ItemOutcome],
    status: Option<u16>,
    now: DateTime<Utc>,
) -> Settlement {
    let told: Vec<results::Told> = (1..)
        .zip(&push.plan.send)
        .map(|(no, it)| told(no, it))
        .collect();
    let digest = digest(&told, outcomes, now);
    note_digest(run.app, run.label(), push.id, &digest);
    let taken = taken(run, push, status, now);
    // Rows that nobody knows the outcome of stay; what was refused is enqueued again.
    let unknown = |planned: &Planned| {
        let of_product = |it: &&results::Again| it.product_id == planned.item.product_id;
        digest
            .again
            .iter()
            .find(of_product)
            .filter(|it| !it.is_rejected)
    };
    let rows = row_ends(push, |planned| match unknown(planned) {
        Some(again) => (
            None,
            Some(again.due_at),
            Some("the marketplace did not say".to_owned()),
        ),
        None => (Some(QueueOutcome::Sent), None, None),
    });
    let stays = |again: &results::Again| {
        let has_row = |it: &Planned| it.item.product_id == again.product_id && it.row.is_some();
        !again.is_rejected && push.plan.send.iter().any(has_row)
    };
    let again = digest.again.iter().filter(|it| !stays(it));
    let state = digest.state();
    Settlement {
        rows,
        again: again
            .map(|it| it.row(QueueId(run.app.ids.new_id(now))))
            .collect(),
        push: PushEnd {
            state,
            failed_item_count: digest.failed_item_count(),
            confirmed_at: (digest.confirmed > 0).then_some(now),
            ..taken.push
        },
        events: events_of(push.id, state, push.items.len(), &digest),
        items: Items::Each(digest.items),
        pairs: digest.pairs,
        ..taken
    }
}

fn told(element_no: i32, planned: &Planned) -> results::Told {
    let row = planned.row.as_ref();
    results::Told {
        element_no,
        product_id: planned.item.product_id,
        quantity: planned.item.quantity,
        reason: row.map(|row| row.reason),
        priority: row.map(|row| row.priority),
        queued_at: row.map(|row| row.created_at),
        reject_count: planned.pair.reject_count,
        push_state: planned.pair.push_state,
    }
}

/// What subscribers hear of a push whose results are there.
pub(super) fn events_of(
    id: PushId,
    state: PushState,
    item_count: usize,
    digest: &Digest,
) -> Vec<(EventType, Value)> {
    let data = json!({
        "pushId": id,
        "state": state,
        "itemCount": item_count,
        "failedItemCount": digest.rejected,
    });
    let of_push = match state {
        PushState::Confirmed | PushState::Partial => Some(EventType::StockPushCompleted),
        PushState::Failed => Some(EventType::StockPushFailed),
        _ => None,
    };
    let mut events: Vec<_> = of_push.map(|event| (event, data)).into_iter().collect();
    // Of several, which would be told of together, the first stands for all.
    let mut blocked = digest.blocked.iter().cloned();
    if let Some(mut first) = blocked.next() {
        first["others"] = blocked.count().into();
        events.push((EventType::StockItemBlocked, first));
    }
    events
}

/// Counts what became of items, and is loud about what is a defect of ours.
pub(super) fn note_digest(app: &App, of: StoreLabel, id: PushId, digest: &Digest) {
    let metrics = &app.metrics.stock;
    metrics.items(of, "confirmed", digest.confirmed);
    metrics.items(of, "rejected", digest.rejected);
    metrics.items(of, "unknown", digest.unknown);
    for latency in &digest.latencies {
        metrics.push_latency(of, latency.to_std().unwrap_or_default());
    }
    if let Some(defect) = digest.defects.first() {
        error!(event = "stock_item_defect", pushId = %id, storeId = %of.store_id, items = digest.defects.len(), "push {id} was refused for a defect of ours: {defect}");
    }
}

fn aftermath(run: &Run<'_>, push: &Push, failure: &CallFailure, now: DateTime<Utc>) -> Aftermath {
    let rows = rows_of(&push.plan.send);
    let sent = Sent {
        rows: &rows,
        item_count: push.items.len(),
    };
    let mut aftermath = after_failure(
        failure.kind,
        &run.limits,
        sent,
        &run.rules,
        &run.app.jitter,
        now,
    );
    if let Some(closed) = aftermath.closed {
        aftermath.limits.backoff_until = Some(closed.until);
        aftermath.limits.backoff_reason = Some(closed.reason);
    }
    warn!(
        event = "stock_push_failed",
        pushId = %push.id,
        storeId = %run.store.id,
        state = %aftermath.state,
        gate = aftermath.closed.map(|closed| closed.reason.as_str()),
        "push {} came to nothing: {}", push.id, failure.message
    );
    aftermath
}

/// The request came to nothing, or nobody knows.
fn failed(
    run: &Run<'_>,
    push: &Push,
    failure: &CallFailure,
    aftermath: &Aftermath,
    status: Option<u16>,
    now: DateTime<Utc>,
) -> Settlement {
    let message = api_logs::message(&failure.message);
    let is_unknown = aftermath.state == PushState::Unknown;
    let refused = aftermath
        .blocks_row
        .then(|| refusal(push, &message, now))
        .flatten();
    let is_refused =
        |planned: &Planned| planned.row.is_some() && aftermath.blocks_row && refused.is_some();
    let mut taken_back = compose::before(&push.plan.send);
    if let Some(refused) = &refused {
        taken_back.retain(|before| before.product_id != refused.end.product_id);
    }
    if is_unknown {
        for (before, told) in taken_back.iter_mut().zip(compose::told(&push.plan.send)) {
            before.last_confirmed_quantity = None;
            before.last_pushed_quantity = Some(told.quantity);
            before.last_pushed_at = Some(now);
        }
    }
    let due_at = refused.as_ref().map(|refused| refused.due_at);
    let rows = row_ends(push, |planned| {
        let due_at = due_at.filter(|_| is_refused(planned));
        (None, due_at, Some(message.clone()))
    });
    Settlement {
        pairs: refused.iter().map(|refused| refused.end.clone()).collect(),
        taken_back,
        rows,
        again: if is_unknown {
            companions(run, push, now)
        } else {
            Vec::new()
        },
        push: PushEnd {
            state: aftermath.state,
            failed_item_count: 0,
            external_batch_id: None,
            http_status: status.map(i32::from),
            error: Some(message.clone()),
            accepted_at: None,
            confirmed_at: None,
            expires_at: None,
            next_poll_at: is_unknown.then(|| now + READ_BACK_AFTER),
            was_received: aftermath.was_received,
        },
        items: Items::All(if is_unknown {
            ItemState::Unknown
        } else {
            ItemState::Rejected
        }),
        limits: aftermath.limits.clone(),
        is_identical: failure.kind == FailureKind::Identical,
        events: failure_events(push.id, aftermath, &message, refused.as_ref()),
    }
}

/// What only kept others company: no row says that it has to be told.
fn companions(run: &Run<'_>, push: &Push, now: DateTime<Utc>) -> Vec<Requeued> {
    let companions = push
        .plan
        .send
        .iter()
        .filter(|planned| planned.row.is_none());
    companions
        .map(|planned| Requeued {
            id: QueueId(run.app.ids.new_id(now)),
            product_id: planned.item.product_id,
            reason: Reason::Resync,
            priority: Reason::Resync.priority(),
            force: false,
            next_attempt_at: now,
        })
        .collect()
}

fn failure_events(
    id: PushId,
    aftermath: &Aftermath,
    message: &str,
    refused: Option<&Refusal>,
) -> Vec<(EventType, Value)> {
    let data = json!({
        "pushId": id,
        "state": aftermath.state,
        "error": message,
        "gate": aftermath.closed.map(|closed| json!({
            "reason": closed.reason, "opensAt": closed.until,
        })),
    });
    let mut events: Vec<_> = aftermath
        .event
        .map(|event| (event, data))
        .into_iter()
        .collect();
    events.extend(refused.filter(|refused| refused.is_told).map(|refused| {
        let data = json!({
            "productId": refused.end.product_id,
            "code": REQUEST_REFUSED,
            "message": message,
            "isBlocked": true,
            "retryAt": refused.due_at,
            "others": 0,
        });
        (EventType::StockItemBlocked, data)
    }));
    events
}

/// What becomes of the only row of a request that was refused as a whole.
fn refusal(push: &Push, message: &str, now: DateTime<Utc>) -> Option<Refusal> {
    let bad = push
        .plan
        .send
        .iter()
        .find(|planned| planned.row.is_some())?;
    let rejection = Rejection {
        code: REQUEST_REFUSED.to_owned(),
        message: message.to_owned(),
        class: RejectionClass::Permanent,
    };
    let count = bad.pair.reject_count.saturating_add(1);
    let state = bad.pair.push_state;
    Some(after_rejection(
        bad.item.product_id,
        &rejection,
        count,
        state,
        now,
    ))
}

type Fate = (Option<QueueOutcome>, Option<DateTime<Utc>>, Option<String>);

/// The ends of the rows of a push, and of those that were not sent, in the order of products.
fn row_ends(push: &Push, fate: impl Fn(&Planned) -> Fate) -> Vec<RowEnd> {
    let ends: Vec<RowEnd> = push
        .plan
        .send
        .iter()
        .filter_map(|planned| {
            let row = planned.row.as_ref()?;
            let (outcome, next_attempt_at, last_error) = fate(planned);
            Some(RowEnd {
                next_attempt_at,
                push_id: Some(push.id),
                last_error,
                ..compose::end(row, outcome)
            })
        })
        .collect();
    push.plan.ends_with(ends)
}
