//! Works out anew what stores can sell, when they draw on other warehouses than before.
//!
//! Which stores have to be looked at is written with the change ([`stores.stock_recount_at`]), and
//! stays until all their products were: a process that dies leaves it to the next tick. A page of
//! products is one transaction, so that nobody waits for long. What an order may take does not
//! depend on it, for that is worked out from the shelves each time; this is what marketplaces are
//! told.
//!
//! [`stores.stock_recount_at`]: super::queries::layout::mark_for_recount

use std::collections::BTreeSet;

use jobs::StoreId;
use tracing::{error, info};
use uuid::Uuid;

use super::error::Error;
use super::layout::Layout;
use super::model::{MovementKind, ProductId, Reason, StockSource};
use super::queries::{counters, layout, reservations};
use super::shared::{self, Happened, Missing};
use crate::App;
use crate::db::{Tx, persist};

/// Products of a store in one transaction.
const PAGE: i64 = 500;

/// Recounts the stores of an organization that wait for it.
pub(crate) async fn recount(app: &App, organization_id: &str) -> Result<(), Error> {
    let mut tx = app.db.read().await?;
    let marked = layout::marked_stores(&mut tx, organization_id).await?;
    tx.save().await?;
    for (store_id, since) in marked {
        let products = recount_store(app, organization_id, store_id).await?;
        let mut tx = app.db.write().await?;
        layout::unmark_store(&mut tx, store_id, since).await?;
        tx.save().await?;
        info!(event = "store_recounted", storeId = %store_id, products, "recounted store {store_id}");
    }
    Ok(())
}

/// The same right after the change; what fails is logged and tried again with the next tick.
pub(super) async fn recount_now(app: &App, organization_id: &str) {
    if let Err(error) = recount(app, organization_id).await {
        error!(event = "recount_failed", organizationId = organization_id, %error, "failed to recount stores of {organization_id}; the next tick does");
    }
}

/// The same for all organizations; what fails is logged and tried again with the next tick.
pub(crate) async fn finish_recounts(app: &App) -> Result<(), Error> {
    let mut tx = app.db.read().await?;
    let organizations = layout::marked_organizations(&mut tx).await?;
    tx.save().await?;
    for organization_id in organizations {
        recount_now(app, &organization_id).await;
    }
    Ok(())
}

async fn recount_store(
    app: &App,
    organization_id: &str,
    store_id: StoreId,
) -> Result<usize, Error> {
    let mut after = ProductId(Uuid::nil());
    let mut counted = 0;
    loop {
        let mut tx = app.db.read().await?;
        let page = counters::products_of(&mut tx, store_id, after, PAGE).await?;
        let waiting = reservations::waiting_products(&mut tx, &page, store_id).await?;
        tx.save().await?;
        let Some(last) = page.last() else {
            return Ok(counted);
        };
        after = *last;
        counted += page.len();
        let waiting: BTreeSet<ProductId> = waiting.into_iter().collect();
        let others: BTreeSet<ProductId> = page
            .into_iter()
            .filter(|product| !waiting.contains(product))
            .collect();
        for (products, missing) in [(waiting, Missing::Made), (others, Missing::LeftOut)] {
            if !products.is_empty() {
                persist(|| count(app, (organization_id, store_id), &products, missing)).await?;
            }
        }
    }
}

/// Works out what a store can sell of some products; of those that orders wait for, all who share
/// them are looked at, and the orders get what there is.
async fn count(
    app: &App,
    (organization_id, store_id): (&str, StoreId),
    products: &BTreeSet<ProductId>,
    missing: Missing,
) -> Result<(), Error> {
    let now = app.clock.now();
    let mut tx = app.db.write().await?;
    let site = shared::site(&mut tx, organization_id, store_id).await?;
    if !site.is_shared {
        return Ok(());
    }
    let stores = match missing {
        Missing::Made => site.layout.around(&site.neighbours()),
        Missing::LeftOut => [store_id].into(),
    };
    let layout = (true, &site.layout);
    let mut pool = shared::open(&mut tx, layout, products, &stores, missing, now).await?;
    let fills = match missing {
        Missing::Made => shared::fill_shortfalls(&mut tx, &mut pool).await?,
        Missing::LeftOut => Vec::new(),
    };
    let mut happened = Happened::new(organization_id, Reason::Resync);
    happened.fills = &fills;
    shared::settle(app, &mut tx, &pool, happened, now).await?;
    tx.save().await?;
    Ok(())
}

/// Says where the quantities of a store come from, in the caller's transaction, before it locks
/// anything else; after the commit, [`recount`] works out what follows.
///
/// From then on a store that draws on warehouses sells what lies there. One that no longer does
/// begins with nothing, until somebody counts: what lies in the warehouses is still sold by
/// those who share them, and may not be sold twice.
pub(crate) async fn change_source(
    app: &App,
    tx: &mut Tx,
    organization_id: &str,
    store_id: StoreId,
    source: StockSource,
) -> Result<(), Error> {
    let now = app.clock.now();
    layout::lock_layout(tx, organization_id).await?;
    let before = layout::source_of(tx, organization_id, store_id).await?;
    if before.ok_or(Error::StoreNotFound(store_id))? == source {
        return Ok(());
    }
    let drawing = Layout::of(layout::links(tx, organization_id).await?);
    layout::set_source(tx, store_id, source, now).await?;
    let concerned = match source {
        StockSource::Direct => {
            forget_quantities(app, tx, organization_id, store_id).await?;
            drawing.neighbours(store_id)
        }
        StockSource::Warehouse => {
            let drawing = Layout::of(layout::links(tx, organization_id).await?);
            drawing.neighbours(store_id)
        }
    };
    layout::mark_for_recount(tx, &concerned, now).await?;
    Ok(())
}

async fn forget_quantities(
    app: &App,
    tx: &mut Tx,
    organization_id: &str,
    store_id: StoreId,
) -> Result<(), Error> {
    let now = app.clock.now();
    let mut after = ProductId(Uuid::nil());
    loop {
        let products = counters::sellable_products(tx, store_id, after, PAGE).await?;
        let products: BTreeSet<ProductId> = products.into_iter().collect();
        let Some(last) = products.last() else {
            return Ok(());
        };
        after = *last;
        let (layout, stores) = (Layout::default(), [store_id].into());
        let layout = (false, &layout);
        let mut pool = shared::open(tx, layout, &products, &stores, Missing::LeftOut, now).await?;
        for product in &products {
            let quantity = pool.sellable(*product, store_id);
            pool.adjust(*product, store_id, -quantity);
        }
        pool.book(MovementKind::Adjust, None);
        let happened = Happened::new(organization_id, Reason::Resync);
        shared::settle(app, tx, &pool, happened, now).await?;
    }
}

/// Makes the row of a product in a store, with what there is of it, if there is none; in the
/// caller's transaction, before it locks anything else.
pub(crate) async fn open_row(
    app: &App,
    tx: &mut Tx,
    organization_id: &str,
    (store_id, product_id): (StoreId, ProductId),
) -> Result<(), Error> {
    let now = app.clock.now();
    let site = shared::site(tx, organization_id, store_id).await?;
    let layout = (site.is_shared, &site.layout);
    let (products, stores) = ([product_id].into(), site.neighbours());
    let pool = shared::open(tx, layout, &products, &stores, Missing::Made, now).await?;
    let happened = Happened::new(organization_id, Reason::Resync);
    shared::settle(app, tx, &pool, happened, now).await
}
