//! How it looks as JSON.

use serde::Serialize;
use uuid::Uuid;

use super::stock::views::StockCounts;
use crate::marketplace::model::{Marketplace, SyncStatus};
use crate::timestamp::Timestamp;
use crate::webhooks::EventType;

/// Counts stop here.
pub(super) const COUNT_LIMIT: i64 = 1000;

/// How many there are, up to [`COUNT_LIMIT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Count {
    count: i64,
    /// Whether there are more than that.
    is_more: bool,
}

impl Count {
    /// Of what was counted up to one more than the limit.
    pub(super) fn of(counted: i64) -> Self {
        Self {
            count: counted.min(COUNT_LIMIT),
            is_more: counted > COUNT_LIMIT,
        }
    }

    /// So many were found, and perhaps not all were looked at.
    pub(super) fn at_least(found: i64, is_more: bool) -> Self {
        Self {
            count: found,
            is_more,
        }
    }
}

/// A page of a list.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed<T> {
    pub(super) items: Vec<T>,
    /// Send it as `cursor` to get on; null at the end.
    pub(super) next_cursor: Option<String>,
}

/// Everything at a glance.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Overview {
    pub(super) now: Timestamp,
    pub(super) stores: StoreCounts,
    pub(super) orders: OrderCounts,
    pub(super) callbacks: CallbackCounts,
    pub(super) endpoints: EndpointCounts,
    pub(super) stock: StockCounts,
    pub(super) ticks: Vec<TickView>,
    pub(super) queues: Vec<QueueView>,
}

/// Stores by how their newest orders went, and those that are paused.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct StoreCounts {
    pub(super) failed: Count,
    pub(super) partial: Count,
    pub(super) success: Count,
    pub(super) pending: Count,
    pub(super) paused: Count,
}

/// What waits to be imported, of the stores that may be synced.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OrderCounts {
    /// Stores with an order that is due.
    pub(super) due_stores: Count,
    /// Stores with one that has been due for ten minutes.
    pub(super) overdue_stores: Count,
    /// Since when the oldest is due.
    pub(super) oldest_due_at: Option<Timestamp>,
    pub(super) dead_letters: Count,
}

/// Events.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CallbackCounts {
    pub(super) pending: Count,
    pub(super) oldest_pending_at: Option<Timestamp>,
    pub(super) dead_letters: Count,
}

/// Webhooks that are not sent to.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct EndpointCounts {
    /// Left in peace for a while, because they fail.
    pub(super) open: Count,
    /// Inactive for whatever reason.
    pub(super) inactive: Count,
    /// Of those, paused by an operator.
    pub(super) paused: Count,
}

/// The last tick of a schedule.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TickView {
    pub(super) schedule: &'static str,
    pub(super) last_tick_at: Option<Timestamp>,
}

/// A queue of jobs.
#[derive(Clone, Debug, Serialize)]
pub(super) struct QueueView {
    pub(super) name: &'static str,
    /// Null when the queue does not answer.
    pub(super) waiting: Option<u64>,
}

/// A store, and what it waits for.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoreView {
    pub(super) id: Uuid,
    pub(super) organization_id: String,
    pub(super) marketplace: Marketplace,
    pub(super) name: String,
    pub(super) external_store_id: String,
    pub(super) sync_status: SyncStatus,
    pub(super) last_sync_at: Option<Timestamp>,
    /// When its next order is due, or since when.
    pub(super) next_due_at: Option<Timestamp>,
    /// Orders that are neither imported nor given up.
    pub(super) waiting: Count,
    pub(super) dead_letters: Count,
    /// Why an order was not imported, the last time.
    pub(super) last_error: Option<String>,
    /// Since when an operator wants it left alone.
    pub(super) paused_at: Option<Timestamp>,
    /// Until when its marketplace does.
    pub(super) paused_until: Option<Timestamp>,
    /// Until when its job is taken for waiting or running.
    pub(super) enqueued_until: Option<Timestamp>,
    /// Since when a run holds it.
    pub(super) running_since: Option<Timestamp>,
}

/// A webhook, and what it is owed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndpointView {
    pub(super) id: Uuid,
    pub(super) organization_id: String,
    pub(super) event: EventType,
    pub(super) target_url: String,
    pub(super) description: Option<String>,
    pub(super) is_ordered: bool,
    pub(super) is_active: bool,
    /// `paused`, `gone`, or null when its organization said so.
    pub(super) inactive_reason: Option<String>,
    pub(super) consecutive_failures: i32,
    /// Until when it is left in peace; null when it is not.
    pub(super) open_until: Option<Timestamp>,
    pub(super) pending: Count,
    pub(super) oldest_pending_at: Option<Timestamp>,
    pub(super) dead_letters: Count,
    /// What went wrong with a delivery, the last time.
    pub(super) last_error: Option<String>,
}

/// An order that is not tried again by itself.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeadOrderView {
    pub(super) id: Uuid,
    pub(super) store_id: Uuid,
    pub(super) store_name: String,
    pub(super) organization_id: String,
    pub(super) receipt: String,
    pub(super) reason: Option<String>,
    pub(super) failures: i32,
    pub(super) dead_at: Timestamp,
}

/// An event that somebody did not take.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeadCallbackView {
    pub(super) id: Uuid,
    pub(super) store_id: Uuid,
    pub(super) store_name: String,
    pub(super) organization_id: String,
    pub(super) event: EventType,
    pub(super) reason: Option<String>,
    pub(super) attempts: i32,
    pub(super) created_at: Timestamp,
    pub(super) given_up_at: Timestamp,
}

/// What an action came to.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Done {
    /// Whether anything is different now.
    pub(super) is_changed: bool,
    /// Orders that are due by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) orders: Option<u64>,
    /// Whether more of them wait for the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) has_more: Option<bool>,
    /// Whether a job was put into the queue for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) is_enqueued: Option<bool>,
}
