//! What [`ConfirmStockPush`] does, top to bottom.
//!
//! It asks the marketplace what became of the items of a push, until it says so or the results
//! cannot be asked for any more. An item that was applied is what the marketplace shows from then
//! on; one that was refused is enqueued again or blocked. Rows that waited for these results are
//! due now.
//!
//! A push that nobody knows the outcome of is looked at from the other side: the marketplace is
//! asked what it shows ([`read_back`](super::read_back)).
//!
//! It may always run twice: what it writes of a pair, it writes only while the pair waits for this
//! very push, and what it writes of the push, only if nobody did since it was looked at.

use chrono::{DateTime, TimeDelta, Utc};
use jobs::{ConfirmStockPush, PushId};
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::abandon::READ_BACK_AFTER;
use super::answer::{events_of, note_digest};
use super::api_logs;
use super::connector::{
    Adapter, CallFailure, Called, Exchange, FailureKind, Item, Names, Operation, PollOutcome,
};
use super::error::Error;
use super::events::{announce, tell_all};
use super::gates::{opens_at, spent};
use super::model::{ItemState, ProductId, PushState, QueueId};
use super::push::enqueue_again;
use super::queries::claim::{self, Requeued};
use super::queries::confirm::{self as queries, Awaited, Results, SentItem};
use super::queries::gates::{Spent, take_tokens};
use super::queries::pairs;
use super::queries::pushes::{self, ItemEnd};
use super::read_back::read_back;
use super::results::{Digest, Told, digest};
use super::send::failure_name;
use super::settings::{StockStore, stock_store};
use crate::App;
use crate::db::{self, Tx};
use crate::metrics::StoreLabel;
use crate::webhooks::EventType;

/// How long it is waited after each look; the first was three seconds after the push.
const DELAYS: [TimeDelta; 4] = [
    TimeDelta::seconds(5),
    TimeDelta::seconds(10),
    TimeDelta::seconds(30),
    TimeDelta::seconds(60),
];
/// After those.
const LAST_DELAY: TimeDelta = TimeDelta::minutes(5);
/// A marketplace that does not know a push after so many looks will not know it later.
const GONE_AFTER: i32 = 5;

/// A push that is looked at, with all that it takes.
pub(super) struct Look<'a> {
    pub(super) app: &'a App,
    pub(super) seen: Awaited,
    pub(super) store: StockStore,
    pub(super) adapter: &'a dyn Adapter,
}

/// Runs the job: asks what became of a push.
pub(crate) async fn confirm_push(
    app: &App,
    job: ConfirmStockPush,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let push_id = job.push_id;
    let mut tx = app.db.read().await?;
    let Some(seen) = queries::awaited(&mut tx, push_id).await? else {
        warn!(event = "stock_push_not_found", pushId = %push_id, "push {push_id} does not exist any more");
        return Ok(());
    };
    let store = stock_store(app, &mut tx, seen.store_id).await?;
    tx.save().await?;
    let is_due = seen.next_poll_at.is_some_and(|at| at <= app.clock.now());
    let (Some(store), true, false) = (store, is_due, stop.is_cancelled()) else {
        return free_slot(app, push_id).await;
    };
    let Some(adapter) = app.adapters.get(store.shop.marketplace) else {
        let later = app.clock.now() + LAST_DELAY;
        return Ok(note_later(app, &seen, later, seen.polls, None).await?);
    };
    let look = Look {
        app,
        seen,
        store,
        adapter,
    };
    match (look.seen.state, look.seen.external_batch_id.clone()) {
        (PushState::Accepted, Some(batch_id)) => look.ask(&batch_id).await,
        _ => read_back(&look, stop).await,
    }
}

/// Lets the next tick enqueue the job of a push.
pub(crate) async fn free_slot(app: &App, push_id: PushId) -> Result<(), Error> {
    let mut tx = app.db.write().await?;
    queries::free_slot(&mut tx, push_id).await?;
    tx.save().await?;
    Ok(())
}

