//! What requests want of the database, done together for all who want it at the same moment: one
//! transaction for each step of an import, whatever its store, and one for looks at stores.
//!
//! Alone each of them would be a handful of round trips and a commit.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use jobs::StoreId;

use super::error::Error;
use super::import::count;
use super::model::{
    OpenStore, RowOutcome, Store, StoreLook, SyncLog, SyncLogId, SyncLogStatus, SyncToken,
};
use super::queries::orders::{Claim, Newest, Receipt};
use super::queries::stores::StoreOutcome;
use super::queries::{orders, stores};
use super::status::sync_status;
use crate::App;
use crate::batch::Batcher;

/// Reads at the same time: one in the database while another is prepared.
const READS: usize = 2;
/// Writes at the same time: one waits for its commit while another is prepared. More would make
/// smaller batches, and wait for each other's stores.
const WRITES: usize = 2;

/// Steps that many callers have at the same time.
#[derive(Debug)]
pub(crate) struct Together {
    look_ups: Batcher<LookUp, Option<(Store, Vec<SyncLog>)>>,
    looks: Batcher<SyncToken, Option<StoreLook>>,
    claims: Batcher<Claims, HashSet<SyncLogId>>,
    outcomes: Batcher<Outcomes, Option<HashSet<SyncLogId>>>,
}

impl Default for Together {
    fn default() -> Self {
        Self {
            look_ups: Batcher::of_rows(READS, |it| it.receipts.len()),
            looks: Batcher::new(READS),
            claims: Batcher::of_rows(WRITES, |it| it.0.len()),
            outcomes: Batcher::of_rows(WRITES, |it| it.rows.len()),
        }
    }
}

struct LookUp {
    token: SyncToken,
    receipts: Vec<String>,
}

struct Claims(Vec<Claim>);

/// What the marketplace said of receipts of a store.
pub(super) struct Outcomes {
    pub(super) store_id: StoreId,
    pub(super) rows: Vec<RowOutcome>,
    /// Until when the marketplace wants to be left in peace.
    pub(super) pause_until: Option<DateTime<Utc>>,
}

/// The store that a token opens, and what is known of these receipts of it.
pub(super) async fn look_up(
    app: &Arc<App>,
    token: SyncToken,
    receipts: &[String],
) -> Result<Option<(Store, Vec<SyncLog>)>, Error> {
    let asked = LookUp {
        token,
        receipts: receipts.to_vec(),
    };
    let work = |app: Arc<App>, asked: Vec<_>| async move { look_up_all(&app, &asked).await };
    Ok(app.together.look_ups.run(app, asked, work).await?)
}

async fn look_up_all(
    app: &App,
    asked: &[Arc<LookUp>],
) -> sqlx::Result<Vec<Option<(Store, Vec<SyncLog>)>>> {
    let tokens: Vec<SyncToken> = asked.iter().map(|it| it.token).collect();
    let mut tx = app.db.read().await?;
    let open = stores::stores_by_tokens(&mut tx, &tokens).await?;
    let open: HashMap<SyncToken, Store> = open
        .into_iter()
        .map(|OpenStore { sync_token, store }| (sync_token, store))
        .collect();
    let receipts = asked.iter().flat_map(|it| {
        let store = open.get(&it.token);
        store.into_iter().flat_map(|store| {
            it.receipts.iter().map(|receipt| Receipt {
                store_id: store.id,
                receipt: receipt.clone(),
            })
        })
    });
    let receipts: Vec<Receipt> = receipts.collect();
    let known = if receipts.is_empty() {
        Vec::new()
    } else {
        orders::known_receipts(&mut tx, &receipts).await?
    };
    tx.save().await?;
    let known: HashMap<(StoreId, &str), &SyncLog> = known
        .iter()
        .map(|known| ((known.store_id, known.row.receipt.as_str()), &known.row))
        .collect();
    let answers = asked.iter().map(|it| {
        let store = open.get(&it.token)?;
        let rows = it.receipts.iter();
        let rows = rows.filter_map(|receipt| known.get(&(store.id, receipt.as_str())).copied());
        Some((store.clone(), rows.cloned().collect()))
    });
    Ok(answers.collect())
}

/// How the store that a token opens is doing.
pub(super) async fn look_at_store(
    app: &Arc<App>,
    token: SyncToken,
) -> Result<Option<StoreLook>, Error> {
    let work = |app: Arc<App>, tokens: Vec<Arc<SyncToken>>| async move {
        look_at_all(&app, &tokens).await
    };
    Ok(app.together.looks.run(app, token, work).await?)
}

