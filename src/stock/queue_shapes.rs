//! What the routes of the stock queue take and give.

use chrono::{DateTime, Utc};
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object};
use uuid::Uuid;

use super::model::{GateReason, ProductId, QueueOutcome, Reason};
use super::named::example_id;
use super::queries::queue::QueueRow;
use super::queue::{QueueFilter, RowStatus, StoreSummary, Sum, Summary};
use super::settings::Closed;
use crate::http::fields::{Fields, FromFields};
use crate::http::nullable::Nullable;
use crate::marketplace::model::Marketplace;
use crate::timestamp::Timestamp;

/// Products that can be enqueued at once.
const MAX_PRODUCTS: usize = 1000;

/// Whether a row waits or is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum QueueStatus {
    /// It waits.
    Pending,
    /// It is done; it is kept for a week.
    Processed,
}

impl QueueStatus {
    /// The words.
    pub(super) const NAMES: &[&str] = &["PENDING", "PROCESSED"];
}

/// A product that the marketplace of a store has to be told of, or was.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct QueueItem {
    /// Its id.
    id: Uuid,
    /// The product.
    product_id: Uuid,
    /// The store.
    store_id: Uuid,
    /// Whether it waits.
    status: QueueStatus,
    /// Why.
    reason: Reason,
    /// The higher, the sooner: 50 to 100.
    priority: i32,
    /// Whether it is sent even if the marketplace is believed to show it.
    force: bool,
    /// So many changes are in it.
    version: i64,
    /// So often it was tried.
    attempts: i32,
    /// Since when it waits, or waited.
    created_at: Timestamp,
    /// When its last change was.
    last_enqueued_at: Timestamp,
    /// Not before it is tried.
    next_attempt_at: Timestamp,
    /// Whether it has waited for too long.
    overdue: bool,
    /// When it was done.
    processed_at: Nullable<Timestamp>,
    /// What became of it.
    outcome: Nullable<QueueOutcome>,
    /// The push that it went with.
    push_id: Nullable<Uuid>,
    /// Why it was not done, the last time.
    last_error: Nullable<String>,
}

impl QueueItem {
    /// A row; what is older than `overdue_before` has waited for too long.
    pub(super) fn of(row: QueueRow, overdue_before: DateTime<Utc>) -> Self {
        let is_pending = row.processed_at.is_none();
        Self {
            id: row.id.0,
            product_id: row.product_id.0,
            store_id: row.store_id.0,
            status: if is_pending {
                QueueStatus::Pending
            } else {
                QueueStatus::Processed
            },
            reason: row.reason,
            priority: row.priority,
            force: row.force,
            version: row.version,
            attempts: row.attempts,
            created_at: row.created_at.into(),
            last_enqueued_at: row.last_enqueued_at.into(),
            next_attempt_at: row.next_attempt_at.into(),
            overdue: is_pending && row.created_at < overdue_before,
            processed_at: row.processed_at.into(),
            outcome: row.outcome.into(),
            push_id: row.push_id.map(|id| id.0).into(),
            last_error: row.last_error.into(),
        }
    }
}

/// Reads which rows are wanted.
pub(super) fn queue_filter(fields: &mut Fields<'_>) -> Option<QueueFilter> {
    let store_id = fields.optional("storeId", Fields::uuid);
    let product_id = fields.optional("productId", Fields::uuid);
    let reason = fields.optional("reason", |fields, name| fields.one_of(name, Reason::NAMES));
    let status = fields.optional("status", |fields, name| {
        fields.one_of(name, QueueStatus::NAMES)
    });
    let is_overdue = fields.optional("overdue", Fields::boolean);
    let status = status?.map(|name| match name {
        "PENDING" => RowStatus::Pending,
        _ => RowStatus::Processed,
    });
    Some(QueueFilter {
        store_id: store_id?.map(Into::into),
        product_id: product_id?.map(ProductId),
        reason: reason?.map(str::parse).transpose().ok()?,
        status,
        is_overdue: is_overdue?,
    })
}

