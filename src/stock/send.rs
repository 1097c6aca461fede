//! One request of a run: written before it is sent, sent once, and never the same twice in a while.
//!
//! Everything that has to be so for it to be sent is asked in the statement that writes it: that
//! the lease is ours and lasts until the request has ended, that the store is still pushed to,
//! that its marketplace had no request like it lately, and has not too many without results. So a
//! store that is switched off gets no further request.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, timeout};

use super::compose::{self, Plan, Planned};
use super::connector::{
    Body, CallFailure, Called, Exchange, FailureKind, Item, Operation, SendOutcome,
};
use super::error::Error;
use super::gates::{Closed, OUTSTANDING_PAUSE, UNKNOWN_COUNTS_FOR, opens_at, spent};
use super::model::{GateReason, ItemState, ProductId, PushId, PushMode, PushState};
use super::queries::gates::{Spent, take_tokens};
use super::queries::pairs as pairs_told;
use super::queries::pushes::{self, Conditions, NewItem, NewPush};
use super::queries::quantities::pairs;
use super::queries::reconcile::companions;
use super::run::Run;
use crate::db;
use crate::metrics::Phase;
use crate::timestamp::truncate;

/// How often a marketplace may say that the same request is to be sent again.
const UNCHANGED_TRIES: u32 = 3;
/// Before it is sent again.
const UNCHANGED_PAUSE: Duration = Duration::from_secs(1);
/// Products that are looked at for one to keep a request company.
const COMPANIONS: i64 = 20;
/// How long rows wait that only a request could carry which was sent before: then it is looked
/// whether other rows go with them.
const IDENTICAL_PAUSE: TimeDelta = TimeDelta::minutes(1);

/// A push that is written and can be sent.
#[derive(Debug)]
pub(super) struct Push {
    pub(super) id: PushId,
    pub(super) plan: Plan,
    pub(super) items: Vec<Item>,
    pub(super) body: Body,
}

/// What came of beginning a request.
pub(super) enum Begun {
    /// It can be sent.
    Push(Box<Push>),
    /// Not now.
    Closed(Closed),
    /// The marketplace would refuse it, and nothing can be added to it: its rows wait.
    Waits(Plan, DateTime<Utc>),
    /// The store is not pushed to any more.
    Ended,
}

/// What came of writing a push.
enum Written {
    Yes,
    Closed(Closed),
    Identical(DateTime<Utc>),
    Ended,
}

/// Writes a push of a plan, so that its marketplace will take it.
pub(super) async fn begin(
    run: &mut Run<'_>,
    mut plan: Plan,
    max_items: usize,
) -> Result<Begun, Error> {
    let mut is_first = true;
    loop {
        let id = PushId(run.app.ids.new_id(run.app.clock.now()));
        let items = compose::items(&plan.send);
        let body = run.adapter.build(&run.store.shop, id, &items);
        match write(run, id, &plan, &body).await? {
            Written::Yes => {
                return Ok(Begun::Push(Box::new(Push {
                    id,
                    plan,
                    items,
                    body,
                })));
            }
            Written::Closed(closed) => return Ok(Begun::Closed(closed)),
            Written::Ended => return Ok(Begun::Ended),
            Written::Identical(sent_at) => {
                run.hit(GateReason::IdenticalBody);
                // The rest of a full batch goes with the next one.
                if is_first && plan.send.len() >= max_items && plan.send.len() > 1 {
                    plan.send.pop();
                } else if let Some(companion) = companion(run, &plan).await? {
                    plan.send.push(companion);
                } else {
                    let now = run.app.clock.now();
                    let window = run.rules.identical_window.unwrap_or_default();
                    let until = (sent_at + window).min(now + IDENTICAL_PAUSE);
                    return Ok(Begun::Waits(plan, until));
                }
                is_first = false;
            }
        }
    }
}

/// What is written before a request.
struct Draft<'a> {
    id: PushId,
    body: &'a Body,
    buckets: Vec<Spent>,
    told: Vec<pairs_told::Told>,
    items: Vec<NewItem>,
}

