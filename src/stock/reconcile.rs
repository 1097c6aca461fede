//! What [`ReconcileStock`] does, top to bottom.
//!
//! It asks the marketplace of a store what it shows, page by page, and enqueues what is wrong. What
//! the marketplace shows is what it is known to show from then on. How far it came is stored with
//! the store, so that a run that dies, or is over, is gone on with.
//!
//! On the way it computes the quantity of each set once more, component by component, and counts
//! how many are shown right: two ways to the same number.
//!
//! It may always run twice: what it writes of a pair, it writes only if nobody told it anything
//! since it was read, and a page that somebody else has gone behind counts for nothing.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use jobs::{QueueError, ReconcileStock, StoreId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::api_logs;
use super::compose::names_of;
use super::confirm::spend;
use super::connector::{Adapter, Exchange, Item, Operation, ReadOutcome, Reading};
use super::error::Error;
use super::model::{ProductId, ProductType, PushMode};
use super::queries::claim;
use super::queries::pairs::observe;
use super::queries::quantities::{Pair, pairs};
use super::queries::reconcile::{self as queries, Component, PageEnd, Request};
use super::queries::schedule::free_reconcile_slot;
use super::read_back::{read, rows_of};
use super::reading::{Finding, find};
use super::settings::{StockStore, stock_store};
use crate::App;
use crate::db::{self, Tx};
use crate::schedule::slots;

/// A run ends after so many pages; then the store has to wait for its turn again.
const MAX_PAGES: usize = 200;

/// Asks for a store to be compared with its marketplace; the job is pushed after the commit
/// ([`enqueue_reconcile`]).
pub(crate) async fn request_reconcile(
    tx: &mut Tx,
    store_id: StoreId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    queries::request(tx, store_id, now).await
}

/// Pushes the job of a store that was asked to be compared. Best effort: the next tick does it, too.
pub(crate) async fn enqueue_reconcile(app: &App, store_id: StoreId) {
    let enqueued = slots::enqueue::<ReconcileStock>(app, &[store_id]).await;
    let error = match enqueued.map(|enqueued| enqueued.pushed) {
        Ok(Ok(()) | Err(QueueError::Full { .. })) => return,
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    warn!(storeId = %store_id, error, "failed to enqueue the comparison of store {store_id}; the next tick does");
}

/// Lets the next tick enqueue the comparison of a store.
pub(crate) async fn free_slot(app: &App, store_id: StoreId) -> Result<(), Error> {
    let mut tx = app.db.write().await?;
    free_reconcile_slot(&mut tx, store_id).await?;
    tx.save().await?;
    Ok(())
}

/// Runs the job: compares a store with its marketplace.
pub(crate) async fn reconcile_stock(
    app: &App,
    job: ReconcileStock,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let store_id = job.store_id;
    let mut tx = app.db.read().await?;
    let store = stock_store(app, &mut tx, store_id).await?;
    let request = queries::request_of(&mut tx, store_id).await?;
    tx.save().await?;
    let (Some(store), Some(request)) = (store, request) else {
        return free_slot(app, store_id).await;
    };
    let is_live = store.is_active && store.send_stock && store.push_mode == PushMode::Live;
    let adapter = app.adapters.get(store.shop.marketplace);
    let adapter = adapter.filter(|adapter| is_live && adapter.has_credentials(&store.shop));
    let Some(adapter) = adapter else {
        info!(event = "stock_not_reconciled", storeId = %store_id, "store {store_id} is not pushed to and cannot be compared");
        return finish(app, store_id, request, false).await;
    };
    let comparison = Comparison {
        app,
        store,
        adapter,
    };
    match comparison.run(request, stop).await? {
        End::Whole => finish(app, store_id, request, true).await,
        End::Unsupported => finish(app, store_id, request, false).await,
        End::Later => free_slot(app, store_id).await,
        End::Budget => {
            free_slot(app, store_id).await?;
            enqueue_reconcile(app, store_id).await;
            Ok(())
        }
    }
}

async fn finish(
    app: &App,
    store_id: StoreId,
    request: Request,
    is_whole: bool,
) -> Result<(), Error> {
    db::persist(move || async move {
        let mut tx = app.db.write().await?;
        let now = app.clock.now();
        queries::finish(&mut tx, store_id, request.requested_at, is_whole, now).await?;
        tx.save().await
    })
    .await?;
    // It may have been asked for anew.
    free_slot(app, store_id).await
}

/// How a run ended.
enum End {
    /// All of the store was compared.
    Whole,
    /// Its time was over.
    Budget,
    /// The next tick goes on.
    Later,
    /// The marketplace cannot be asked.
    Unsupported,
}

struct Comparison<'a> {
    app: &'a App,
    store: StockStore,
    adapter: &'a dyn Adapter,
}

