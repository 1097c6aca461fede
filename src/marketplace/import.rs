//! What an import does, top to bottom.
//!
//! A receipt is imported exactly once, however many callers ask for it, in however many
//! processes: whoever inserts its row first has claimed it and makes the one marketplace call;
//! the others wait for the outcome and replay it. A claim ends by itself after [`CLAIM`], so a
//! process that dies between claim and outcome leaves a row that the next caller, or the next
//! [`SyncStore`](jobs::SyncStore) run, finishes. Outcomes are written in one transaction with
//! the store's count and status, never over a success, and only under the claim they were made with.
//!
//! One receipt and a batch of a thousand take the same way.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use tokio::time::{Instant, timeout};

use super::attempt::{Attempt, attempt};
use super::error::Error;
use super::model::{RowOutcome, Store, SyncLog, SyncLogId, SyncLogStatus, SyncToken};
use super::money::Money;
use super::queries::{orders, stores};
use super::status::sync_status;
use crate::App;

/// How long a claim lasts, or longer where marketplace calls may take long.
const CLAIM: Duration = Duration::from_secs(30);
/// No claim lasts longer, however patient the settings are.
const LONGEST_CLAIM: Duration = Duration::from_hours(24);
/// How often a waiting caller looks whether another process has finished.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// What a recorded failure without a reason is called.
const UNKNOWN_FAILURE: &str = "Import failed";

/// What an import came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Imported {
    /// The order is imported.
    Success {
        /// The marketplace's order.
        order_id: String,
        /// What it is worth.
        amount: Money,
        /// When the marketplace says it was imported.
        imported_at: DateTime<Utc>,
    },
    /// It was recorded as not imported, for this reason.
    Failure(String),
    /// Somebody else is still at it.
    InProgress,
}

/// Imports receipts for the store that `token` opens; answers in the order asked.
///
/// The work goes on when the caller goes away.
pub(crate) async fn import_receipts(
    app: &Arc<App>,
    token: SyncToken,
    receipts: Vec<String>,
) -> Result<Vec<Imported>, Error> {
    let (store, mut known) = look_up(app, token, &receipts).await?;
    if receipts.iter().any(|receipt| needs_work(known.get(receipt))) {
        let work = Import { app: app.clone(), store };
        let mut seen = HashSet::new();
        let missing: Vec<String> = receipts
            .iter()
            .filter(|receipt| needs_work(known.get(*receipt)) && seen.insert(*receipt))
            .cloned()
            .collect();
        let done = app.tasks.spawn(async move { work.run(missing).await }).await;
        known.extend(done.map_err(|_| Error::Interrupted)??);
    }
    Ok(receipts.iter().map(|receipt| known.get(receipt).map_or(Imported::InProgress, replay)).collect())
}

fn needs_work(row: Option<&SyncLog>) -> bool {
    row.is_none_or(|row| row.status == SyncLogStatus::Pending)
}

/// The store, and what is known of the receipts: all that a replay needs.
async fn look_up(
    app: &App,
    token: SyncToken,
    receipts: &[String],
) -> Result<(Store, HashMap<String, SyncLog>), Error> {
    let mut tx = app.db.read().await?;
    let store = stores::store_by_token(&mut tx, token).await?.ok_or(Error::StoreNotFound)?;
    let receipts: Vec<&str> = receipts.iter().map(String::as_str).collect();
    let rows = orders::receipts(&mut tx, store.id, &receipts).await?;
    tx.save().await?;
    Ok((store, by_receipt(rows)))
}

fn by_receipt(rows: Vec<SyncLog>) -> HashMap<String, SyncLog> {
    rows.into_iter().map(|row| (row.receipt.clone(), row)).collect()
}

/// The answer that a stored row gives, now and every time it is asked again.
fn replay(row: &SyncLog) -> Imported {
    match row {
        SyncLog { status: SyncLogStatus::Pending, .. } => Imported::InProgress,
        SyncLog {
            status: SyncLogStatus::Success,
            order_id: Some(order_id),
            amount_minor: Some(minor),
            currency: Some(currency),
            imported_at: Some(imported_at),
            ..
        } => Imported::Success {
            order_id: order_id.clone(),
            amount: Money::new(*minor, currency.clone()),
            imported_at: *imported_at,
        },
        row => Imported::Failure(
            row.error_details.clone().unwrap_or_else(|| UNKNOWN_FAILURE.to_owned()),
        ),
    }
}

