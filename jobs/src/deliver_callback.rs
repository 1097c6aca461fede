//! The job that delivers one event of the outbox.

use serde::{Deserialize, Serialize};

use crate::{Job, OutboxId};

/// Delivers one outbox event to the webhooks that still wait for it.
///
/// Enqueued after the commit that recorded the event, and by the callback tick for what is
/// due; handled by `webhooks::deliver`. Attempts and next times stand in
/// `callback_deliveries`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliverCallback {
    /// The event to deliver.
    pub outbox_id: OutboxId,
}

impl Job for DeliverCallback {
    const NAME: &'static str = "deliver-callback";
    const QUEUE: &'static str = "callback-queue";

    fn identity(&self) -> String {
        format!("outbox:{}", self.outbox_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Queued jobs outlive a deploy, so this text may never change.
    #[test]
    fn the_wire_format_is_stable() {
        let wire = r#"{"outboxId":"01890a5d-ac96-774b-bcce-b302099a8057"}"#;
        let job: DeliverCallback = serde_json::from_str(wire).unwrap();
        assert_eq!(serde_json::to_string(&job).unwrap(), wire);
        assert_eq!(
            job.identity(),
            "outbox:01890a5d-ac96-774b-bcce-b302099a8057"
        );
        assert_eq!(
            (DeliverCallback::NAME, DeliverCallback::QUEUE),
            ("deliver-callback", "callback-queue")
        );
    }
}