/// Spends the rates, notes what the pairs are told, and writes the push with its items, all or
/// nothing.
async fn write(run: &Run<'_>, id: PushId, plan: &Plan, body: &Body) -> Result<Written, Error> {
    let target = run.app.settings.stock.rate_target_percent;
    let buckets = run.adapter.buckets(&run.store.shop, Operation::Send);
    let draft = &Draft {
        id,
        body,
        buckets: buckets.into_iter().map(|it| spent(it, target)).collect(),
        told: compose::told(&plan.send),
        items: compose::new_items(&plan.send, ItemState::Sent),
    };
    db::persist(move || try_write(run, draft)).await
}

async fn try_write(run: &Run<'_>, draft: &Draft<'_>) -> Result<Written, Error> {
    let now = run.app.clock.now();
    let push = NewPush {
        id: draft.id,
        store_id: run.store.id,
        state: PushState::Sending,
        body_sha256: &draft.body.sha256,
        body: None,
        item_count: i32::try_from(draft.items.len()).unwrap_or(i32::MAX),
        sent_at: Some(now),
    };
    let conditions = conditions(run, PushMode::Live, now);
    let mut tx = run.app.db.write().await?;
    if !draft.buckets.is_empty() {
        let left = take_tokens(&mut tx, &draft.buckets, now).await?;
        if let Some(until) = opens_at(&draft.buckets, &left, now) {
            let reason = GateReason::Bucket;
            return Ok(Written::Closed(Closed { reason, until }));
        }
    }
    pairs_told::mark_sending(&mut tx, run.store.id, draft.id, &draft.told, now).await?;
    if !pushes::insert_push(&mut tx, &push, &conditions, now).await? {
        let standing = pushes::standing(&mut tx, &push, &conditions).await?;
        return refused(standing, now);
    }
    pushes::insert_items(&mut tx, draft.id, &draft.items).await?;
    tx.save().await?;
    Ok(Written::Yes)
}

/// Why a push was not written.
fn refused(standing: Option<pushes::Standing>, now: DateTime<Utc>) -> Result<Written, Error> {
    let Some(standing) = standing else {
        return Ok(Written::Ended);
    };
    if !standing.holds_lease {
        return Err(Error::LeaseLost);
    }
    if !standing.is_in_mode {
        return Ok(Written::Ended);
    }
    Ok(match standing.identical_sent_at {
        Some(sent_at) => Written::Identical(sent_at),
        None => Written::Closed(Closed {
            reason: GateReason::Outstanding,
            until: now + OUTSTANDING_PAUSE,
        }),
    })
}

/// What has to be so for a push of a run to be written.
pub(super) fn conditions(run: &Run<'_>, mode: PushMode, now: DateTime<Utc>) -> Conditions {
    let is_live = mode == PushMode::Live;
    let identical = run.rules.identical_window.filter(|_| is_live);
    let most = run.rules.manners.max_outstanding.filter(|_| is_live);
    Conditions {
        lease: run.lease.token(),
        lease_lasts_until: if is_live {
            now + run.app.settings.stock.timeout
        } else {
            now
        },
        mode,
        // Nothing was sent after tomorrow.
        identical_since: identical.map_or(now + TimeDelta::days(1), |window| now - window),
        max_outstanding: most.map_or(i64::MAX, i64::from),
        unknown_since: now - UNKNOWN_COUNTS_FOR,
    }
}