/// Receipts of one store that are not recorded yet.
struct Import {
    app: Arc<App>,
    store: Store,
}

/// A receipt whose marketplace call is ours to make.
struct Claimed {
    id: SyncLogId,
    receipt: String,
    until: DateTime<Utc>,
}

impl Import {
    /// Claims, calls and records, and waits for what others have claimed.
    async fn run(self, mut new: Vec<String>) -> Result<HashMap<String, SyncLog>, Error> {
        let deadline = Instant::now() + self.app.import_wait;
        let mut known = HashMap::new();
        // What others have claimed.
        let mut taken: HashMap<String, SyncLog> = HashMap::new();
        loop {
            let mut asked = self.left_behind(&taken);
            let room = self.at_once().saturating_sub(asked.len()).min(new.len());
            asked.extend(new.drain(..room));
            if !asked.is_empty() {
                let claimed = self.claim(asked.clone()).await?;
                self.import(claimed).await?;
            }
            let asked = taken.into_keys().chain(asked).collect();
            taken = by_receipt(self.rows(&asked).await?);
            known.extend(taken.extract_if(|_, row| row.status != SyncLogStatus::Pending));
            if !new.is_empty() {
                continue;
            }
            let Some(row) = taken.values().next() else {
                return Ok(known);
            };
            if Instant::now() >= deadline {
                return Ok(known);
            }
            self.app.imports.wait(row.id, LOOK_AGAIN).await;
        }
    }

    /// Receipts whose claim has ended without an outcome, as many as we can take.
    fn left_behind(&self, taken: &HashMap<String, SyncLog>) -> Vec<String> {
        let now = self.app.clock.now();
        taken
            .values()
            .filter(|row| row.next_retry_at.is_none_or(|until| until <= now))
            .map(|row| row.receipt.clone())
            .take(self.at_once())
            .collect()
    }

    /// How long our claims last: at least two marketplace calls.
    fn claim_time(&self) -> Duration {
        let two_calls = self.app.settings.marketplace_timeout.saturating_mul(2);
        CLAIM.max(two_calls).min(LONGEST_CLAIM)
    }

    /// How many receipts are claimed at a time: as many as can be asked for while a claim lasts,
    /// however slow the marketplace is, with a third of it to spare for writing.
    fn at_once(&self) -> usize {
        let settings = &self.app.settings;
        let call = settings.marketplace_timeout.max(Duration::from_millis(100));
        let rounds = (self.claim_time() * 2 / 3).as_millis() / call.as_millis();
        let rounds = usize::try_from(rounds).unwrap_or(usize::MAX).max(1);
        settings.sync.row_concurrency.saturating_mul(rounds)
    }

    async fn rows(&self, receipts: &HashSet<String>) -> Result<Vec<SyncLog>, Error> {
        let receipts: Vec<&str> = receipts.iter().map(String::as_str).collect();
        let mut tx = self.app.db.read().await?;
        let rows = orders::receipts(&mut tx, self.store.id, &receipts).await?;
        tx.save().await?;
        Ok(rows)
    }

    /// Claims what is new or was left behind, unless somebody else was faster.
    async fn claim(&self, receipts: Vec<String>) -> Result<Vec<Claimed>, Error> {
        let now = self.app.clock.now();
        let until = now + self.claim_time();
        let claims: Vec<orders::Claim> = receipts
            .into_iter()
            .map(|receipt| orders::Claim { id: SyncLogId(self.app.ids.new_id(now)), receipt })
            .collect();
        let mut tx = self.app.db.write().await?;
        let won = orders::claim_receipts(&mut tx, self.store.id, &claims, until, now).await?;
        let (mut claimed, lost): (Vec<_>, Vec<_>) =
            claims.into_iter().partition(|claim| won.contains(&claim.id));
        if !lost.is_empty() {
            let lost: Vec<&str> = lost.iter().map(|claim| claim.receipt.as_str()).collect();
            let mut lost = orders::receipts(&mut tx, self.store.id, &lost).await?;
            // In one order, so that two batches that share some cannot wait for each other.
            lost.sort_unstable_by_key(|row| row.id);
            for row in lost {
                if row.status == SyncLogStatus::Pending
                    && orders::take_over_claim(&mut tx, row.id, until, now).await?
                {
                    claimed.push(orders::Claim { id: row.id, receipt: row.receipt });
                }
            }
        }
        tx.save().await?;
        let claimed = claimed
            .into_iter()
            .map(|orders::Claim { id, receipt }| Claimed { id, receipt, until });
        Ok(claimed.collect())
    }