/// Notes when a push is looked at again.
pub(super) async fn note_later(
    app: &App,
    seen: &Awaited,
    next_poll_at: DateTime<Utc>,
    polls: i32,
    error: Option<String>,
) -> sqlx::Result<()> {
    let results = &Results {
        state: seen.state,
        failed_item_count: None,
        confirmed_at: None,
        next_poll_at: Some(next_poll_at),
        polls,
        error,
    };
    db::persist(move || async move {
        let mut tx = app.db.write().await?;
        queries::note_results(&mut tx, seen, results, app.clock.now()).await?;
        tx.save().await
    })
    .await
}

/// Takes what a call spends; tells when there is enough, if there is not now.
pub(super) async fn spend(
    app: &App,
    store: &StockStore,
    adapter: &dyn Adapter,
    operation: Operation,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    let target = app.settings.stock.rate_target_percent;
    let buckets = adapter.buckets(&store.shop, operation).into_iter();
    let buckets: Vec<Spent> = buckets.map(|bucket| spent(bucket, target)).collect();
    if buckets.is_empty() {
        return Ok(None);
    }
    let buckets = &buckets;
    db::persist(move || async move {
        let now = app.clock.now();
        let mut tx = app.db.write().await?;
        let left = take_tokens(&mut tx, buckets, now).await?;
        let until = opens_at(buckets, &left, now);
        if until.is_none() {
            tx.save().await?;
        }
        Ok(until)
    })
    .await
}

