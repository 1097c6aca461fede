//! What the routes of pushes and logged requests give.

use poem_openapi::Object;
use serde_json::Value;
use uuid::Uuid;

use super::model::{ApiLogType, ItemState, Provider, PushState, Reason};
use super::queries::api_logs::ApiLog;
use super::queries::push_log::{ItemRow, PushRow, WholePush};
use super::rollout::{Condition, Rollout};
use crate::http::nullable::Nullable;
use crate::timestamp::Timestamp;

/// A request that told a marketplace quantities.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct StockPush {
    /// Its id, which the marketplace has as the correlation id.
    id: Uuid,
    /// The store whose quantities they are.
    store_id: Uuid,
    /// `UNKNOWN` may have been applied; what the marketplace shows is looked at then.
    state: PushState,
    /// The same quantities of the same items have the same hash.
    body_sha256: String,
    /// How many quantities.
    item_count: i32,
    /// How many of them were refused.
    failed_item_count: i32,
    /// The marketplace's name of it.
    external_batch_id: Nullable<String>,
    /// The status of the answer.
    http_status: Nullable<i32>,
    /// Why it came to nothing.
    error: Nullable<String>,
    /// When it was sent; null, if the marketplace took nothing of it, or it is a dry run.
    sent_at: Nullable<Timestamp>,
    /// When the marketplace took it.
    accepted_at: Nullable<Timestamp>,
    /// When the marketplace said what became of the items.
    confirmed_at: Nullable<Timestamp>,
    /// Until when it can be asked.
    expires_at: Nullable<Timestamp>,
    /// When it is asked next.
    next_poll_at: Nullable<Timestamp>,
    /// When it was written, before it was sent.
    created_at: Timestamp,
    /// When something became of it last.
    updated_at: Timestamp,
}

impl From<PushRow> for StockPush {
    fn from(push: PushRow) -> Self {
        Self {
            id: push.id.0,
            store_id: push.store_id.0,
            state: push.state,
            body_sha256: push.body_sha256,
            item_count: push.item_count,
            failed_item_count: push.failed_item_count,
            external_batch_id: push.external_batch_id.into(),
            http_status: push.http_status.into(),
            error: push.error.into(),
            sent_at: push.sent_at.into(),
            accepted_at: push.accepted_at.into(),
            confirmed_at: push.confirmed_at.into(),
            expires_at: push.expires_at.into(),
            next_poll_at: push.next_poll_at.into(),
            created_at: push.created_at.into(),
            updated_at: push.updated_at.into(),
        }
    }
}

/// A push, and what it says.
#[derive(Debug, Object)]
pub(super) struct StockPushDetails {
    /// The push.
    #[oai(flatten)]
    push: StockPush,
    /// Of a dry run: exactly what would have been sent. What was sent is in the log of requests.
    body: Nullable<String>,
}

impl From<WholePush> for StockPushDetails {
    fn from(whole: WholePush) -> Self {
        Self {
            push: whole.push.into(),
            body: whole.body.into(),
        }
    }
}

/// A quantity in a push.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct StockPushItem {
    /// Its place, counted from 1.
    element_no: i32,
    /// The product.
    product_id: Uuid,
    /// Its names, as they were sent.
    external_sku: Nullable<String>,
    /// The same.
    external_barcode: Nullable<String>,
    /// The same.
    external_listing_id: Nullable<String>,
    /// The same.
    external_location_id: Nullable<String>,
    /// How many there were.
    computed_quantity: i64,
    /// How many were told, within what the marketplace takes.
    sent_quantity: i64,
    /// The row that said it had to be told; null: it only made the request differ from an earlier
    /// one.
    queue_id: Nullable<Uuid>,
    /// Why.
    reason: Nullable<Reason>,
    /// How urgent it was.
    priority: Nullable<i32>,
    /// What became of it.
    state: ItemState,
    /// What the marketplace said, if it refused it or shows another quantity.
    errors: Nullable<Value>,
}

impl From<ItemRow> for StockPushItem {
    fn from(item: ItemRow) -> Self {
        Self {
            element_no: item.element_no,
            product_id: item.product_id.0,
            external_sku: item.external_sku.into(),
            external_barcode: item.external_barcode.into(),
            external_listing_id: item.external_listing_id.into(),
            external_location_id: item.external_location_id.into(),
            computed_quantity: item.computed_quantity,
            sent_quantity: item.sent_quantity,
            queue_id: item.queue_id.map(|id| id.0).into(),
            reason: item.reason.into(),
            priority: item.priority.into(),
            state: item.state,
            errors: item.errors.map(|errors| errors.0).into(),
        }
    }
}

