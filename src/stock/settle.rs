//! Writes what an answer means for a push, its items, their pairs and their rows: in one
//! transaction, which only the run that holds the lease can write.
//!
//! The tables are written in the order in which everybody writes them: pairs, rows, pushes, items,
//! and last what is known of the marketplace, with the fence. Pairs and rows are written in the
//! order of products.
//!
//! A run that lost its lease can write nothing of this; what it leaves behind instead is in
//! [`abandon`](super::abandon).

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;
use tracing::info;

use super::abandon::lose;
use super::answer::{FIRST_LOOK, Items, RESULTS_FOR, Settlement, meaning};
use super::api_logs;
use super::connector::{Called, Exchange, SendOutcome};
use super::error::Error;
use super::events::{announce, tell_all};
use super::gates::{Closed, UNKNOWN_COUNTS_FOR};
use super::model::GateReason;
use super::queries::gates::{Limits, back_off_all, fence};
use super::queries::{claim, lost, pairs, pushes};
use super::run::{Run, block_all_unnamed};
use super::send::Push;
use crate::db::{self, Tx};
use crate::metrics::Phase;
use crate::webhooks::Recorded;

/// How long ago a first copy is looked for; longer than any marketplace remembers one.
const FIRST_COPY: TimeDelta = TimeDelta::hours(1);

/// Writes what came of a request; tells what closes the gate after it, if something does.
pub(super) async fn settle(
    run: &mut Run<'_>,
    push: &Push,
    called: Called<SendOutcome>,
) -> Result<Option<Closed>, Error> {
    let started = Instant::now();
    let now = run.app.clock.now();
    let status = called
        .exchanges
        .iter()
        .rev()
        .find_map(|exchange| exchange.status);
    let (settlement, aftermath) = meaning(run, push, &called.outcome, status, now);
    let (this, written) = (&*run, &settlement);
    let exchanges = &called.exchanges;
    let patience = run.app.settings.stock.lease;
    let wrote = db::persist_within(patience, move || write(this, push, written, exchanges)).await;
    let limits = match wrote {
        Ok((limits, recorded)) => {
            announce(run.app, recorded).await;
            limits
        }
        Err(Error::LeaseLost) => {
            lose(run, push.id, exchanges).await?;
            return Err(Error::LeaseLost);
        }
        Err(error) => return Err(error),
    };
    run.limits = limits;
    run.app
        .metrics
        .stock
        .batch(run.label(), Phase::Settle, started.elapsed());
    let Some(aftermath) = aftermath else {
        run.has_sent = true;
        return Ok(None);
    };
    if let Some(closed) = aftermath.closed.filter(|_| aftermath.is_for_address) {
        leave_all_in_peace(run, closed).await?;
    }
    Ok(aftermath.closed)
}

/// One fenced transaction.
async fn write(
    run: &Run<'_>,
    push: &Push,
    settlement: &Settlement,
    exchanges: &[Exchange],
) -> Result<(Limits, Vec<Recorded>), Error> {
    let (app, store_id) = (run.app, run.store.id);
    let now = app.clock.now();
    let mut tx = app.db.write().await?;
    if !settlement.pairs.is_empty() {
        pairs::end_pairs(&mut tx, store_id, push.id, &settlement.pairs, now).await?;
    }
    if !settlement.taken_back.is_empty() {
        pairs::take_back(&mut tx, store_id, push.id, &settlement.taken_back, now).await?;
    }
    if settlement.is_identical {
        find_first_copy(run, &mut tx, push, now).await?;
    }
    block_all_unnamed(&mut tx, store_id, &push.plan, now).await?;
    if !settlement.rows.is_empty() {
        claim::end_rows(&mut tx, &settlement.rows, now).await?;
    }
    if !settlement.again.is_empty() {
        claim::requeue(&mut tx, store_id, &settlement.again, now).await?;
    }
    if !pushes::end_push(&mut tx, push.id, &settlement.push, now).await? {
        // Somebody took this run for dead, and its push for lost.
        return Err(Error::LeaseLost);
    }
    match &settlement.items {
        Items::AsSent => {}
        Items::All(state) => pushes::end_all_items(&mut tx, push.id, *state).await?,
        Items::Each(items) => pushes::end_items(&mut tx, push.id, items).await?,
    }
    let provider = run.adapter.provider();
    api_logs::log(
        app,
        &mut tx,
        &run.store,
        provider,
        Some(push.id),
        exchanges,
        now,
    )
    .await?;
    let limits = renew(run, &mut tx, &settlement.limits, now).await?;
    let events = run.news(&settlement.events, now);
    let store = (run.store.organization_id.as_str(), store_id);
    let recorded = tell_all(app, &mut tx, store, &events, now).await?;
    tx.save().await?;
    Ok((limits, recorded))
}

/// Writes what a run learned, if it still holds the lease, and renews that: the fence.
pub(super) async fn renew(
    run: &Run<'_>,
    tx: &mut Tx,
    learned: &Limits,
    now: DateTime<Utc>,
) -> Result<Limits, Error> {
    let until = now + run.app.settings.stock.lease;
    let unknown_since = now - UNKNOWN_COUNTS_FOR;
    let token = run.lease.token();
    fence(tx, run.store.id, token, until, learned, unknown_since, now)
        .await?
        .ok_or(Error::LeaseLost)
}

/// A request was refused because the marketplace had the same before: if that was one of ours that
/// nobody knew the outcome of, it has arrived.
async fn find_first_copy(
    run: &Run<'_>,
    tx: &mut Tx,
    push: &Push,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let hash = &push.body.sha256;
    let since = now - FIRST_COPY;
    let first = lost::unknown_push(tx, run.store.id, hash, push.id, since).await?;
    let Some(first) = first else {
        return Ok(());
    };
    lost::close_carried_rows(tx, first, now).await?;
    let expires_at = now + run.rules.manners.results_for.unwrap_or(RESULTS_FOR);
    if lost::find_push(tx, first, now + FIRST_LOOK, expires_at, now).await? {
        info!(event = "stock_push_found", pushId = %first, storeId = %run.store.id, "push {first} has arrived: its marketplace refuses to take the same again");
    }
    Ok(())
}

/// The marketplace counts the requests of an address: no store of it calls for a while.
async fn leave_all_in_peace(run: &Run<'_>, closed: Closed) -> Result<(), Error> {
    let marketplace = run.store.shop.marketplace;
    db::persist(move || async move {
        let mut tx = run.app.db.write().await?;
        back_off_all(&mut tx, marketplace, closed.until, GateReason::RateLimited).await?;
        tx.save().await
    })
    .await?;
    Ok(())
}