/// Products to put into the queue of a store.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
pub(super) struct EnqueueProducts {
    /// Whose they are.
    #[oai(validator(min_length = 1, max_length = 255))]
    pub(super) organization_id: String,
    /// The store whose marketplace is to be told.
    pub(super) store_id: Uuid,
    /// At most 1,000; those that the store does not list are passed over.
    #[oai(validator(min_items = 1, max_items = 1000))]
    pub(super) product_ids: Vec<Uuid>,
    /// Whether they are sent even if the marketplace is believed to show them; true unless you
    /// say otherwise.
    pub(super) force: Option<bool>,
}

impl Example for EnqueueProducts {
    fn example() -> Self {
        let id: Uuid = example_id().parse().unwrap_or_default();
        Self {
            organization_id: "org-1".to_owned(),
            store_id: id,
            product_ids: vec![id],
            force: Some(false),
        }
    }
}

impl FromFields for EnqueueProducts {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let organization_id = fields.text("organizationId", 1..=255);
        let store_id = fields.uuid("storeId");
        let product_ids = fields.uuid_list("productIds", 1..=MAX_PRODUCTS);
        let force = fields.optional("force", Fields::boolean);
        Some(Self {
            organization_id: organization_id?,
            store_id: store_id?,
            product_ids: product_ids?,
            force: force?,
        })
    }
}

/// Whether a marketplace may be asked now.
#[derive(Debug, Object)]
#[oai(rename = "StockGate", rename_all = "camelCase")]
pub(super) struct GateView {
    /// Whether it may.
    open: bool,
    /// Why not.
    reason: Nullable<GateReason>,
    /// When it may again, if time brings that.
    opens_at: Nullable<Timestamp>,
}

impl From<Option<Closed>> for GateView {
    fn from(closed: Option<Closed>) -> Self {
        Self {
            open: closed.is_none(),
            reason: closed.map(|closed| closed.reason).into(),
            opens_at: closed.and_then(|closed| closed.opens_at).into(),
        }
    }
}

/// What waits, of one priority.
#[derive(Debug, Object)]
pub(super) struct PriorityCount {
    /// The priority.
    priority: i32,
    /// So many rows.
    pending: i64,
}

/// What waits of a store.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct StoreQueue {
    /// The store.
    store_id: Uuid,
    /// Where it is.
    marketplace: Marketplace,
    /// So many rows wait.
    pending: i64,
    /// So many of them for too long.
    overdue: i64,
    /// How long the oldest has waited; null when none does.
    oldest_age_seconds: Nullable<i64>,
    /// Whether its marketplace may be asked now.
    gate: GateView,
}

/// What waits of an organization.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct QueueSummary {
    /// So many rows wait.
    pending: i64,
    /// So many of them for too long.
    overdue: i64,
    /// How long the oldest has waited; null when none does.
    oldest_age_seconds: Nullable<i64>,
    /// The most urgent first.
    by_priority: Vec<PriorityCount>,
    /// Every store of the organization.
    stores: Vec<StoreQueue>,
}

impl QueueSummary {
    /// At one moment.
    pub(super) fn of(summary: Summary, now: DateTime<Utc>) -> Self {
        let count = |(priority, pending)| PriorityCount { priority, pending };
        let store = |store: StoreSummary| StoreQueue {
            store_id: store.gate.store_id.0,
            marketplace: store.gate.marketplace,
            pending: store.waiting.pending,
            overdue: store.waiting.overdue,
            oldest_age_seconds: age(store.waiting, now),
            gate: store.closed.into(),
        };
        Self {
            pending: summary.all.pending,
            overdue: summary.all.overdue,
            oldest_age_seconds: age(summary.all, now),
            by_priority: summary.by_priority.into_iter().map(count).collect(),
            stores: summary.stores.into_iter().map(store).collect(),
        }
    }
}

fn age(sum: Sum, now: DateTime<Utc>) -> Nullable<i64> {
    sum.oldest_at
        .map(|at| (now - at).num_seconds().max(0))
        .into()
}

/// A job that was asked for.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct RequestedJob {
    /// Find it in the log and on the board by this.
    pub(super) job_id: String,
}