/// A product that can be told once more without harm, and with which the request is one that the
/// marketplace has not had lately.
async fn companion(run: &Run<'_>, plan: &Plan) -> Result<Option<Planned>, Error> {
    let Some(window) = run.rules.identical_window else {
        return Ok(None);
    };
    let app = run.app;
    let now = app.clock.now();
    let taken: Vec<ProductId> = plan.send.iter().map(|it| it.item.product_id).collect();
    let after = taken
        .iter()
        .copied()
        .max()
        .unwrap_or(ProductId(uuid::Uuid::nil()));
    let mut tx = app.db.read().await?;
    let mut products = companions(&mut tx, run.store.id, after, COMPANIONS).await?;
    if products.is_empty() {
        let first = ProductId(uuid::Uuid::nil());
        products = companions(&mut tx, run.store.id, first, COMPANIONS).await?;
    }
    products.retain(|product| !taken.contains(product));
    let found = pairs(&mut tx, run.store.id, &products).await?;
    let candidates: Vec<Planned> = found
        .into_iter()
        .filter_map(|pair| {
            let names = run.adapter.names(&compose::names_of(&pair))?;
            let item = Item {
                product_id: pair.product_id,
                names,
                quantity: pair.quantity.clamp(0, run.rules.quantity_cap),
            };
            let is_new = plan.send.iter().all(|it| it.item.names != item.names);
            // What has changed has a row of its own.
            let is_shown = pair.last_confirmed_quantity == Some(item.quantity);
            (is_new && is_shown).then_some(Planned {
                row: None,
                pair,
                item,
            })
        })
        .collect();
    let hash_with = |candidate: &Planned| {
        let mut items = compose::items(&plan.send);
        items.push(candidate.item.clone());
        // The id of the push is no part of the hash.
        let id = PushId(app.ids.new_id(now));
        run.adapter.build(&run.store.shop, id, &items).sha256
    };
    let hashes: Vec<String> = candidates.iter().map(hash_with).collect();
    let sent = pushes::sent_bodies(&mut tx, run.store.id, &hashes, now - window).await?;
    tx.save().await?;
    let mut candidates = hashes.iter().zip(candidates);
    let fresh = candidates.find(|(hash, _)| !sent.contains(*hash));
    Ok(fresh.map(|(_, candidate)| candidate))
}

/// Sends a push, once, and again as long as the marketplace asks for the same once more.
pub(super) async fn call(run: &Run<'_>, push: &Push) -> Called<SendOutcome> {
    let started = Instant::now();
    let mut exchanges = Vec::new();
    let mut tries = 0;
    let outcome = loop {
        let called = once(run, push).await;
        exchanges.extend(called.exchanges);
        tries += 1;
        let wants_it_again = matches!(
            &called.outcome,
            SendOutcome::Failed(CallFailure {
                kind: FailureKind::RetryUnchanged,
                ..
            })
        );
        let may_go_on = tries < UNCHANGED_TRIES && !run.lease.lost().is_cancelled();
        if !wants_it_again || !may_go_on {
            break called.outcome;
        }
        run.app.clock.pass(UNCHANGED_PAUSE).await;
    };
    let of = run.label();
    run.app
        .metrics
        .stock
        .batch(of, Phase::Send, started.elapsed());
    run.app
        .metrics
        .stock
        .request(of, "send", result_of(&outcome));
    Called { exchanges, outcome }
}

/// An adapter has its own time-out for each of its calls; no push lasts longer than a lease that
/// is not renewed.
async fn once(run: &Run<'_>, push: &Push) -> Called<SendOutcome> {
    let sending = run
        .adapter
        .send(&run.store.shop, push.id, &push.items, &push.body);
    match timeout(run.app.settings.stock.lease, sending).await {
        Ok(called) => called,
        Err(_) => Called {
            exchanges: Vec::<Exchange>::new(),
            outcome: SendOutcome::Failed(CallFailure {
                kind: FailureKind::Ambiguous,
                message: "the marketplace did not answer in time".to_owned(),
            }),
        },
    }
}

fn result_of(outcome: &SendOutcome) -> &'static str {
    match outcome {
        SendOutcome::Accepted { .. } | SendOutcome::Done(_) => "success",
        SendOutcome::Failed(failure) => failure_name(failure.kind),
    }
}

/// What metrics call a failure.
pub(super) const fn failure_name(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Ambiguous => "ambiguous",
        FailureKind::TooSlow => "too_slow",
        FailureKind::RateLimited { .. } => "rate_limited",
        FailureKind::TooManyOutstanding => "too_many_outstanding",
        FailureKind::UploadLimit => "upload_limit",
        FailureKind::DailyLimit => "daily_limit",
        FailureKind::Identical => "identical",
        FailureKind::BadRequest => "bad_request",
        FailureKind::Unauthorized => "unauthorized",
        FailureKind::Protocol { .. } => "protocol",
        FailureKind::RetryUnchanged => "retry_unchanged",
    }
}

/// When rows wait until that a request like theirs was sent before.
pub(super) fn waiting_text(until: DateTime<Utc>) -> String {
    format!(
        "the same request was sent before; looked at again at {}",
        truncate(until)
    )
}
