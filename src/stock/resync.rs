//! What [`ResyncStore`] does: it puts the products of a store into its queue.
//!
//! That it was asked for, what is to be told and how far it came stands in one row. A page of
//! products is enqueued, and the row moved on, in one transaction: if somebody else moved it
//! meanwhile, the page counts for nothing, and one job that dies is gone on with where it was. The
//! row is written last, as everybody does: a run of the store holds it for moments only. A product
//! that is enqueued twice has one row in the queue all the same.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use jobs::{QueueError, ResyncStore, StoreId};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::enqueue::enqueue_alone;
use super::error::Error;
use super::model::{ProductId, Reason};
use super::queries::quantities::{Pair, pairs};
use super::queries::resync as queries;
use super::queries::settings::store_row;
use super::settings::{quantity_cap, require_store};
use crate::App;
use crate::db::{Tx, persist};
use crate::schedule::slots::{self, Slotted};

/// Products a transaction.
const PAGE: usize = 2000;
/// Stores whose resync is enqueued at once.
const HANDFUL: i64 = 100;

/// Asks for a resync of a store in the caller's transaction; the job is pushed after the commit
/// ([`enqueue_resync`]). With `only_differing` only what the marketplace is not known to show is
/// told, else everything, whatever it is believed to show.
pub(crate) async fn request_resync(
    tx: &mut Tx,
    store_id: StoreId,
    only_differing: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    queries::request(tx, store_id, only_differing, now).await
}

/// The same for a store of an organization.
pub(super) async fn request_own_resync(
    app: &App,
    tx: &mut Tx,
    organization_id: &str,
    store_id: StoreId,
    only_differing: bool,
) -> Result<(), Error> {
    require_store(tx, organization_id, store_id).await?;
    request_resync(tx, store_id, only_differing, app.clock.now()).await?;
    Ok(())
}

/// Pushes the jobs of stores whose resync was asked for, unless they wait or run already. Best
/// effort, and never an error of the caller: the stock-push tick makes up for it.
pub(crate) async fn enqueue_resync(app: &App, stores: &[StoreId]) {
    if stores.is_empty() {
        return;
    }
    match slots::enqueue::<ResyncStore>(app, stores).await {
        Ok(enqueued) => match enqueued.pushed {
            Ok(()) => {}
            Err(QueueError::Full { .. }) => {
                debug!(
                    event = "queue_full",
                    "the resync queue is full; the rest waits as rows"
                );
            }
            Err(error) => warn_of(stores, &error),
        },
        Err(error) => warn_of(stores, &error),
    }
}

fn warn_of(stores: &[StoreId], error: &dyn std::fmt::Display) {
    for store_id in stores {
        warn!(event = "resync_enqueue_failed", storeId = %store_id, %error, "failed to enqueue the resync of store {store_id}; the next tick does");
    }
}

/// Pushes the jobs of all resyncs that were asked for and have none: their pusher died, the queue
/// was full, or their run was.
pub async fn enqueue_requested_resyncs(app: &App) -> sqlx::Result<()> {
    slots::free_slots_of_lost_queue::<ResyncStore>(app).await?;
    let mut tx = app.db.read().await?;
    let stores = queries::requested(&mut tx, app.clock.now(), HANDFUL).await?;
    tx.save().await?;
    enqueue_resync(app, &stores).await;
    Ok(())
}

/// What a page came to.
enum Page {
    /// Nothing was asked for (any more).
    Idle,
    /// So many rows were touched, and there is more to do.
    More(u64),
    /// The same, and that was all.
    Last(u64),
}

/// Puts the listed products of a store into its queue, page by page, until all are there or the
/// process stops; a run that is cut short is gone on with by the next.
pub(crate) async fn resync_store(
    app: &App,
    job: ResyncStore,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let store_id = job.store_id;
    let mut enqueued = 0;
    while !stop.is_cancelled() {
        match persist(|| page(app, store_id)).await? {
            Page::More(rows) => enqueued += rows,
            Page::Last(rows) => {
                enqueued += rows;
                info!(event = "stock_resynced", storeId = %store_id, enqueued, "enqueued {enqueued} products of store {store_id}");
                return Ok(());
            }
            // Another job did it, or the store is gone.
            Page::Idle => break,
        }
    }
    free_slot(app, store_id).await?;
    Ok(())
}

async fn page(app: &App, store_id: StoreId) -> Result<Page, Error> {
    let now = app.clock.now();
    // A page may have as many sets as it has products.
    let mut tx = app.db.write_at_length().await?;
    let Some(request) = queries::request_of(&mut tx, store_id).await? else {
        return Ok(Page::Idle);
    };
    let after = request.after.unwrap_or(Uuid::nil());
    let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
    let listed = queries::listed_products(&mut tx, store_id, after, limit).await?;
    let told = if request.only_differing {
        differing(app, &mut tx, store_id, &listed).await?
    } else {
        listed.clone()
    };
    let force = !request.only_differing;
    let rows = enqueue_alone(&mut tx, store_id, &told, Reason::Resync, force, now).await?;
    let last = listed.last().filter(|_| listed.len() == PAGE);
    let is_ours = if let Some(last) = last {
        queries::advance(&mut tx, store_id, request, *last, now).await?
    } else {
        queries::finish(&mut tx, store_id, request, now).await?
    };
    if !is_ours {
        return Ok(Page::More(0));
    }
    let page = last.map_or(Page::Last(rows), |_| Page::More(rows));
    tx.save().await?;
    Ok(page)
}

/// Those that the marketplace is not known to show as it should.
async fn differing(
    app: &App,
    tx: &mut Tx,
    store_id: StoreId,
    products: &[ProductId],
) -> Result<Vec<ProductId>, Error> {
    let store = store_row(tx, store_id).await?;
    let store = store.ok_or(Error::StoreNotFound(store_id))?;
    let cap = quantity_cap(app, store.marketplace);
    let differs = |pair: &Pair| pair.last_confirmed_quantity != Some(pair.quantity.min(cap));
    let pairs = pairs(tx, store_id, products).await?;
    let differing = pairs.into_iter().filter(differs);
    Ok(differing.map(|pair| pair.product_id).collect())
}

/// Lets the next tick enqueue a store whose resync ended before it was done.
pub(crate) async fn free_slot(app: &App, store_id: StoreId) -> sqlx::Result<()> {
    let mut tx = app.db.write().await?;
    queries::free_slot(&mut tx, store_id).await?;
    tx.save().await
}

impl Slotted for ResyncStore {
    type Id = StoreId;
    const ROWS: &'static str = "resyncs";

    fn of(store_id: StoreId) -> Self {
        Self { store_id }
    }

    async fn claim_slots(
        tx: &mut Tx,
        stores: &[StoreId],
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> sqlx::Result<HashSet<StoreId>> {
        queries::claim_slots(tx, stores, until, now).await
    }

    async fn move_slots(
        tx: &mut Tx,
        stores: &[StoreId],
        from: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> sqlx::Result<()> {
        queries::move_slots(tx, stores, from, until).await
    }

    async fn free_all_slots(tx: &mut Tx, now: DateTime<Utc>) -> sqlx::Result<u64> {
        queries::free_all_slots(tx, now).await
    }
}
