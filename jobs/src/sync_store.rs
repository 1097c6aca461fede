//! The job that syncs one store.

use serde::{Deserialize, Serialize};

use crate::{Job, StoreId};

/// Retries the due rows of one store.
///
/// Enqueued by the sync tick for each store with due rows; handled by `marketplace::sync`.
/// What is due, how often it was tried and when it is tried next stand in `sync_logs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncStore {
    /// The store to sync.
    pub store_id: StoreId,
}

impl Job for SyncStore {
    const NAME: &'static str = "sync-store";
    const QUEUE: &'static str = "sync-store-queue";

    fn identity(&self) -> String {
        format!("store:{}", self.store_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Queued jobs outlive a deploy, so this text may never change.
    #[test]
    fn the_wire_format_is_stable() {
        let wire = r#"{"storeId":"01890a5d-ac96-774b-bcce-b302099a8057"}"#;
        let job: SyncStore = serde_json::from_str(wire).unwrap();
        assert_eq!(serde_json::to_string(&job).unwrap(), wire);
        assert_eq!(job.identity(), "store:01890a5d-ac96-774b-bcce-b302099a8057");
        assert_eq!(
            (SyncStore::NAME, SyncStore::QUEUE),
            ("sync-store", "sync-store-queue")
        );
    }

    #[test]
    fn a_field_of_a_newer_release_is_ignored() {
        let wire = r#"{"storeId":"01890a5d-ac96-774b-bcce-b302099a8057","reason":"new"}"#;
        assert!(serde_json::from_str::<SyncStore>(wire).is_ok());
    }
}
