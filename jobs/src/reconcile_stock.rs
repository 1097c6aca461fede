//! The job that compares the quantities of one store with what its marketplace shows.

use serde::{Deserialize, Serialize};

use crate::{Job, StoreId};

/// Reads the quantities of one store back from its marketplace, page by page.
///
/// Enqueued once a day, after a push that nobody knows the outcome of, and by whoever asks for it;
/// handled by `stock::reconcile`. That it was asked for, and how far it came, stands in
/// `marketplace_rate_limits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReconcileStock {
    /// The store whose quantities are compared.
    pub store_id: StoreId,
}

impl Job for ReconcileStock {
    const NAME: &'static str = "reconcile-stock";
    const QUEUE: &'static str = "reconcile-stock-queue";

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
        let job: ReconcileStock = serde_json::from_str(wire).unwrap();
        assert_eq!(serde_json::to_string(&job).unwrap(), wire);
        assert_eq!(job.identity(), "store:01890a5d-ac96-774b-bcce-b302099a8057");
        assert_eq!(
            (ReconcileStock::NAME, ReconcileStock::QUEUE),
            ("reconcile-stock", "reconcile-stock-queue")
        );
    }
}
