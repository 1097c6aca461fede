//! One push: what was sent, or would be, and what came back.

use jobs::PushId;

use super::views::{CallView, PushDetails, PushView, RejectedView};
use crate::App;
use crate::admin::operators::queries::stock::pushes::{self, Call, Push, Rejected};

/// Requests that are shown from each end.
const CALLS: i64 = 5;
/// Refused items that are shown.
const REJECTED: i64 = 50;

/// A push; none if it is not there, or not any more.
pub(super) async fn show_push(app: &App, id: PushId) -> sqlx::Result<Option<PushDetails>> {
    let mut tx = app.db.read().await?;
    let Some(push) = pushes::one(&mut tx, id).await? else {
        return Ok(None);
    };
    let body = pushes::body(&mut tx, id).await?;
    // One more tells whether some are left out.
    let mut calls = pushes::first_calls(&mut tx, id, CALLS).await?;
    let mut last = pushes::last_calls(&mut tx, id, CALLS + 1).await?;
    let mut rejected = pushes::rejected(&mut tx, id, REJECTED + 1).await?;
    tx.save().await?;
    let is_shown = |calls: &[Call], call: &Call| calls.iter().any(|it| it.id == call.id);
    let has_more_calls =
        last.len() > count(CALLS) && last.pop().is_some_and(|oldest| !is_shown(&calls, &oldest));
    last.retain(|call| !is_shown(&calls, call));
    calls.extend(last.into_iter().rev());
    let has_more_rejected = rejected.len() > count(REJECTED);
    rejected.truncate(count(REJECTED));
    Ok(Some(PushDetails {
        push: push_view(push),
        body,
        calls: calls.into_iter().map(call_view).collect(),
        has_more_calls,
        rejected: rejected.into_iter().map(rejected_view).collect(),
        has_more_rejected,
    }))
}

fn count(limit: i64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

pub(super) fn push_view(push: Push) -> PushView {
    PushView {
        id: push.id.0,
        store_id: push.store_id.0,
        store_name: push.store_name,
        organization_id: push.organization_id,
        state: push.state,
        items: push.item_count,
        failed_items: push.failed_item_count,
        batch_id: push.external_batch_id,
        http_status: push.http_status,
        error: push.error,
        created_at: push.created_at.into(),
        sent_at: push.sent_at.map(Into::into),
        accepted_at: push.accepted_at.map(Into::into),
        confirmed_at: push.confirmed_at.map(Into::into),
        next_poll_at: push.next_poll_at.map(Into::into),
        polls: push.polls,
    }
}

fn call_view(call: Call) -> CallView {
    CallView {
        kind: call.kind,
        method: call.method,
        url: call.url,
        at: call.created_at.into(),
        duration_ms: call.duration_ms,
        request: call.request_body,
        response: call.response_body,
        is_truncated: call.truncated,
        http_status: call.http_status,
        is_success: call.is_success,
        error: call.error,
    }
}

fn rejected_view(item: Rejected) -> RejectedView {
    RejectedView {
        product_id: item.product_id.0,
        product_name: item.product_name,
        sku: item.sku,
        barcode: item.barcode,
        quantity: item.sent_quantity,
        errors: item.errors.map(|errors| errors.0),
    }
}
