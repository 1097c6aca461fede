//! The job that tells a marketplace the quantities of one store.

use serde::{Deserialize, Serialize};

use crate::{Job, StoreId};

/// Drains the stock queue of one store.
///
/// Enqueued by the stock-push tick for each store with due rows, and by whoever asks for it;
/// handled by `stock::push`. What is due, and when it is tried next, stands in
/// `stock_update_queue`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PushStock {
    /// The store whose marketplace is told.
    pub store_id: StoreId,
}

impl Job for PushStock {
    const NAME: &'static str = "push-stock";
    const QUEUE: &'static str = "push-stock-queue";

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
        let job: PushStock = serde_json::from_str(wire).unwrap();
        assert_eq!(serde_json::to_string(&job).unwrap(), wire);
        assert_eq!(job.identity(), "store:01890a5d-ac96-774b-bcce-b302099a8057");
        assert_eq!(
            (PushStock::NAME, PushStock::QUEUE),
            ("push-stock", "push-stock-queue")
        );
    }
}
