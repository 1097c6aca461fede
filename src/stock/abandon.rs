//! Pushes whose run died or lost its lease.
//!
//! Such a run may have sent a quantity that is older than what another run sends meanwhile. So
//! what the marketplace shows of its pairs is not known any more, and they are enqueued: the
//! newest quantity is the last to be told, and after a while the marketplace is asked what it
//! shows.

use chrono::{DateTime, TimeDelta, Utc};
use jobs::{PushId, StoreId};
use tracing::warn;

use super::api_logs;
use super::connector::Exchange;
use super::error::Error;
use super::model::{ItemState, QueueId, Reason};
use super::queries::claim::{self, Requeued};
use super::queries::{lost, pairs, pushes};
use super::run::Run;
use super::settle::renew;
use crate::App;
use crate::db::{self, Tx};

/// When the marketplace is asked what it shows of a push that nobody knows the outcome of; what it
/// works on is done by then.
pub(super) const READ_BACK_AFTER: TimeDelta = TimeDelta::minutes(1);
/// Pushes that are looked for at once; a run leaves one behind at most.
const AT_ONCE: i64 = 10;

/// Leaves a push of unknown outcome behind, and has its pairs told again. Needs no lease.
pub(super) async fn lose(
    run: &Run<'_>,
    push_id: PushId,
    exchanges: &[Exchange],
) -> Result<(), Error> {
    let patience = run.app.settings.stock.lease;
    db::persist_within(patience, move || async move {
        let now = run.app.clock.now();
        let mut tx = run.app.db.write().await?;
        let error = "the run lost its lease before the answer came";
        abandon(run.app, &mut tx, run.store.id, push_id, error, now).await?;
        let provider = run.adapter.provider();
        api_logs::log(
            run.app,
            &mut tx,
            &run.store,
            provider,
            Some(push_id),
            exchanges,
            now,
        )
        .await?;
        tx.save().await?;
        Ok(())
    })
    .await
}

/// Notes that nobody knows the outcome of a push, and enqueues its pairs.
pub(super) async fn abandon(
    app: &App,
    tx: &mut Tx,
    store_id: StoreId,
    push_id: PushId,
    error: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let products = lost::products_of(tx, push_id).await?;
    pairs::doubt(tx, store_id, push_id, &products, now).await?;
    let again: Vec<Requeued> = products
        .into_iter()
        .map(|product_id| Requeued {
            id: QueueId(app.ids.new_id(now)),
            product_id,
            reason: Reason::Resync,
            priority: Reason::Resync.priority(),
            force: true,
            next_attempt_at: now,
        })
        .collect();
    claim::requeue(tx, store_id, &again, now).await?;
    if lost::lose_push(tx, push_id, error, now + READ_BACK_AFTER, now).await? {
        pushes::end_all_items(tx, push_id, ItemState::Unknown).await?;
        warn!(event = "stock_push_lost", pushId = %push_id, storeId = %store_id, "nobody knows what became of push {push_id}: {error}");
    }
    Ok(())
}

/// Abandons what an earlier run of the store left behind: nobody but us sends for it now.
pub(super) async fn abandon_earlier(run: &mut Run<'_>) -> Result<(), Error> {
    let this = &*run;
    let limits = db::persist(move || async move {
        let (app, store_id) = (this.app, this.store.id);
        let now = app.clock.now();
        let mut tx = app.db.write().await?;
        for push_id in lost::abandoned_pushes(&mut tx, store_id, AT_ONCE).await? {
            let error = "the run died before the answer came";
            abandon(app, &mut tx, store_id, push_id, error, now).await?;
        }
        let limits = renew(this, &mut tx, &this.limits, now).await?;
        tx.save().await?;
        Ok::<_, Error>(limits)
    })
    .await?;
    run.limits = limits;
    Ok(())
}