impl Look<'_> {
    /// The store, for metrics.
    pub(super) fn label(&self) -> StoreLabel {
        StoreLabel {
            store_id: self.store.id,
            marketplace: self.store.shop.marketplace,
        }
    }

    async fn ask(&self, batch_id: &str) -> Result<(), Error> {
        let app = self.app;
        if let Some(until) = spend(app, &self.store, self.adapter, Operation::Poll).await? {
            app.metrics.stock.rate_limit_hit(self.label(), "BUCKET");
            return Ok(note_later(app, &self.seen, until, self.seen.polls, None).await?);
        }
        let mut tx = app.db.read().await?;
        let sent = queries::sent_items(&mut tx, self.seen.id, self.store.id).await?;
        tx.save().await?;
        let items: Vec<Item> = sent.iter().map(item_of).collect();
        let called = self.poll(batch_id, &items).await;
        let result = match &called.outcome {
            PollOutcome::Pending => "pending",
            PollOutcome::Done(_) => "success",
            PollOutcome::Gone => "gone",
            PollOutcome::Failed(failure) => failure_name(failure.kind),
        };
        app.metrics.stock.request(self.label(), "poll", result);
        let now = app.clock.now();
        let next = self.next_look(&called.outcome, now);
        let exchanges = called.exchanges;
        match (called.outcome, next) {
            (PollOutcome::Done(outcomes), _) => {
                let told: Vec<Told> = sent.iter().map(told).collect();
                let digest = digest(&told, &outcomes, now);
                self.write_results(&sent, digest, &exchanges).await
            }
            (outcome, Some(next)) => {
                let error = match outcome {
                    PollOutcome::Failed(failure) => Some(failure.message),
                    _ => None,
                };
                self.write_later(next, error.as_deref(), &exchanges).await
            }
            (_, None) => self.expire(&sent, &exchanges).await,
        }
    }

    async fn poll(&self, batch_id: &str, items: &[Item]) -> Called<PollOutcome> {
        let polling = self.adapter.poll(&self.store.shop, batch_id, items);
        match timeout(self.app.settings.stock.lease, polling).await {
            Ok(called) => called,
            Err(_) => Called {
                exchanges: Vec::new(),
                outcome: PollOutcome::Failed(CallFailure {
                    kind: FailureKind::Ambiguous,
                    message: "the marketplace did not answer in time".to_owned(),
                }),
            },
        }
    }

    /// When it is looked again; none, if the results will not come any more.
    fn next_look(&self, outcome: &PollOutcome, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let polls = self.seen.polls.saturating_add(1);
        if matches!(outcome, PollOutcome::Gone) && polls >= GONE_AFTER {
            return None;
        }
        let index = usize::try_from(self.seen.polls).unwrap_or(usize::MAX);
        let mut delay = DELAYS.get(index).copied().unwrap_or(LAST_DELAY);
        if let PollOutcome::Failed(CallFailure {
            kind:
                FailureKind::RateLimited {
                    retry_after: Some(asked),
                    ..
                },
            ..
        }) = outcome
        {
            delay = delay.max(*asked).min(TimeDelta::days(1));
        }
        let expires_at = self.seen.expires_at.filter(|at| *at > now);
        match (self.seen.expires_at, expires_at) {
            (Some(_), None) => None,
            // The last look is at the very end.
            (_, Some(expires_at)) => Some((now + delay).min(expires_at)),
            (None, _) => Some(now + delay),
        }
    }

    async fn write_later(
        &self,
        next: DateTime<Utc>,
        error: Option<&str>,
        exchanges: &[Exchange],
    ) -> Result<(), Error> {
        let results = &Results {
            state: self.seen.state,
            failed_item_count: None,
            confirmed_at: None,
            next_poll_at: Some(next),
            polls: self.seen.polls.saturating_add(1),
            error: error.map(api_logs::message),
        };
        db::persist(move || async move {
            let now = self.app.clock.now();
            let mut tx = self.app.db.write().await?;
            queries::note_results(&mut tx, &self.seen, results, now).await?;
            self.log(&mut tx, exchanges, now).await?;
            tx.save().await?;
            Ok(())
        })
        .await
    }

    pub(super) async fn log(
        &self,
        tx: &mut Tx,
        exchanges: &[Exchange],
        now: DateTime<Utc>,
    ) -> sqlx::Result<()> {
        let provider = self.adapter.provider();
        api_logs::log(
            self.app,
            tx,
            &self.store,
            provider,
            Some(self.seen.id),
            exchanges,
            now,
        )
        .await
    }

    /// Writes what became of the items.
    async fn write_results(
        &self,
        sent: &[SentItem],
        digest: Digest,
        exchanges: &[Exchange],
    ) -> Result<(), Error> {
        let (app, push_id) = (self.app, self.seen.id);
        note_digest(app, self.label(), push_id, &digest);
        let state = digest.state();
        let events = events_of(push_id, state, sent.len(), &digest);
        let (digest, events) = (&digest, &events);
        let written = db::persist(move || async move {
            let now = app.clock.now();
            let mut tx = app.db.write().await?;
            let released = self.write_pairs(&mut tx, sent, digest, now).await?;
            let look_after = released.stale;
            let results = Results {
                state,
                failed_item_count: Some(digest.failed_item_count()),
                confirmed_at: (digest.confirmed > 0).then_some(now),
                next_poll_at: look_after.map(|wait| now + wait),
                polls: self.seen.polls.saturating_add(1),
                error: None,
            };
            if !queries::note_results(&mut tx, &self.seen, &results, now).await? {
                return Ok(None);
            }
            pushes::end_items(&mut tx, push_id, &released.items).await?;
            self.log(&mut tx, exchanges, now).await?;
            let store = (self.store.organization_id.as_str(), self.store.id);
            let recorded = tell_all(app, &mut tx, store, events, now).await?;
            tx.save().await?;
            Ok::<_, Error>(Some((recorded, released.rows)))
        })
        .await?;
        let Some((recorded, rows)) = written else {
            return Ok(());
        };
        announce(app, recorded).await;
        info!(event = "stock_push_confirmed", pushId = %push_id, storeId = %self.store.id, state = %state, confirmed = digest.confirmed, rejected = digest.rejected, "push {push_id} is {state}");
        if rows > 0 {
            enqueue_again(app, self.store.id).await;
        }
        Ok(())
    }

    /// Writes how the pairs stand that still wait for this push.
    ///
    /// Of the others something newer was sent before these results came. Which of the two was
    /// applied last, nobody can say: their items stay open, and the marketplace is asked later.
    async fn write_pairs(
        &self,
        tx: &mut Tx,
        sent: &[SentItem],
        digest: &Digest,
        now: DateTime<Utc>,
    ) -> Result<Released, Error> {
        let (app, store_id) = (self.app, self.store.id);
        let ours = pairs::end_pairs(tx, store_id, self.seen.id, &digest.pairs, now).await?;
        let mut products: Vec<ProductId> = ours.iter().copied().collect();
        products.sort_unstable();
        let rows = claim::release_held(tx, store_id, &products, now).await?;
        let again: Vec<Requeued> = digest
            .again
            .iter()
            .filter(|again| ours.contains(&again.product_id))
            .map(|again| again.row(QueueId(app.ids.new_id(now))))
            .collect();
        if !again.is_empty() {
            claim::requeue(tx, store_id, &again, now).await?;
        }
        let is_open = |(item, end): &(&SentItem, &ItemEnd)| {
            end.state == ItemState::Confirmed && !ours.contains(&item.product_id)
        };
        // The ends of items are in the order they were sent.
        let (open, items): (Vec<_>, Vec<_>) = sent.iter().zip(&digest.items).partition(is_open);
        let items = items.into_iter().map(|(_, end)| end.clone()).collect();
        let stale = (!open.is_empty()).then_some(READ_BACK_AFTER);
        Ok(Released { items, stale, rows })
    }

    /// The results will not come any more: the marketplace is asked what it shows.
    async fn expire(&self, sent: &[SentItem], exchanges: &[Exchange]) -> Result<(), Error> {
        let (app, push_id) = (self.app, self.seen.id);
        let mut products: Vec<ProductId> = sent.iter().map(|item| item.product_id).collect();
        products.sort_unstable();
        let products = &products;
        let data =
            json!({ "pushId": push_id, "state": PushState::Expired, "itemCount": sent.len() });
        let events = &[(EventType::StockPushFailed, data)];
        let recorded = db::persist(move || async move {
            let now = app.clock.now();
            let mut tx = app.db.write().await?;
            pairs::let_go(&mut tx, self.store.id, push_id, products, now).await?;
            claim::release_held(&mut tx, self.store.id, products, now).await?;
            let results = Results {
                state: PushState::Expired,
                failed_item_count: None,
                confirmed_at: None,
                next_poll_at: Some(now),
                polls: self.seen.polls.saturating_add(1),
                error: Some("the marketplace never said what became of it".to_owned()),
            };
            if !queries::note_results(&mut tx, &self.seen, &results, now).await? {
                return Ok(Vec::new());
            }
            self.log(&mut tx, exchanges, now).await?;
            let store = (self.store.organization_id.as_str(), self.store.id);
            let recorded = tell_all(app, &mut tx, store, events, now).await?;
            tx.save().await?;
            Ok::<_, Error>(recorded)
        })
        .await?;
        announce(app, recorded).await;
        warn!(event = "stock_push_expired", pushId = %push_id, storeId = %self.store.id, "the marketplace never said what became of push {push_id}");
        Ok(())
    }
}

/// What the results of a push let go of.
struct Released {
    items: Vec<ItemEnd>,
    /// When the marketplace is asked about items that are open, if some are.
    stale: Option<TimeDelta>,
    /// Rows that waited for them.
    rows: u64,
}

/// An item as it was sent.
pub(super) fn item_of(sent: &SentItem) -> Item {
    Item {
        product_id: sent.product_id,
        names: Names {
            sku: None,
            barcode: None,
            external_sku: sent.external_sku.clone(),
            external_barcode: sent.external_barcode.clone(),
            external_listing_id: sent.external_listing_id.clone(),
            external_location_id: sent.external_location_id.clone(),
        },
        quantity: sent.sent_quantity,
    }
}

fn told(sent: &SentItem) -> Told {
    Told {
        element_no: sent.element_no,
        product_id: sent.product_id,
        quantity: sent.sent_quantity,
        reason: sent.reason,
        priority: sent.priority,
        queued_at: sent.queued_at,
        reject_count: sent.reject_count,
        push_state: sent.push_state,
    }
}