    /// Asks the marketplace about each claimed receipt and records all outcomes together.
    async fn import(&self, claimed: Vec<Claimed>) -> Result<(), Error> {
        if claimed.is_empty() {
            return Ok(());
        }
        let ids: Vec<SyncLogId> = claimed.iter().map(|claim| claim.id).collect();
        let attempts: Vec<(Claimed, Attempt)> = stream::iter(claimed)
            .map(|claim| async move {
                let attempt = attempt(&self.app, &self.store, &claim.receipt).await;
                (claim, attempt)
            })
            .buffer_unordered(self.app.settings.sync.row_concurrency)
            .collect()
            .await;
        let recorded = self.record(&attempts).await;
        for id in ids {
            self.app.imports.finished(id);
        }
        recorded
    }

    async fn record(&self, attempts: &[(Claimed, Attempt)]) -> Result<(), Error> {
        let now = self.app.clock.now();
        let outcomes: Vec<RowOutcome> = attempts
            .iter()
            .map(|(claim, attempt)| self.outcome(claim, attempt, now))
            .collect();
        let pause = attempts.iter().filter_map(|(_, attempt)| attempt.pause_until(now)).max();
        let mut tx = self.app.db.write().await?;
        if !stores::lock_store(&mut tx, self.store.id).await? {
            return Err(Error::StoreNotFound);
        }
        let written = orders::record_outcomes(&mut tx, &outcomes, now).await?;
        if written.is_empty() {
            return Ok(());
        }
        let successes = outcomes
            .iter()
            .filter(|row| row.status == SyncLogStatus::Success && written.contains(&row.id))
            .count();
        let status = sync_status(orders::newest_outcomes(&mut tx, self.store.id).await?);
        stores::record_attempt(&mut tx, self.store.id, count(successes), status, now).await?;
        if let Some(until) = pause {
            stores::pause_store(&mut tx, self.store.id, until).await?;
        }
        tx.save().await?;
        Ok(())
    }

    /// A first attempt: failures are due again at once, for the next run of the store.
    fn outcome(&self, claim: &Claimed, attempt: &Attempt, now: DateTime<Utc>) -> RowOutcome {
        let row = RowOutcome { claimed_until: Some(claim.until), ..attempt.row(claim.id) };
        match attempt {
            Attempt::RateLimited { .. } => RowOutcome {
                attempt: 1,
                next_retry_at: Some(attempt.retry_at(&self.app.settings.sync.backoff, 1, now)),
                ..row
            },
            Attempt::Success { .. } | Attempt::Failed { .. } => row,
        }
    }
}

/// A count as the database has it.
pub(super) fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// Callers that wait for an import of this process to finish.
#[derive(Debug, Default)]
pub struct Imports {
    waiting: std::sync::Mutex<HashMap<SyncLogId, Arc<tokio::sync::Notify>>>,
}

impl Imports {
    /// Waits until the import of this row finishes here, but not longer than `at_most`: it may
    /// be another process's.
    async fn wait(&self, id: SyncLogId, at_most: Duration) {
        let notify = self.lock().entry(id).or_default().clone();
        // Its finish may have come before we were listening; then `at_most` is all it costs.
        let _ = timeout(at_most, notify.notified()).await;
        let mut waiting = self.lock();
        // One count is the map's, one is ours.
        if waiting.get(&id).is_some_and(|notify| Arc::strong_count(notify) <= 2) {
            waiting.remove(&id);
        }
    }

    fn finished(&self, id: SyncLogId) {
        if let Some(notify) = self.lock().remove(&id) {
            notify.notify_waiters();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SyncLogId, Arc<tokio::sync::Notify>>> {
        self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
