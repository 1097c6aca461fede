//! Stores whose marketplace is told nothing: those that are switched off, and those that only try
//! out what would be sent.
//!
//! Their rows are closed, so nothing of them waits. That loses nothing, because a store that
//! becomes live is resynced; and that no row of the resync is closed, is why the store cannot be
//! changed while rows are.

use jobs::StoreId;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::compose;
use super::compose::Plan;
use super::error::Error;
use super::gates::UNKNOWN_COUNTS_FOR;
use super::model::{ItemState, PushId, PushMode, PushState, QueueOutcome};
use super::queries::claim::{RowEnd, due_rows, end_rows, lock_mode};
use super::queries::gates::{Limits, fence};
use super::queries::pushes::{self, NewPush};
use super::run::{Run, block_all_unnamed};
use super::send::conditions;
use super::settle::renew;
use crate::App;
use crate::db;
use crate::lease::Lease;

/// Rows that are closed at once.
const AT_ONCE: i64 = 1000;
/// How often; the rest waits for the next run.
const STEPS: usize = 100;

/// Closes the rows of a store that is switched off; tells whether there are more.
pub(super) async fn skip_rows(
    app: &App,
    store_id: StoreId,
    lease: &Lease,
    limits: &Limits,
    stop: &CancellationToken,
) -> Result<bool, Error> {
    let mut skipped = 0;
    for _ in 0..STEPS {
        if stop.is_cancelled() {
            return Ok(true);
        }
        let closed = db::persist(move || skip_some(app, store_id, lease, limits)).await?;
        skipped += closed;
        if closed < AT_ONCE.unsigned_abs() {
            info!(event = "stock_rows_skipped", storeId = %store_id, skipped, "store {store_id} is not pushed to: closed {skipped} rows");
            return Ok(false);
        }
    }
    Ok(true)
}

async fn skip_some(
    app: &App,
    store_id: StoreId,
    lease: &Lease,
    limits: &Limits,
) -> Result<u64, Error> {
    let now = app.clock.now();
    let mut tx = app.db.write().await?;
    let is_off = lock_mode(&mut tx, store_id)
        .await?
        .is_some_and(|mode| !mode.is_on || mode.push_mode == PushMode::Off);
    if !is_off {
        return Ok(0);
    }
    let rows = due_rows(&mut tx, store_id, 0, now, AT_ONCE).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let mut ends: Vec<RowEnd> = rows
        .iter()
        .map(|row| compose::end(row, Some(QueueOutcome::SkippedStoreDisabled)))
        .collect();
    ends.sort_unstable_by_key(|end| end.product_id);
    let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    end_rows(&mut tx, &ends, now).await?;
    let until = now + app.settings.stock.lease;
    fence(
        &mut tx,
        store_id,
        lease.token(),
        until,
        limits,
        now - UNKNOWN_COUNTS_FOR,
        now,
    )
    .await?
    .ok_or(Error::LeaseLost)?;
    tx.save().await?;
    Ok(count)
}

/// Writes down what would be sent, and closes the rows; tells whether the store still only tries
/// it out.
pub(super) async fn rehearse(run: &mut Run<'_>, plan: &Plan) -> Result<bool, Error> {
    let id = PushId(run.app.ids.new_id(run.app.clock.now()));
    let this = &*run;
    let limits = db::persist(move || try_rehearse(this, id, plan)).await?;
    let Some(limits) = limits else {
        return Ok(false);
    };
    run.limits = limits;
    run.app
        .metrics
        .stock
        .items(run.label(), "dry_run", plan.send.len());
    Ok(true)
}

async fn try_rehearse(run: &Run<'_>, id: PushId, plan: &Plan) -> Result<Option<Limits>, Error> {
    let (app, store_id) = (run.app, run.store.id);
    let now = app.clock.now();
    let mut tx = app.db.write().await?;
    let is_in_mode = lock_mode(&mut tx, store_id)
        .await?
        .is_some_and(|mode| mode.is_on && mode.push_mode == PushMode::DryRun);
    if !is_in_mode {
        return Ok(None);
    }
    block_all_unnamed(&mut tx, store_id, plan, now).await?;
    let rows = plan.send.iter().filter_map(|planned| planned.row.as_ref());
    let sent = rows.map(|row| RowEnd {
        push_id: Some(id),
        ..compose::end(row, Some(QueueOutcome::DryRun))
    });
    end_rows(&mut tx, &plan.ends_with(sent.collect()), now).await?;
    if !plan.send.is_empty() {
        let body = run
            .adapter
            .build(&run.store.shop, id, &compose::items(&plan.send));
        let push = NewPush {
            id,
            store_id,
            state: PushState::DryRun,
            body_sha256: &body.sha256,
            body: Some(&body.text),
            item_count: i32::try_from(plan.send.len()).unwrap_or(i32::MAX),
            sent_at: None,
        };
        let conditions = conditions(run, PushMode::DryRun, now);
        if !pushes::insert_push(&mut tx, &push, &conditions, now).await? {
            return Err(Error::LeaseLost);
        }
        let items = compose::new_items(&plan.send, ItemState::DryRun);
        pushes::insert_items(&mut tx, id, &items).await?;
    }
    let limits = renew(run, &mut tx, &run.limits, now).await?;
    tx.save().await?;
    Ok(Some(limits))
}