async fn look_at_all(app: &App, asked: &[Arc<SyncToken>]) -> sqlx::Result<Vec<Option<StoreLook>>> {
    let tokens: Vec<SyncToken> = asked.iter().map(|token| **token).collect();
    let mut tx = app.db.read().await?;
    let looks = stores::look_at_stores(&mut tx, &tokens).await?;
    tx.save().await?;
    let looks: HashMap<SyncToken, StoreLook> = looks
        .into_iter()
        .map(|look| (look.sync_token, look))
        .collect();
    Ok(tokens
        .iter()
        .map(|token| looks.get(token).cloned())
        .collect())
}

/// Claims receipts; returns the ids that won.
pub(super) async fn claim(app: &Arc<App>, claims: Vec<Claim>) -> Result<HashSet<SyncLogId>, Error> {
    let work = |app: Arc<App>, asked: Vec<_>| async move { claim_all(&app, &asked).await };
    Ok(app.together.claims.run(app, Claims(claims), work).await?)
}

async fn claim_all(app: &App, asked: &[Arc<Claims>]) -> sqlx::Result<Vec<HashSet<SyncLogId>>> {
    let claims: Vec<Claim> = asked.iter().flat_map(|it| it.0.clone()).collect();
    let now = app.clock.now();
    let mut tx = app.db.write().await?;
    let won = orders::claim_receipts(&mut tx, &claims, now).await?;
    tx.save().await?;
    let own = |it: &Arc<Claims>| {
        let ids = it.0.iter().map(|claim| claim.id);
        ids.filter(|id| won.contains(id)).collect()
    };
    Ok(asked.iter().map(own).collect())
}

/// Writes what the marketplace said, with the count and the status of the store; returns the rows
/// that were written, or nothing if there is no such store any more.
pub(super) async fn record(
    app: &Arc<App>,
    outcomes: Outcomes,
) -> Result<Option<HashSet<SyncLogId>>, Error> {
    let work = |app: Arc<App>, asked: Vec<_>| async move { record_all(&app, &asked).await };
    Ok(app.together.outcomes.run(app, outcomes, work).await?)
}

async fn record_all(
    app: &App,
    asked: &[Arc<Outcomes>],
) -> sqlx::Result<Vec<Option<HashSet<SyncLogId>>>> {
    let now = app.clock.now();
    let ids: HashSet<StoreId> = asked.iter().map(|it| it.store_id).collect();
    let ids: Vec<StoreId> = ids.into_iter().collect();
    let mut tx = app.db.write().await?;
    let there = stores::lock_stores(&mut tx, &ids).await?;
    let is_there = |it: &&Arc<Outcomes>| there.contains(&it.store_id);
    let rows = asked.iter().filter(is_there).flat_map(|it| &it.rows);
    let rows: Vec<RowOutcome> = rows.cloned().collect();
    let written = orders::record_outcomes(&mut tx, &rows, now).await?;
    let mut successes: HashMap<StoreId, usize> = HashMap::new();
    for it in asked.iter().filter(is_there) {
        let rows = it.rows.iter().filter(|row| written.contains(&row.id));
        for row in rows {
            *successes.entry(it.store_id).or_default() +=
                usize::from(row.status == SyncLogStatus::Success);
        }
    }
    if !successes.is_empty() {
        let ids: Vec<StoreId> = successes.keys().copied().collect();
        let newest = orders::newest_outcomes(&mut tx, &ids).await?;
        let outcomes = newest
            .into_iter()
            .map(|Newest { store_id, statuses }| StoreOutcome {
                id: store_id,
                successes: successes.get(&store_id).copied().map_or(0, count),
                status: sync_status(statuses.0),
            });
        let outcomes: Vec<StoreOutcome> = outcomes.collect();
        stores::record_attempts(&mut tx, &outcomes, now).await?;
    }
    for it in asked.iter().filter(is_there) {
        let is_written = it.rows.iter().any(|row| written.contains(&row.id));
        if let Some(until) = it.pause_until.filter(|_| is_written) {
            stores::pause_store(&mut tx, it.store_id, until).await?;
        }
    }
    tx.save().await?;
    let own = |it: &Arc<Outcomes>| {
        let ids = it.rows.iter().map(|row| row.id);
        there
            .contains(&it.store_id)
            .then(|| ids.filter(|id| written.contains(id)).collect())
    };
    Ok(asked.iter().map(own).collect())
}
