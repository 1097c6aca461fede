//! What the service does for stores and webhooks, and how often.

use std::collections::HashMap;
use std::time::Duration;

use chrono::TimeDelta;
use reqwest::Url;
use secrecy::SecretString;

use crate::marketplace::connector::Credentials;
use crate::marketplace::model::Marketplace;
use crate::retry::Backoff;
use crate::stock::model::RateMode;

/// The mock marketplace.
#[derive(Clone, Debug)]
pub struct MockSettings {
    /// `MOCK_MARKETPLACE_ENABLED`: whether its routes are served here.
    pub enabled: bool,
    /// `MOCK_API_BASE_URL`: where the client finds it; this server when unset.
    pub base_url: Option<Url>,
    /// `MOCK_<MARKETPLACE>_USER`, `MOCK_<MARKETPLACE>_PASS`.
    pub credentials: HashMap<Marketplace, Credentials>,
}

/// How orders are retried.
#[derive(Clone, Debug)]
pub struct SyncSettings {
    /// `SYNC_CRON`: when due stores are enqueued.
    pub cron: String,
    /// `SYNC_THROTTLE_SECONDS`: a store is not enqueued sooner after its last attempt.
    pub throttle: Duration,
    /// `SYNC_CHUNK_SIZE`: rows a batch.
    pub chunk_size: u32,
    /// `SYNC_ROW_CONCURRENCY`: marketplace calls in flight for one store.
    pub row_concurrency: usize,
    /// `SYNC_CONCURRENCY`: stores synced at a time by one process.
    pub concurrency: usize,
    /// `SYNC_BACKOFF_BASE_SECONDS`, `SYNC_BACKOFF_MAX_SECONDS`.
    pub backoff: Backoff,
    /// `SYNC_FAILED_MAX_ATTEMPTS`: after so many failures a row is a dead letter.
    pub failed_max_attempts: u32,
}

/// How events are delivered.
#[derive(Clone, Debug)]
pub struct CallbackSettings {
    /// `CALLBACK_CRON`: when due events are enqueued.
    pub cron: String,
    /// `CALLBACK_CONCURRENCY`: events delivered at a time by one process.
    pub concurrency: usize,
    /// `CALLBACK_BACKOFF_SECONDS`: the delay after each failure; the last one repeats.
    pub backoff: Vec<Duration>,
    /// `CALLBACK_MAX_ATTEMPTS`: after so many failures a delivery is a dead letter.
    pub max_attempts: u32,
    /// `CALLBACK_TIMEOUT_MS`: one request, from connecting to the end of what is read.
    pub timeout: Duration,
    /// `DEAD_LETTER_RETENTION_DAYS`: how long an event is kept that nobody took; none: for ever.
    pub dead_letters_kept: Option<TimeDelta>,
}

/// Where events may be sent to.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// `WEBHOOK_SECRET`: signs every event beside the endpoint's own secrets.
    pub secret: Option<SecretString>,
    /// `WEBHOOK_MAX_ENDPOINTS_PER_ORG`: active ones, over all events.
    pub max_endpoints_per_organization: u32,
    /// `WEBHOOK_ALLOW_PRIVATE_TARGETS`: whether addresses that only we can reach are allowed.
    pub allow_private_targets: bool,
}

/// How marketplaces are told quantities.
#[derive(Clone, Debug)]
pub struct StockSettings {
    /// `STOCK_PUSH_ENABLED`: whether anything is pushed at all.
    pub enabled: bool,
    /// `STOCK_PUSH_CRON`: when stores with due quantities are enqueued.
    pub cron: String,
    /// `STOCK_CONFIRM_CRON`: when pushes whose results may be there are enqueued.
    pub confirm_cron: String,
    /// `STOCK_RECONCILE_CRON`: when live stores are compared with their marketplaces.
    pub reconcile_cron: String,
    /// `STOCK_CONCURRENCY`: stores pushed at a time by one process.
    pub concurrency: usize,
    /// `STOCK_BATCH_SIZE`: items a request, unless the marketplace takes fewer.
    pub batch_size: u32,
    /// `STOCK_QUEUE_TTL_SECONDS`: what waits longer is overdue: first in line, and told of.
    pub queue_ttl: TimeDelta,
    /// `STOCK_MAX_QUANTITY`: no marketplace is told more.
    pub max_quantity: i64,
    /// `TRENDYOL_IDENTICAL_WINDOW_SECONDS`: how long the same request is refused.
    pub identical_window: TimeDelta,
    /// `TRENDYOL_RATE_MODE`: of Trendyol stores that say nothing else.
    pub trendyol_rate_mode: RateMode,
    /// `TRENDYOL_PERMANENT_REASONS`: what is in the reasons of items that are not tried again,
    /// separated by semicolons; case and Turkish dots do not matter.
    pub trendyol_permanent_reasons: Vec<String>,
    /// `STOCK_LEASE_SECONDS`: how long the lease of a run lasts without renewal.
    pub lease: Duration,
    /// `STOCK_HTTP_TIMEOUT_SECONDS`: one request; shorter than the lease.
    pub timeout: Duration,
    /// `STOCK_RUN_BUDGET_SECONDS`: how long a run goes on.
    pub run_budget: Duration,
    /// `STOCK_CONFIRM_HOLD_SECONDS`: how long newer quantities wait for the results of older ones.
    pub confirm_hold: TimeDelta,
    /// `STOCK_RATE_TARGET_PCT`: how much of a published limit is used, in percent.
    pub rate_target_percent: u32,
    /// `TRENDYOL_BASE_URL`, `HEPSIBURADA_BASE_URL`, …: instead of the marketplace's own.
    pub base_urls: HashMap<Marketplace, Url>,
}
