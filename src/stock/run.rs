//! One run of one store, step by step.
//!
//! A step looks whether the marketplace may be told something, takes the rows that are due, reads
//! the newest quantities, decides what becomes of each row, and sends a request or writes down what
//! it would send. A gate that opens soon is waited for; one that does not ends the run, and is
//! stored, so that everybody knows why and until when.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use jobs::StoreId;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::compose::{Plan, compose};
use super::connector::Adapter;
use super::error::Error;
use super::events::{QUIET, announce, tell_all};
use super::failures::half_of_suspects;
use super::gates::{Closed, Gate, Opening, Rules, UNKNOWN_COUNTS_FOR, check};
use super::model::{GateReason, ProductId};
use super::offline::rehearse;
use super::queries::claim::{DueRow, due_rows, due_rows_of, end_rows, has_due_rows};
use super::queries::gates::{Limits, fence, limits};
use super::queries::pairs::block_unnamed;
use super::queries::quantities::{Pair, pairs};
use super::rejections::MISSING_IDENTIFIER;
use super::send::{self, Begun, waiting_text};
use super::settings::StockStore;
use super::settle::{renew, settle};
use crate::App;
use crate::db;
use crate::lease::Lease;
use crate::metrics::{Phase, StoreLabel};
use crate::webhooks::EventType;

/// A run ends after so many requests; then the store has to wait for its turn again.
const MAX_REQUESTS: u32 = 50;
/// A gate that opens so soon is waited for; one that stays closed for longer ends the run.
const PATIENCE: Duration = Duration::from_secs(12);
/// How long a store is left alone whose marketplace cannot be told anything by this process.
pub(super) const UNABLE: Duration = Duration::from_mins(1);
/// What a run came to.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) requests: u32,
    pub(super) items: usize,
    pub(super) closed: Option<Closed>,
    /// It stopped where it had to, before the last row that is due.
    pub(super) has_backlog: bool,
}

/// One run of one store.
pub(super) struct Run<'a> {
    pub(super) app: &'a App,
    pub(super) lease: &'a Lease,
    pub(super) stop: &'a CancellationToken,
    pub(super) store: StockStore,
    pub(super) adapter: &'a dyn Adapter,
    pub(super) rules: Rules,
    /// How the marketplace stands, as the last transaction of the run left it.
    pub(super) limits: Limits,
    /// The marketplace took something in this run.
    pub(super) has_sent: bool,
    pub(super) started: Instant,
    pub(super) ended: Ended,
}

/// Whether the marketplace is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Send,
    Rehearse,
}

/// What a step of a run came to.
enum Step {
    /// Something was done, so there may be more.
    Done,
    /// There is nothing to do any more.
    Nothing,
    /// Nothing can be done for now.
    Closed(Closed),
}

