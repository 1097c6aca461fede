//! What an import does, top to bottom.
//!
//! A receipt is imported exactly once, however many callers ask for it, in however many
//! processes: whoever inserts its row first has claimed it and makes the one marketplace call;
//! the others wait for the outcome and replay it. A claim ends by itself after [`CLAIM`], so a
//! process that dies between claim and outcome leaves a row that the next caller, or the next
//! [`SyncStore`](jobs::SyncStore) run, finishes. Outcomes are written in one transaction with
//! the store's count and status, never over a success, and only under the claim they were made with.
//!
//! What the marketplace has said is not to be lost: while the database is full or away, the import
//! tries to write it for as long as a claim lasts. Its client may be told to come again meanwhile
//! (503), and then finds the outcome.
//!
//! One receipt and a batch of a thousand take the same way.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use tokio::time::{Instant, timeout};
use tracing::error;

use super::attempt::{Attempt, attempt};
use super::error::Error;
use super::model::{RowOutcome, Store, SyncLog, SyncLogId, SyncLogStatus, SyncToken};
use super::money::Money;
use super::queries::orders::{Claim, KnownReceipt, Receipt};
use super::queries::{orders, stores};
use super::stores::access_token;
use super::together::{self, Outcomes};
use crate::App;
use crate::db;
use crate::http::admission;
use crate::http::rates::Credential;
use crate::traces;

/// How long a claim lasts at least.
const CLAIM: Duration = Duration::from_secs(30);
/// Marketplace calls that are made one after the other under one claim.
const CALLS_A_CLAIM: u32 = 2;
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
    let known = together::look_up(app, token, &receipts).await?;
    let (store, known) = known.ok_or(Error::StoreNotFound)?;
    app.organizations
        .learn(Credential::Token(token.0), &store.organization_id);
    let mut known = by_receipt(known);
    // In the order asked, which is then the order of their rows.
    let mut missing: Vec<String> = Vec::new();
    let mut seen = HashSet::new();
    for receipt in &receipts {
        if needs_work(known.get(receipt)) && seen.insert(receipt) {
            missing.push(receipt.clone());
        }
    }
    if !missing.is_empty() {
        let work = Import {
            app: app.clone(),
            store,
        };
        let work = traces::carried(admission::carried(async move { work.run(missing).await }));
        let work = app.tasks.spawn(work);
        known.extend(work.await.map_err(|_| Error::Interrupted)??);
    }
    Ok(receipts
        .iter()
        .map(|receipt| known.get(receipt).map_or(Imported::InProgress, replay))
        .collect())
}

fn needs_work(row: Option<&SyncLog>) -> bool {
    row.is_none_or(|row| row.status == SyncLogStatus::Pending)
}

fn by_receipt(rows: Vec<SyncLog>) -> HashMap<String, SyncLog> {
    rows.into_iter()
        .map(|row| (row.receipt.clone(), row))
        .collect()
}

