//! How it looks as JSON.

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::admin::operators::views::Count;
use crate::marketplace::model::Marketplace;
use crate::stock::Closed;
use crate::stock::model::{ApiLogType, GateReason, PushMode, PushState};
use crate::timestamp::Timestamp;

/// Stock at a glance.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::admin::operators) struct StockCounts {
    /// `STOCK_PUSH_ENABLED`.
    pub(super) is_enabled: bool,
    /// Pairs of a product and a store whose marketplace has to be told.
    pub(super) pending: Count,
    /// Those that wait longer than `STOCK_QUEUE_TTL_SECONDS`.
    pub(super) overdue: Count,
    /// Since when the oldest waits.
    pub(super) oldest_pending_at: Option<Timestamp>,
    /// Stores with pairs that wait.
    pub(super) waiting_stores: Count,
    /// Stores with overdue ones.
    pub(super) overdue_stores: Count,
    /// Pairs that the marketplace refuses.
    pub(super) blocked: Count,
    /// Pushes whose results are awaited.
    pub(super) in_flight: Count,
    /// Pushes of the last day that may have arrived or not.
    pub(super) unknown: Count,
    /// Stores whose gate is closed.
    pub(super) closed: Count,
    /// The same by the reason.
    pub(super) closed_by_reason: Vec<ClosedView>,
}

/// Stores whose gate is closed, for one reason.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct ClosedView {
    pub(super) reason: GateReason,
    pub(super) stores: Count,
}

/// Whether a store may be pushed to.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GateView {
    pub(super) is_open: bool,
    pub(super) reason: Option<GateReason>,
    pub(super) opens_at: Option<Timestamp>,
}

impl From<Option<Closed>> for GateView {
    fn from(closed: Option<Closed>) -> Self {
        Self {
            is_open: closed.is_none(),
            reason: closed.map(|closed| closed.reason),
            opens_at: closed.and_then(|closed| closed.opens_at).map(Into::into),
        }
    }
}

/// A store, and what its marketplace has to be told.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StockStoreView {
    pub(super) id: Uuid,
    pub(super) organization_id: String,
    pub(super) marketplace: Marketplace,
    pub(super) name: String,
    pub(super) external_store_id: String,
    pub(super) is_active: bool,
    /// Whether it wants its stock sent.
    pub(super) sends_stock: bool,
    pub(super) push_mode: PushMode,
    pub(super) gate: GateView,
    pub(super) pending: Count,
    pub(super) overdue: Count,
    pub(super) oldest_pending_at: Option<Timestamp>,
    /// When the next pair is due, or since when.
    pub(super) next_due_at: Option<Timestamp>,
    pub(super) blocked: Count,
    pub(super) consecutive_failures: i32,
    /// Whether a run holds it.
    pub(super) is_running: bool,
    /// Until when its job is taken for waiting or running.
    pub(super) enqueued_until: Option<Timestamp>,
    /// Since when a resync is under way.
    pub(super) resync_requested_at: Option<Timestamp>,
    pub(super) last_push: Option<PushView>,
}

/// A product that a marketplace refuses.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BlockedView {
    pub(super) store_id: Uuid,
    pub(super) product_id: Uuid,
    pub(super) store_name: String,
    pub(super) organization_id: String,
    pub(super) product_name: String,
    pub(super) sku: Option<String>,
    pub(super) barcode: Option<String>,
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    /// When it is tried again by itself; null when it is not.
    pub(super) blocked_until: Option<Timestamp>,
    pub(super) reject_count: i32,
}

/// A push.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PushView {
    pub(super) id: Uuid,
    pub(super) store_id: Uuid,
    pub(super) store_name: String,
    pub(super) organization_id: String,
    pub(super) state: PushState,
    pub(super) items: i32,
    pub(super) failed_items: i32,
    /// The marketplace's name of it.
    pub(super) batch_id: Option<String>,
    pub(super) http_status: Option<i32>,
    pub(super) error: Option<String>,
    pub(super) created_at: Timestamp,
    pub(super) sent_at: Option<Timestamp>,
    pub(super) accepted_at: Option<Timestamp>,
    pub(super) confirmed_at: Option<Timestamp>,
    /// When its results are asked for next.
    pub(super) next_poll_at: Option<Timestamp>,
    pub(super) polls: i32,
}

/// A push, with what was sent and what came back.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PushDetails {
    #[serde(flatten)]
    pub(super) push: PushView,
    /// Of a dry run: what would have been sent.
    pub(super) body: Option<String>,
    /// The first and the last requests, in the order they were made.
    pub(super) calls: Vec<CallView>,
    /// Whether some between them are left out.
    pub(super) has_more_calls: bool,
    /// The first items that were refused.
    pub(super) rejected: Vec<RejectedView>,
    /// Whether there are more.
    pub(super) has_more_rejected: bool,
}

/// A request to a marketplace, and its answer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CallView {
    pub(super) kind: ApiLogType,
    pub(super) method: String,
    pub(super) url: String,
    pub(super) at: Timestamp,
    pub(super) duration_ms: i64,
    pub(super) request: Option<String>,
    pub(super) response: Option<String>,
    /// Whether only the beginning of them was kept.
    pub(super) is_truncated: bool,
    pub(super) http_status: Option<i32>,
    pub(super) is_success: bool,
    pub(super) error: Option<String>,
}

/// An item that was refused.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RejectedView {
    pub(super) product_id: Uuid,
    pub(super) product_name: String,
    pub(super) sku: Option<String>,
    pub(super) barcode: Option<String>,
    pub(super) quantity: i64,
    /// As they are stored.
    pub(super) errors: Option<Value>,
}