/// A request to a marketplace, without credentials.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct ApiLogEntry {
    /// Its id.
    id: Uuid,
    /// Whom it went to.
    provider: Provider,
    /// What it was for.
    r#type: ApiLogType,
    /// The store it was about.
    store_id: Nullable<Uuid>,
    /// The order it was about.
    order_ref: Nullable<String>,
    /// The push it was about.
    push_id: Nullable<Uuid>,
    /// `GET`, `POST`, …
    method: String,
    /// Where it went.
    url: String,
    /// What was sent, at most 64 KiB.
    request_body: Nullable<String>,
    /// What came back, at most 64 KiB.
    response_body: Nullable<String>,
    /// Whether one of them is only the beginning.
    truncated: bool,
    /// The status, if there was an answer.
    http_status: Nullable<i32>,
    /// Whether it was answered, and the answer was understood.
    is_success: bool,
    /// Why not.
    error: Nullable<String>,
    /// How long it took.
    duration_ms: i64,
    /// The marketplace's name of it.
    correlation_id: Nullable<String>,
    /// When it was logged.
    created_at: Timestamp,
}

impl From<ApiLog> for ApiLogEntry {
    fn from(log: ApiLog) -> Self {
        Self {
            id: log.id.0,
            provider: log.provider,
            r#type: log.kind,
            store_id: log.store_id.map(|id| id.0).into(),
            order_ref: log.order_ref.into(),
            push_id: log.push_id.map(|id| id.0).into(),
            method: log.method,
            url: log.url,
            request_body: log.request_body.into(),
            response_body: log.response_body.into(),
            truncated: log.truncated,
            http_status: log.http_status.into(),
            is_success: log.is_success,
            error: log.error.into(),
            duration_ms: log.duration_ms,
            correlation_id: log.correlation_id.into(),
            created_at: log.created_at.into(),
        }
    }
}

/// What was asked for is on its way.
#[derive(Debug, Object)]
#[oai(rename = "StockJob", rename_all = "camelCase")]
pub(super) struct Enqueued {
    /// What it is about; one job of it waits or runs at a time.
    pub(super) job_id: String,
}

/// A condition of going on to the last phase.
#[derive(Debug, Object)]
#[oai(rename = "RolloutGate", rename_all = "camelCase")]
struct RolloutGate {
    /// `daysWithoutLostUpdate`, `rejectedItemRatio`, `overdueRowRatio`, `shortfallUnits`,
    /// `setAccuracyRatio`.
    name: String,
    /// What it demands.
    demand: String,
    /// How it is; null: there is nothing to tell of yet.
    value: Nullable<f64>,
    /// Whether that is enough.
    is_met: bool,
}

impl From<Condition> for RolloutGate {
    fn from(condition: Condition) -> Self {
        Self {
            name: condition.name.to_owned(),
            demand: condition.demand.to_owned(),
            value: condition.value.into(),
            is_met: condition.is_met,
        }
    }
}

/// How far an organization is with pushing its stock.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct StockRollout {
    /// Whether the service pushes anything.
    is_enabled: bool,
    /// 1: development, 2: staging, 3: one store, 4: all stores.
    phase: i32,
    /// Stores whose marketplace is told.
    live_stores: i64,
    /// Stores that only try it out.
    dry_run_stores: i64,
    /// The others.
    other_stores: i64,
    /// When the store was compared with its marketplace that was not for the longest time.
    compared_at: Nullable<Timestamp>,
    /// What has to be so before all stores go live.
    gates: Vec<RolloutGate>,
    /// Whether all of it is.
    is_ready: bool,
}

impl From<Rollout> for StockRollout {
    fn from(rollout: Rollout) -> Self {
        Self {
            is_enabled: rollout.is_enabled,
            phase: rollout.phase.number(),
            live_stores: rollout.modes.live,
            dry_run_stores: rollout.modes.dry_run,
            other_stores: rollout.modes.off,
            compared_at: rollout.modes.reconciled_at.into(),
            is_ready: rollout.conditions.iter().all(|condition| condition.is_met),
            gates: rollout
                .conditions
                .into_iter()
                .map(RolloutGate::from)
                .collect(),
        }
    }
}
