//! The labels: few, and with few values each.

use poem::http::Method;
use prometheus_client::encoding::EncodeLabelSet;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct HttpLabels {
    pub(super) route: String,
    pub(super) method: &'static str,
    pub(super) status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct MarketplaceLabels {
    pub(super) marketplace: &'static str,
    pub(super) outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OutcomeLabels {
    pub(super) outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SchedulerLabels {
    pub(super) scheduler: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PassLabels {
    pub(super) scheduler: &'static str,
    pub(super) outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct KindLabels {
    pub(super) kind: &'static str,
}

/// What a job came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobOutcome {
    /// It did its work, whatever came of the rows.
    Completed,
    /// Somebody else was at it, or there was nothing to work on any more.
    Skipped,
    /// Somebody else took over in the middle.
    LockLost,
    /// It broke off by an error.
    Failed,
}

impl JobOutcome {
    pub(super) const ALL: [Self; 4] =
        [Self::Completed, Self::Skipped, Self::LockLost, Self::Failed];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Skipped => "skipped",
            Self::LockLost => "lock_lost",
            Self::Failed => "failed",
        }
    }
}

/// What a delivery came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The webhook took it.
    Success,
    /// It is tried again.
    Failure,
    /// It was given up.
    DeadLetter,
}

impl DeliveryOutcome {
    pub(super) const ALL: [Self; 3] = [Self::Success, Self::Failure, Self::DeadLetter];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::DeadLetter => "dead_letter",
        }
    }
}

pub(super) const SYNC_ROW_OUTCOMES: [&str; 3] = ["success", "failed", "rate_limited"];
pub(super) const SCHEDULERS: [&str; 5] = [
    jobs::schedule::SYNC.name,
    jobs::schedule::CALLBACK.name,
    jobs::schedule::STOCK_PUSH.name,
    jobs::schedule::STOCK_CONFIRM.name,
    jobs::schedule::STOCK_RECONCILE.name,
];
/// The kinds of dead letters, as `dead-letters --kind` has them.
pub(super) const ORDERS: &str = "orders";
pub(super) const CALLBACKS: &str = "callbacks";

/// Anybody may send any method; the label has those that there are.
pub(crate) fn known_method(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    let known = KNOWN.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("other")
}
