//! Names, and the buckets of histograms: dashboards and alerts hold on to them.
//!
//! Counters stand here without the `_total` that they end with on the wire.

use prometheus_client::metrics::histogram::Histogram;

/// What a metric is called, and what it tells.
pub(super) type Name = (&'static str, &'static str);

pub(super) const HTTP_REQUEST_DURATION: Name = (
    "http_request_duration_seconds",
    "Requests to the API, by the template of the path",
);
pub(super) const HTTP_REQUESTS_AT_WORK: Name = (
    "http_requests_at_work",
    "Places of MAX_REQUESTS that are taken",
);
pub(super) const HTTP_REQUESTS_WAITING: Name =
    ("http_requests_waiting", "Requests that wait for a place");
pub(super) const HTTP_REQUESTS_REFUSED: Name = (
    "http_requests_refused",
    "Requests that were told to come again because too many were at work",
);
pub(super) const MARKETPLACE_REQUEST_DURATION: Name = (
    "marketplace_request_duration_seconds",
    "Questions to marketplaces",
);
pub(super) const SYNC_ROWS_PROCESSED: Name =
    ("sync_rows_processed", "Orders that runs of stores tried");
pub(super) const SYNC_JOBS: Name = ("sync_jobs", "Jobs of stores");
pub(super) const SYNC_JOB_DURATION: Name =
    ("sync_job_duration_seconds", "How long jobs of stores take");
pub(super) const SYNC_LOCK_CONTENTION: Name = (
    "sync_lock_contention",
    "Jobs whose store was being synced already",
);
pub(super) const SYNC_BACKLOG: Name = (
    "sync_backlog",
    "Runs that ended before everything due was tried",
);
pub(super) const SYNC_OLDEST_DUE: Name = (
    "sync_oldest_due_seconds",
    "How long the oldest order has been due, of stores that are not paused",
);
pub(super) const SCHEDULER_PASS_DURATION: Name = (
    "scheduler_pass_duration_seconds",
    "How long passes of a scheduler take",
);
pub(super) const SCHEDULER_PASSES: Name = ("scheduler_passes", "Passes of a scheduler");
pub(super) const SCHEDULER_ENQUEUED: Name = (
    "scheduler_enqueued",
    "Jobs that a scheduler put into the queue",
);
pub(super) const SCHEDULER_LAST_TICK_AGE: Name = (
    "scheduler_last_tick_age_seconds",
    "How long ago a tick was taken by any process",
);
pub(super) const SCHEDULER_INTERVAL: Name = (
    "scheduler_interval_seconds",
    "How long it is from one tick to the next",
);
pub(super) const CALLBACK_DELIVERIES: Name = (
    "callback_deliveries",
    "Tries to deliver an event to a webhook",
);
pub(super) const CALLBACK_JOBS: Name = ("callback_jobs", "Jobs of events");
pub(super) const CALLBACK_REQUEST_DURATION: Name =
    ("callback_request_duration_seconds", "Requests to webhooks");
pub(super) const CALLBACK_OUTBOX_ROWS: Name = ("callback_outbox_rows", "Events by how they stand");
pub(super) const CALLBACK_OUTBOX_OLDEST_PENDING: Name = (
    "callback_outbox_oldest_pending_seconds",
    "How old the oldest event is that somebody is still owed",
);
pub(super) const CALLBACK_OLDEST_DUE: Name = (
    "callback_oldest_due_seconds",
    "How long the oldest delivery has been due, of webhooks that are sent to",
);
pub(super) const WEBHOOK_ENDPOINTS_PAUSED: Name = (
    "webhook_endpoints_paused",
    "Webhooks that failed again and again and are left in peace",
);
pub(super) const DEAD_LETTER_ROWS: Name = (
    "dead_letter_rows",
    "Orders and events that were given up and not dealt with",
);
pub(super) const DEAD_LETTERS: Name = (
    "dead_letters",
    "Orders and deliveries given up by this process",
);
pub(super) const QUEUE_DEPTH: Name = ("queue_depth", "Jobs that wait for a worker");
pub(super) const DEPENDENCY_UP: Name = (
    "dependency_up",
    "Whether a part answered within two seconds",
);
pub(super) const DATABASE_CONNECTIONS: Name = (
    "database_connections",
    "Connections of this process to the database",
);
pub(super) const BUILD: Name = ("marketplace_sync_build", "Which release this is");

pub(super) const STOCK_BATCH: Name = (
    "stock_batch_seconds",
    "Parts of the work on a batch of quantities",
);
pub(super) const STOCK_API_REQUESTS: Name = (
    "stock_api_requests",
    "Requests to marketplaces about quantities",
);
pub(super) const STOCK_ITEMS: Name = ("stock_items", "Quantities by what became of them");
pub(super) const STOCK_RATE_LIMIT_HITS: Name = (
    "stock_rate_limit_hits",
    "How often a gate was found closed while something was due",
);
pub(super) const STOCK_PUSH_LATENCY: Name = (
    "stock_push_latency_seconds",
    "From when a quantity had to be told until its marketplace showed it",
);
pub(super) const STOCK_LEASE_CONFLICTS: Name = (
    "stock_lease_conflicts",
    "Jobs whose store's stock was being pushed already",
);
pub(super) const STOCK_QUEUE_PENDING: Name =
    ("stock_queue_pending", "Quantities that wait to be told");
pub(super) const STOCK_QUEUE_OVERDUE: Name = (
    "stock_queue_overdue",
    "Quantities that have waited for too long",
);
pub(super) const STOCK_QUEUE_OLDEST: Name = (
    "stock_queue_oldest_seconds",
    "How long the oldest quantity has waited",
);
pub(super) const STOCK_SET_ACCURACY: Name = (
    "stock_set_accuracy_ratio",
    "Share of sets that are shown as their components make them, by the last comparison",
);
pub(super) const STOCK_SHORTFALL: Name = (
    "stock_shortfall_units",
    "Units that were sold and are not there",
);
pub(super) const STOCK_PAIRS_BLOCKED: Name =
    ("stock_pairs_blocked", "Products that a marketplace refuses");
pub(super) const STOCK_IN_FLIGHT: Name =
    ("stock_in_flight_pushes", "Pushes whose results are awaited");

/// A status answer shall take 50 ms, an import 30 ms beside the marketplace; an import may wait
/// 15 seconds, and no request takes longer than 30.
pub(super) fn http() -> Histogram {
    Histogram::new([
        0.001, 0.002_5, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0,
        30.0,
    ])
}
/// A marketplace has ten seconds, a webhook five, unless the settings say otherwise.
pub(super) fn outbound() -> Histogram {
    Histogram::new([
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0,
    ])
}
/// From a store with nothing due to a thousand rows at a slow marketplace.
pub(super) fn job() -> Histogram {
    Histogram::new([
        0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0,
    ])
}
/// A page of a hundred stores shall take 100 ms.
pub(super) fn pass() -> Histogram {
    Histogram::new([
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    ])
}
/// A quantity shall be shown a minute after it changed; a store that is left in peace takes hours.
pub(super) fn latency() -> Histogram {
    Histogram::new([
        1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 90.0, 120.0, 300.0, 900.0, 3600.0, 21_600.0,
    ])
}