/// The answer that a stored row gives, now and every time it is asked again.
fn replay(row: &SyncLog) -> Imported {
    match row {
        SyncLog {
            status: SyncLogStatus::Pending,
            ..
        } => Imported::InProgress,
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
            row.error_details
                .clone()
                .unwrap_or_else(|| UNKNOWN_FAILURE.to_owned()),
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
    async fn run(self, mut missing: Vec<String>) -> Result<HashMap<String, SyncLog>, Error> {
        let deadline = Instant::now() + self.app.import_wait;
        let mut known = HashMap::new();
        // What others have claimed.
        let mut taken: HashMap<String, SyncLog> = HashMap::new();
        loop {
            let now = self.app.clock.now();
            let is_free = |receipt: &&String| {
                let row = taken.get(*receipt);
                row.is_none_or(|row| row.next_retry_at.is_none_or(|until| until <= now))
            };
            // A process that shuts down claims nothing more; its callers may ask again.
            let most = if self.app.stop.is_cancelled() {
                0
            } else {
                self.receipts_a_claim()
            };
            let free: Vec<String> = missing.iter().filter(is_free).take(most).cloned().collect();
            let is_claiming = !free.is_empty();
            let mut looked_at: Vec<String> = if is_claiming {
                let claimed = self.claim(&free).await?;
                taken.extend(by_receipt(self.import(claimed).await?));
                free
            } else {
                taken.keys().cloned().collect()
            };
            // What was written here is known.
            looked_at.retain(|receipt| needs_work(taken.get(receipt)));
            if !looked_at.is_empty() {
                taken.extend(by_receipt(self.rows(&looked_at).await?));
            }
            for (receipt, row) in taken.extract_if(|_, row| row.status != SyncLogStatus::Pending) {
                missing.retain(|other| *other != receipt);
                known.insert(receipt, row);
            }
            if missing.is_empty() {
                return Ok(known);
            }
            if is_claiming {
                // There may be more that is free.
                continue;
            }
            let Some(row) = taken.values().next().filter(|_| Instant::now() < deadline) else {
                return Ok(known);
            };
            self.app.imports.wait(row.id, LOOK_AGAIN).await;
        }
    }

    /// So many that their calls are over well before the claim is.
    fn receipts_a_claim(&self) -> usize {
        self.app.settings.sync.row_concurrency * CALLS_A_CLAIM as usize
    }

    fn claim_time(&self) -> Duration {
        CLAIM.max(self.app.settings.marketplace_timeout * (CALLS_A_CLAIM + 1))
    }

    async fn rows(&self, receipts: &[String]) -> Result<Vec<SyncLog>, Error> {
        let receipts: Vec<Receipt> = receipts.iter().map(|it| self.receipt(it)).collect();
        let mut tx = self.app.db.read().await?;
        let rows = orders::known_receipts(&mut tx, &receipts).await?;
        tx.save().await?;
        Ok(rows.into_iter().map(|known| known.row).collect())
    }

    fn receipt(&self, receipt: &str) -> Receipt {
        Receipt {
            store_id: self.store.id,
            receipt: receipt.to_owned(),
        }
    }

    /// Claims what is new or was left behind, unless somebody else was faster.
    async fn claim(&self, receipts: &[String]) -> Result<Vec<Claimed>, Error> {
        let now = self.app.clock.now();
        let until = now + self.claim_time();
        let claims: Vec<Claim> = receipts
            .iter()
            .map(|receipt| Claim {
                id: SyncLogId(self.app.ids.new_id(now)),
                receipt: self.receipt(receipt),
                until: Some(until),
            })
            .collect();
        let won = together::claim(&self.app, claims.clone()).await?;
        let (mut claimed, lost): (Vec<_>, Vec<_>) = claims
            .into_iter()
            .map(|claim| (claim.id, claim.receipt))
            .partition(|(id, _)| won.contains(id));
        if !lost.is_empty() {
            let lost: Vec<Receipt> = lost.into_iter().map(|(_, receipt)| receipt).collect();
            claimed.extend(self.take_over(&lost, until, now).await?);
        }
        let claimed = claimed.into_iter().map(|(id, receipt)| Claimed {
            id,
            receipt: receipt.receipt,
            until,
        });
        Ok(claimed.collect())
    }

    /// Takes over claims that have ended.
    async fn take_over(
        &self,
        lost: &[Receipt],
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Vec<(SyncLogId, Receipt)>, Error> {
        let mut taken = Vec::new();
        let mut tx = self.app.db.write().await?;
        // Whoever locks several rows of a store has the store first.
        stores::lock_store(&mut tx, self.store.id).await?;
        for KnownReceipt { row, .. } in orders::known_receipts(&mut tx, lost).await? {
            if row.status == SyncLogStatus::Pending
                && orders::take_over_claim(&mut tx, row.id, until, now).await?
            {
                taken.push((row.id, self.receipt(&row.receipt)));
            }
        }
        tx.save().await?;
        Ok(taken)
    }

    /// Asks the marketplace about each claimed receipt and records all outcomes together; returns
    /// what was written.
    async fn import(&self, claimed: Vec<Claimed>) -> Result<Vec<SyncLog>, Error> {
        if claimed.is_empty() {
            return Ok(Vec::new());
        }
        let until = claimed.iter().map(|claim| claim.until).min();
        let ids: Vec<SyncLogId> = claimed.iter().map(|claim| claim.id).collect();
        let access_token = access_token(&self.app, &self.store)
            .inspect_err(|error| {
                error!(event = "access_token_unreadable", storeId = %self.store.id, %error, "failed to ask the marketplace: {error}");
            })
            .ok();
        let attempts: Vec<(Claimed, Attempt)> = stream::iter(claimed)
            .map(|claim| {
                let access_token = access_token.as_ref();
                async move {
                    let receipt = &claim.receipt;
                    let attempt = attempt(&self.app, &self.store, access_token, receipt).await;
                    (claim, attempt)
                }
            })
            .buffer_unordered(self.app.settings.sync.row_concurrency)
            .collect()
            .await;
        let this = (self, attempts.as_slice());
        // For as long as the claim lasts: without it the answers are lost, and everybody has to
        // wait for its end. Tried at least once: written late they do no harm, unless somebody
        // else has claimed since.
        let left = until.map(|until| until - self.app.clock.now());
        let patience = left.and_then(|left| left.to_std().ok()).unwrap_or_default();
        let recorded = db::persist_within(patience, move || this.0.record(this.1)).await;
        for id in ids {
            self.app.imports.finished(id);
        }
        recorded
    }

    async fn record(&self, attempts: &[(Claimed, Attempt)]) -> Result<Vec<SyncLog>, Error> {
        let now = self.app.clock.now();
        let outcomes: Vec<RowOutcome> = attempts
            .iter()
            .map(|(claim, attempt)| self.outcome(claim, attempt, now))
            .collect();
        let pause_until = attempts
            .iter()
            .filter_map(|(_, attempt)| attempt.pause_until(now))
            .max();
        let written = Outcomes {
            store_id: self.store.id,
            rows: outcomes.clone(),
            pause_until,
        };
        let written = together::record(&self.app, written).await?;
        let written = written.ok_or(Error::StoreNotFound)?;
        let receipts = attempts.iter().map(|(claim, _)| claim.receipt.clone());
        Ok(outcomes
            .into_iter()
            .zip(receipts)
            .filter(|(row, _)| written.contains(&row.id))
            .map(|(row, receipt)| row.into_log(receipt))
            .collect())
    }

    /// A first attempt: failures are due again at once, for the next run of the store.
    fn outcome(&self, claim: &Claimed, attempt: &Attempt, now: DateTime<Utc>) -> RowOutcome {
        let row = RowOutcome {
            claimed_until: Some(claim.until),
            ..attempt.row(claim.id)
        };
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
        if waiting
            .get(&id)
            .is_some_and(|notify| Arc::strong_count(notify) <= 2)
        {
            waiting.remove(&id);
        }
    }

    fn finished(&self, id: SyncLogId) {
        if let Some(notify) = self.lock().remove(&id) {
            notify.notify_waiters();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SyncLogId, Arc<tokio::sync::Notify>>> {
        self.waiting
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