impl Run<'_> {
    /// The store, for metrics.
    pub(super) fn label(&self) -> StoreLabel {
        StoreLabel {
            store_id: self.store.id,
            marketplace: self.store.shop.marketplace,
        }
    }

    /// Counts that a gate was found closed.
    pub(super) fn hit(&self, gate: GateReason) {
        self.app
            .metrics
            .stock
            .rate_limit_hit(self.label(), gate.as_str());
    }

    /// Those of these events that were not told lately, as far as the run knows.
    pub(super) fn news(
        &self,
        events: &[(EventType, Value)],
        now: DateTime<Utc>,
    ) -> Vec<(EventType, Value)> {
        let was_told = |event: EventType| {
            let told = self.limits.told_events.0.get(event.as_str());
            told.is_some_and(|told| *told > now - QUIET)
        };
        events
            .iter()
            .filter(|(event, _)| !was_told(*event))
            .cloned()
            .collect()
    }

    pub(super) async fn until_nothing_is_due(&mut self, way: Way) -> Result<(), Error> {
        while !self.is_over() {
            if self.lease.lost().is_cancelled() {
                return Err(Error::LeaseLost);
            }
            let step = match way {
                Way::Send => self.send_batch().await?,
                Way::Rehearse => self.rehearse_batch().await?,
            };
            match step {
                Step::Done => {}
                Step::Nothing => return Ok(()),
                // A closed gate is nothing to whom it keeps from nothing.
                Step::Closed(closed) => {
                    if !self.has_due_rows().await? {
                        return Ok(());
                    }
                    self.hit(closed.reason);
                    if !self.wait_until(closed).await? {
                        self.ended.closed = Some(closed);
                        return Ok(());
                    }
                }
            }
        }
        self.ended.has_backlog = self.has_due_rows().await?;
        Ok(())
    }

    async fn has_due_rows(&self) -> Result<bool, Error> {
        let mut tx = self.app.db.read().await?;
        let now = self.app.clock.now();
        let has_due_rows = has_due_rows(&mut tx, self.store.id, 0, now).await?;
        tx.save().await?;
        Ok(has_due_rows)
    }

    fn is_over(&self) -> bool {
        self.ended.requests >= MAX_REQUESTS
            || self.started.elapsed() >= self.app.settings.stock.run_budget
            || self.stop.is_cancelled()
    }

    async fn send_batch(&mut self) -> Result<Step, Error> {
        let now = self.app.clock.now();
        let opening = match check(&self.limits, &self.rules, self.has_sent, now) {
            Gate::Open(opening) => opening,
            Gate::Closed(closed) => return Ok(Step::Closed(closed)),
        };
        let Some(plan) = self.plan(opening).await? else {
            return Ok(Step::Nothing);
        };
        if plan.send.is_empty() {
            self.end(&plan).await?;
            return Ok(Step::Done);
        }
        match send::begin(self, plan, opening.max_items).await? {
            Begun::Push(push) => {
                let called = send::call(self, &push).await;
                self.ended.requests += 1;
                self.ended.items += push.items.len();
                let closed = settle(self, &push, called).await?;
                Ok(closed.map_or(Step::Done, Step::Closed))
            }
            Begun::Closed(closed) => Ok(Step::Closed(closed)),
            Begun::Waits(mut plan, until) => {
                plan.postpone(until, &waiting_text(until));
                self.end(&plan).await?;
                Ok(Step::Done)
            }
            Begun::Ended => Ok(Step::Nothing),
        }
    }

    async fn rehearse_batch(&mut self) -> Result<Step, Error> {
        let opening = Opening {
            min_priority: 0,
            max_items: self.rules.batch_size,
        };
        let Some(plan) = self.plan(opening).await? else {
            return Ok(Step::Nothing);
        };
        self.ended.requests += 1;
        self.ended.items += plan.send.len();
        let is_in_mode = rehearse(self, &plan).await?;
        Ok(if is_in_mode {
            Step::Done
        } else {
            Step::Nothing
        })
    }

    /// Takes the rows that are due, reads the newest quantities, and decides; none: nothing is due.
    ///
    /// Rows and quantities are read at one moment, so that a quantity is never older than the row:
    /// whatever changes it afterwards moves the version of the row.
    async fn plan(&mut self, opening: Opening) -> Result<Option<Plan>, Error> {
        let started = Instant::now();
        let now = self.app.clock.now();
        let mut max_items = opening.max_items;
        let mut tx = self.app.db.read().await?;
        let rows = if let Some(suspects) = self.suspects(&mut tx, now).await? {
            max_items = max_items.min(half_of_suspects(suspects.len()));
            suspects
        } else {
            let limit = i64::try_from(opening.max_items).unwrap_or(i64::MAX);
            due_rows(&mut tx, self.store.id, opening.min_priority, now, limit).await?
        };
        let claimed = Instant::now();
        let products: Vec<ProductId> = rows.iter().map(|row| row.product_id).collect();
        let found = pairs(&mut tx, self.store.id, &products).await?;
        tx.save().await?;
        let metrics = &self.app.metrics.stock;
        metrics.batch(self.label(), Phase::Claim, claimed - started);
        metrics.batch(self.label(), Phase::Compute, claimed.elapsed());
        let pairs: HashMap<ProductId, Pair> = found
            .into_iter()
            .map(|pair| (pair.product_id, pair))
            .collect();
        let names = |names: &_| self.adapter.names(names);
        let plan = compose(rows, pairs, names, &self.rules, max_items, now);
        Ok((!plan.is_empty()).then_some(plan))
    }

    /// The rows of which one is bad, if there are such and they are due.
    async fn suspects(
        &mut self,
        tx: &mut db::Tx,
        now: DateTime<Utc>,
    ) -> Result<Option<Vec<DueRow>>, Error> {
        let Some(suspects) = &self.limits.suspects else {
            return Ok(None);
        };
        let rows = due_rows_of(tx, &suspects.0, now).await?;
        if rows.is_empty() {
            // They were sent, or closed, or wait: there is nothing left to search.
            self.limits.suspects = None;
            return Ok(None);
        }
        Ok(Some(rows))
    }

    /// Closes and postpones the rows that were not sent.
    async fn end(&mut self, plan: &Plan) -> Result<(), Error> {
        if plan.ends.is_empty() {
            return Ok(());
        }
        let this = &*self;
        let limits = db::persist(move || async move {
            let now = this.app.clock.now();
            let mut tx = this.app.db.write().await?;
            block_all_unnamed(&mut tx, this.store.id, plan, now).await?;
            end_rows(&mut tx, &plan.ends_with(Vec::new()), now).await?;
            let limits = renew(this, &mut tx, &this.limits, now).await?;
            tx.save().await?;
            Ok::<_, Error>(limits)
        })
        .await?;
        self.limits = limits;
        Ok(())
    }

    /// Waits until a gate opens, if that is soon; tells whether it may be open. Else stores why the
    /// run ends.
    async fn wait_until(&mut self, closed: Closed) -> Result<bool, Error> {
        let app = self.app;
        let wait = (closed.until - app.clock.now())
            .to_std()
            .unwrap_or_default();
        let left = app
            .settings
            .stock
            .run_budget
            .saturating_sub(self.started.elapsed());
        let is_soon = wait <= PATIENCE.min(left);
        if is_soon && self.stop.run_until_cancelled(app.clock.pass(wait)).await == Some(true) {
            return self.look_again().await;
        }
        let is_stored = self.limits.backoff_until == Some(closed.until)
            || self.limits.window_opens_at == Some(closed.until);
        if !is_stored {
            self.limits = close(app, &self.store, self.lease, &self.limits, closed, &[]).await?;
        }
        Ok(false)
    }

    /// Reads how the marketplace stands by now.
    async fn look_again(&mut self) -> Result<bool, Error> {
        let now = self.app.clock.now();
        let mut tx = self.app.db.read().await?;
        let found = limits(&mut tx, self.store.id, now - UNKNOWN_COUNTS_FOR).await?;
        tx.save().await?;
        let Some(found) = found else {
            return Ok(false);
        };
        self.limits = found;
        Ok(true)
    }

    /// Nothing can be sent until somebody gives the store its credentials.
    pub(super) async fn lacks_credentials(&mut self) -> Result<(), Error> {
        let until = self.app.clock.now() + UNABLE;
        let closed = Closed {
            reason: GateReason::Auth,
            until,
        };
        self.hit(closed.reason);
        let data = json!({ "error": "the store has no credentials for its marketplace" });
        let events = self.news(
            &[(EventType::StockPushAuthFailed, data)],
            self.app.clock.now(),
        );
        close(
            self.app,
            &self.store,
            self.lease,
            &self.limits,
            closed,
            &events,
        )
        .await?;
        self.ended.closed = Some(closed);
        Ok(())
    }
}

