//! What marketplaces have still to be told, and what they were told: shown, summed up, added to.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use jobs::StoreId;

use super::enqueue::enqueue;
use super::error::Error;
use super::model::{ProductId, Reason};
use super::queries::queue::{self as queries, QueueRow, RowFilter};
use super::queries::settings::{StoreGate, gates_of, stores_of};
use super::settings::{Closed, require_store};
use crate::App;
use crate::db::Tx;
use crate::http::page::{Cursor, PageRequest};

/// Whether a row waits or is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowStatus {
    Pending,
    Processed,
}

/// Which rows of an organization.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueFilter {
    pub(super) store_id: Option<StoreId>,
    pub(super) product_id: Option<ProductId>,
    pub(super) reason: Option<Reason>,
    pub(super) status: Option<RowStatus>,
    /// Whether they have waited for too long; what is done waits no more.
    pub(super) is_overdue: Option<bool>,
}

/// Since when what is overdue has waited, at least.
pub(super) fn overdue_before(app: &App) -> DateTime<Utc> {
    app.clock.now() - app.settings.stock.queue_ttl
}

/// A page of the queue of an organization, the newest first.
pub(super) async fn list_rows(
    app: &App,
    organization_id: &str,
    filter: QueueFilter,
    page: PageRequest,
) -> Result<Vec<QueueRow>, Error> {
    let mut tx = app.db.read_at_length().await?;
    let stores = match filter.store_id {
        Some(id) => {
            require_store(&mut tx, organization_id, id).await?;
            vec![id]
        }
        None => stores_of(&mut tx, organization_id).await?,
    };
    let limit = usize::try_from(page.look_ahead()).unwrap_or(usize::MAX);
    let mut rows = Vec::new();
    // Each store hands over its newest: an index has them in this order, for all there is none.
    for store_id in stores {
        rows.extend(rows_of(app, &mut tx, store_id, filter, page).await?);
        rows.sort_unstable_by_key(|row: &QueueRow| Reverse((row.created_at, row.id.0)));
        rows.truncate(limit);
    }
    tx.save().await?;
    Ok(rows)
}

async fn rows_of(
    app: &App,
    tx: &mut Tx,
    store_id: StoreId,
    filter: QueueFilter,
    page: PageRequest,
) -> sqlx::Result<Vec<QueueRow>> {
    let cursor = page.after.unwrap_or(Cursor::END);
    let mut of_any_age = RowFilter {
        product_id: filter.product_id,
        reason: filter.reason,
        from: Cursor::BEGINNING.at,
        before: Cursor::END.at,
    };
    let mut rows = Vec::new();
    let limit = page.look_ahead();
    if filter.status != Some(RowStatus::Pending) && filter.is_overdue != Some(true) {
        rows = queries::processed_rows(tx, store_id, cursor, of_any_age, limit).await?;
    }
    if filter.status != Some(RowStatus::Processed) {
        match filter.is_overdue {
            Some(true) => of_any_age.before = overdue_before(app),
            Some(false) => of_any_age.from = overdue_before(app),
            None => {}
        }
        rows.extend(queries::pending_rows(tx, store_id, cursor, of_any_age, limit).await?);
    }
    Ok(rows)
}

/// What waits of a store, and what keeps it from its marketplace.
#[derive(Clone, Debug)]
pub(super) struct StoreSummary {
    pub(super) gate: StoreGate,
    pub(super) waiting: Sum,
    pub(super) closed: Option<Closed>,
}

/// What waits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    pub(super) pending: i64,
    pub(super) overdue: i64,
    pub(super) oldest_at: Option<DateTime<Utc>>,
}

impl Sum {
    fn add(&mut self, waiting: &queries::Waiting) {
        self.pending += waiting.pending;
        self.overdue += waiting.overdue;
        let oldest = self
            .oldest_at
            .map_or(waiting.oldest_at, |at| at.min(waiting.oldest_at));
        self.oldest_at = Some(oldest);
    }
}

/// What waits of an organization.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    pub(super) all: Sum,
    /// Rows by priority, the most urgent first.
    pub(super) by_priority: Vec<(i32, i64)>,
    /// Store by store.
    pub(super) stores: Vec<StoreSummary>,
}

/// What waits of an organization.
pub(super) async fn summary(app: &App, organization_id: &str) -> Result<Summary, Error> {
    let now = app.clock.now();
    // It counts everything that waits.
    let mut tx = app.db.read_at_length().await?;
    let gates = gates_of(&mut tx, organization_id).await?;
    let waiting = queries::waiting(&mut tx, organization_id, overdue_before(app)).await?;
    tx.save().await?;
    let mut all = Sum::default();
    let mut by_priority: BTreeMap<Reverse<i32>, i64> = BTreeMap::new();
    let mut by_store: BTreeMap<StoreId, Sum> = BTreeMap::new();
    for waiting in &waiting {
        all.add(waiting);
        by_store.entry(waiting.store_id).or_default().add(waiting);
        *by_priority.entry(Reverse(waiting.priority)).or_default() += waiting.pending;
    }
    let of_store = |gate: StoreGate| StoreSummary {
        waiting: by_store.get(&gate.store_id).copied().unwrap_or_default(),
        closed: Closed::now(app, gate.marketplace, &gate.gate, now),
        gate,
    };
    Ok(Summary {
        all,
        by_priority: by_priority
            .into_iter()
            .map(|(Reverse(it), rows)| (it, rows))
            .collect(),
        stores: gates.into_iter().map(of_store).collect(),
    })
}

/// Puts products of a store into its queue because somebody says so; tells how many rows there
/// are for that, those of the sets that contain them among them.
pub(super) async fn enqueue_by_hand(
    app: &App,
    tx: &mut Tx,
    organization_id: &str,
    store_id: StoreId,
    products: &[ProductId],
    force: bool,
) -> Result<u64, Error> {
    require_store(tx, organization_id, store_id).await?;
    let now = app.clock.now();
    Ok(enqueue(tx, store_id, products, Reason::Manual, force, now).await?)
}
