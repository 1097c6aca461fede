//! The jobs of the service: who they are, how they are queued, and what wakes them.
//!
//! SQL is the truth, the queue is a wake-up: what is due is a row, and a job only says
//! "look at this one". Losing every queued job delays work to the next tick and loses
//! nothing. Therefore a job carries an identity and nothing else, and this crate is a leaf:
//! it cannot see a domain, so a job cannot carry one.
//!
//! | job | name | queue | identity | enqueued by | handled by | retry |
//! |---|---|---|---|---|---|---|
//! | [`SyncStore`] | `sync-store` | `sync-store-queue` | `store:{id}` | the [`sync`](schedule::SYNC) tick | `marketplace::sync` | `sync_logs.next_retry_at` |
//! | [`DeliverCallback`] | `deliver-callback` | `callback-queue` | `outbox:{id}` | whoever records an event, after its commit; the [`callback`](schedule::CALLBACK) tick | `webhooks::deliver` | `callback_deliveries.next_attempt_at` |
//! | [`PushStock`] | `push-stock` | `push-stock-queue` | `store:{id}` | the [`stock-push`](schedule::STOCK_PUSH) tick; whoever asks for it | `stock::push` | `stock_update_queue.next_attempt_at` |
//! | [`ConfirmStockPush`] | `confirm-stock-push` | `confirm-stock-push-queue` | `push:{id}` | the [`stock-confirm`](schedule::STOCK_CONFIRM) tick | `stock::confirm` | `stock_pushes.next_poll_at` |
//! | [`ResyncStore`] | `resync-store` | `resync-store-queue` | `store:{id}` | a store that becomes live; whoever asks for it; the stock-push tick | `stock::resync` | `marketplace_rate_limits.resync_requested_at` |
//! | [`ReconcileStock`] | `reconcile-stock` | `reconcile-stock-queue` | `store:{id}` | the [`stock-reconcile`](schedule::STOCK_RECONCILE) tick; a push without a known outcome; whoever asks for it | `stock::reconcile` | `marketplace_rate_limits.reconcile_requested_at` |
//!
//! What the crate promises to a handler: it may run twice, it is never retried by the
//! transport, and a queued job of an older release still decodes. Who may enqueue (one job
//! an identity) is decided by a row, not here.
//!
//! apalis runs the jobs. Its traps, and what hides each, are listed in [`queue`].

use std::fmt::Debug;

use serde::{Serialize, de::DeserializeOwned};

pub mod board;
mod confirm_stock_push;
mod deliver_callback;
mod ids;
mod push_stock;
pub mod queue;
mod reconcile_stock;
mod resync_store;
pub mod schedule;
mod sync_store;

pub use confirm_stock_push::ConfirmStockPush;
pub use deliver_callback::DeliverCallback;
pub use ids::{OutboxId, PushId, StoreId};
pub use push_stock::PushStock;
pub use queue::{Queue, QueueError, QueueOptions};
pub use reconcile_stock::ReconcileStock;
pub use resync_store::ResyncStore;
pub use schedule::{ScheduleError, parse_cron, previous_tick, run_schedule};
pub use sync_store::SyncStore;

/// What can be queued: a name, a queue and an identity.
///
/// All three are wire format: queued jobs outlive a deploy.
pub trait Job:
    Serialize + DeserializeOwned + Clone + Debug + Send + Sync + Unpin + 'static
{
    /// What logs, metrics and the board call it.
    const NAME: &'static str;
    /// The queue it waits in; one of [`Queue::queues`].
    const QUEUE: &'static str;

    /// What it is about; two jobs with one identity mean the same work.
    fn identity(&self) -> String;
}
