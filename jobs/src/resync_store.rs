//! The job that puts the products of one store into its stock queue.

use serde::{Deserialize, Serialize};

use crate::{Job, StoreId};

/// Enqueues the listed products of one store, page by page.
///
/// Enqueued when somebody asks for it and when a store becomes live, and again by the stock-push
/// tick; handled by `stock::resync`. That it was asked for, and how far it came, stands in
/// `marketplace_rate_limits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResyncStore {
    /// The store whose products are enqueued.
    pub store_id: StoreId,
}

impl Job for ResyncStore {
    const NAME: &'static str = "resync-store";
    const QUEUE: &'static str = "resync-store-queue";

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
        let job: ResyncStore = serde_json::from_str(wire).unwrap();
        assert_eq!(serde_json::to_string(&job).unwrap(), wire);
        assert_eq!(job.identity(), "store:01890a5d-ac96-774b-bcce-b302099a8057");
        assert_eq!(
            (ResyncStore::NAME, ResyncStore::QUEUE),
            ("resync-store", "resync-store-queue")
        );
    }
}
