//! The job that asks a marketplace what became of the quantities it took.

use serde::{Deserialize, Serialize};

use crate::{Job, PushId};

/// Asks for the results of one push.
///
/// Enqueued by the stock-confirm tick for each push whose next look is due; handled by
/// `stock::confirm`. When that is stands in `stock_pushes.next_poll_at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfirmStockPush {
    /// The push to ask about.
    pub push_id: PushId,
}

impl Job for ConfirmStockPush {
    const NAME: &'static str = "confirm-stock-push";
    const QUEUE: &'static str = "confirm-stock-push-queue";

    fn identity(&self) -> String {
        format!("push:{}", self.push_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Queued jobs outlive a deploy, so this text may never change.
    #[test]
    fn the_wire_format_is_stable() {
        let wire = r#"{"pushId":"01890a5d-ac96-774b-bcce-b302099a8057"}"#;
        let job: ConfirmStockPush = serde_json::from_str(wire).unwrap();
        assert_eq!(serde_json::to_string(&job).unwrap(), wire);
        assert_eq!(job.identity(), "push:01890a5d-ac96-774b-bcce-b302099a8057");
        assert_eq!(
            (ConfirmStockPush::NAME, ConfirmStockPush::QUEUE),
            ("confirm-stock-push", "confirm-stock-push-queue")
        );
    }
}