/// A page, as it was read.
struct Page {
    /// Pairs that can be asked about, as they are asked for.
    asked: Vec<(Pair, Item)>,
    last: ProductId,
    pending: HashSet<ProductId>,
    sets: PageEnd,
}

impl Comparison<'_> {
    async fn run(&self, mut request: Request, stop: &CancellationToken) -> Result<End, Error> {
        let started = Instant::now();
        for _ in 0..MAX_PAGES {
            if stop.is_cancelled() {
                return Ok(End::Later);
            }
            if started.elapsed() >= self.app.settings.stock.run_budget {
                return Ok(End::Budget);
            }
            let Some(page) = self.page(request.after).await? else {
                return Ok(End::Whole);
            };
            let (readings, exchanges) = if page.asked.is_empty() {
                (Vec::new(), Vec::new())
            } else {
                if self.must_wait().await? {
                    return Ok(End::Later);
                }
                let items: Vec<Item> = page.asked.iter().map(|(_, item)| item.clone()).collect();
                let called = read(self.app, &self.store, self.adapter, &items).await;
                match called.outcome {
                    ReadOutcome::Read(readings) => (readings, called.exchanges),
                    ReadOutcome::Unsupported => return Ok(End::Unsupported),
                    ReadOutcome::Failed(failure) => {
                        warn!(event = "stock_reconcile_failed", storeId = %self.store.id, "the marketplace of store {} could not be asked what it shows: {}", self.store.id, failure.message);
                        self.log(&called.exchanges).await?;
                        return Ok(End::Later);
                    }
                }
            };
            if !self.write(request, &page, &readings, &exchanges).await? {
                // It was asked for anew, or somebody else is at it.
                return Ok(End::Later);
            }
            request.after = Some(page.last);
        }
        Ok(End::Budget)
    }

    /// Waits for the rate of reading, if that is soon; tells whether the run has to end.
    async fn must_wait(&self) -> Result<bool, Error> {
        let operation = Operation::ReadBack;
        loop {
            let until = spend(self.app, &self.store, self.adapter, operation).await?;
            let Some(until) = until else {
                return Ok(false);
            };
            let wait = (until - self.app.clock.now()).to_std().unwrap_or_default();
            if wait > std::time::Duration::from_secs(5) || !self.app.clock.pass(wait).await {
                return Ok(true);
            }
        }
    }

    async fn page(&self, after: Option<ProductId>) -> Result<Option<Page>, Error> {
        let limit = self.adapter.manners().max_read_items.max(1);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let store_id = self.store.id;
        let mut tx = self.app.db.read().await?;
        let products = queries::listed_products(&mut tx, store_id, after, limit).await?;
        let Some(last) = products.last().copied() else {
            return Ok(None);
        };
        let found = pairs(&mut tx, store_id, &products).await?;
        let pending = queries::pending_products(&mut tx, store_id, &products).await?;
        let pending: HashSet<ProductId> = pending.into_iter().collect();
        let settled: Vec<&Pair> = found
            .iter()
            .filter(|pair| pair.product_type == ProductType::Set)
            .filter(|pair| pair.in_flight_push_id.is_none() && !pending.contains(&pair.product_id))
            .filter(|pair| pair.last_confirmed_quantity.is_some())
            .collect();
        let sets: Vec<ProductId> = settled.iter().map(|pair| pair.product_id).collect();
        let components = queries::components_of(&mut tx, store_id, &sets).await?;
        tx.save().await?;
        let cap = self.quantity_cap();
        let sets = PageEnd {
            sets_checked: i64::try_from(settled.len()).unwrap_or(i64::MAX),
            sets_accurate: accurate_sets(&settled, &components, cap),
            has_drifted: false,
        };
        let asked = found
            .into_iter()
            .filter(|pair| pair.in_flight_push_id.is_none())
            .filter_map(|pair| {
                let names = self.adapter.names(&names_of(&pair))?;
                let quantity = pair.quantity.clamp(0, cap);
                let item = Item {
                    product_id: pair.product_id,
                    names,
                    quantity,
                };
                Some((pair, item))
            })
            .collect();
        Ok(Some(Page {
            asked,
            last,
            pending,
            sets,
        }))
    }

    fn quantity_cap(&self) -> i64 {
        self.app
            .settings
            .stock
            .max_quantity
            .min(self.adapter.manners().quantity_cap)
    }

    /// Writes what a page came to; tells whether it was still the one to be compared.
    async fn write(
        &self,
        request: Request,
        page: &Page,
        readings: &[Reading],
        exchanges: &[Exchange],
    ) -> Result<bool, Error> {
        let (app, cap) = (self.app, self.quantity_cap());
        let mut findings: Vec<Finding> = page
            .asked
            .iter()
            .zip(readings)
            .filter_map(|((pair, _), reading)| find(pair, reading, cap, None))
            .collect();
        for finding in &mut findings {
            // It is told anyway, so what is shown now is nobody's fault.
            if page.pending.contains(&finding.observed.product_id) {
                (finding.is_wrong, finding.has_drifted) = (false, false);
            }
        }
        findings.sort_unstable_by_key(|finding| finding.observed.product_id);
        let findings = &findings;
        db::persist(move || async move {
            let now = app.clock.now();
            let observed: Vec<_> = findings.iter().map(|it| it.observed.clone()).collect();
            let mut tx = app.db.write().await?;
            let ours = observe(&mut tx, self.store.id, &observed, now).await?;
            let rows = rows_of(app, findings, &ours, now);
            claim::requeue(&mut tx, self.store.id, &rows, now).await?;
            let provider = self.adapter.provider();
            api_logs::log(app, &mut tx, &self.store, provider, None, exchanges, now).await?;
            let drifted =
                |it: &&Finding| it.has_drifted && ours.contains(&it.observed.product_id);
            let drifted = findings.iter().filter(drifted).count();
            let end = PageEnd { has_drifted: drifted > 0, ..page.sets };
            if !queries::advance(&mut tx, self.store.id, request, page.last, end, now).await? {
                return Ok(false);
            }
            tx.save().await?;
            if drifted > 0 {
                warn!(event = "stock_drift_found", storeId = %self.store.id, drifted, "the marketplace of store {} shows other quantities than it was told, of {drifted} products", self.store.id);
            }
            Ok(true)
        })
        .await
    }

    async fn log(&self, exchanges: &[Exchange]) -> Result<(), Error> {
        let app = self.app;
        let provider = self.adapter.provider();
        let mut tx = app.db.write().await?;
        api_logs::log(
            app,
            &mut tx,
            &self.store,
            provider,
            None,
            exchanges,
            app.clock.now(),
        )
        .await?;
        tx.save().await?;
        Ok(())
    }
}

/// Of how many sets the marketplace is known to show what their components make.
fn accurate_sets(sets: &[&Pair], components: &[Component], cap: i64) -> i64 {
    let mut made: HashMap<ProductId, i64> = HashMap::new();
    for component in components {
        let makes = component.sellable_quantity.unwrap_or(0) / component.quantity;
        let of_set = made.entry(component.set_product_id).or_insert(i64::MAX);
        *of_set = makes.min(*of_set);
    }
    let is_accurate = |pair: &&&Pair| {
        let quantity = made.get(&pair.product_id).copied().unwrap_or(0);
        pair.last_confirmed_quantity == Some(quantity.clamp(0, cap))
    };
    let accurate = sets.iter().filter(is_accurate).count();
    i64::try_from(accurate).unwrap_or(i64::MAX)
}
