//! How many rows of a run came to what.

use serde_json::json;

use super::model::{RowOutcome, SyncLogStatus, SyncStatus};

/// How many rows came to what.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) processed: usize,
    pub(super) success: usize,
    pub(super) failed: usize,
    pub(super) rate_limited: usize,
}

impl Counts {
    pub(super) fn of(rows: &[RowOutcome]) -> Self {
        let with = |status| rows.iter().filter(|row| row.status == status).count();
        Self {
            processed: rows.len(),
            success: with(SyncLogStatus::Success),
            failed: with(SyncLogStatus::Failed),
            rate_limited: with(SyncLogStatus::RateLimited),
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            processed: self.processed + other.processed,
            success: self.success + other.success,
            failed: self.failed + other.failed,
            rate_limited: self.rate_limited + other.rate_limited,
        }
    }

    pub(super) fn event_data(
        self,
        status: SyncStatus,
        imported: i64,
        has_backlog: bool,
    ) -> serde_json::Value {
        json!({
            "syncStatus": status,
            "processedCount": self.processed,
            "successCount": self.success,
            "failedCount": self.failed,
            "rateLimitedCount": self.rate_limited,
            "importedOrders": imported,
            "remainingBacklog": has_backlog,
        })
    }
}