/// Blocks the pairs that the marketplace has no name for.
pub(super) async fn block_all_unnamed(
    tx: &mut db::Tx,
    store_id: StoreId,
    plan: &Plan,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    if plan.unnamed.is_empty() {
        return Ok(());
    }
    let mut unnamed = plan.unnamed.clone();
    unnamed.sort_unstable_by_key(|unnamed| unnamed.product_id);
    let message = "the marketplace has no name for the product";
    block_unnamed(tx, store_id, &unnamed, MISSING_IDENTIFIER, message, now).await?;
    Ok(())
}

/// Stores why a marketplace is told nothing, and tells who wants to hear of it.
pub(super) async fn close(
    app: &App,
    store: &StockStore,
    lease: &Lease,
    limits: &Limits,
    closed: Closed,
    events: &[(EventType, Value)],
) -> Result<Limits, Error> {
    let learned = &Limits {
        backoff_until: Some(closed.until),
        backoff_reason: Some(closed.reason),
        ..limits.clone()
    };
    let (limits, recorded) = db::persist(move || async move {
        let now = app.clock.now();
        let until = now + app.settings.stock.lease;
        let since = now - UNKNOWN_COUNTS_FOR;
        let mut tx = app.db.write().await?;
        let limits = fence(&mut tx, store.id, lease.token(), until, learned, since, now)
            .await?
            .ok_or(Error::LeaseLost)?;
        let of = (store.organization_id.as_str(), store.id);
        let recorded = tell_all(app, &mut tx, of, events, now).await?;
        tx.save().await?;
        Ok::<_, Error>((limits, recorded))
    })
    .await?;
    announce(app, recorded).await;
    Ok(limits)
}
