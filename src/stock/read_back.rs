//! What a marketplace shows of the items of a push that nobody knows the outcome of: one that may
//! have been applied, one whose results never came, one that was overtaken by a newer one.
//!
//! What it shows is what counts, whatever was sent. Where that is not what it should show, the pair
//! is enqueued. A pair that waits for another push is left alone until that one has its results.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::api_logs::message;
use super::confirm::{Look, free_slot, item_of, note_later, spend};
use super::connector::{
    Adapter, CallFailure, Called, Exchange, FailureKind, Item, Operation, ReadOutcome, Reading,
};
use super::error::Error;
use super::model::{ItemState, ProductId, PushState, QueueId, Reason};
use super::queries::claim::{self, Requeued};
use super::queries::confirm::{self as queries, Results, SentItem};
use super::queries::pairs as pairs_seen;
use super::queries::pushes::{self, ItemEnd};
use super::queries::quantities::{Pair, pairs};
use super::reading::{Finding, find};
use super::send::failure_name;
use super::settings::StockStore;
use crate::App;
use crate::db;

/// Pages of a push that are read by one job; the rest is another one's.
const PAGES: usize = 50;
/// How long items wait that could not be decided about.
const LATER: TimeDelta = TimeDelta::minutes(1);
/// How long after a call that came to nothing.
const AFTER_FAILURE: TimeDelta = TimeDelta::minutes(5);
/// A push that could not be decided about for so long is given up: the daily comparison of the
/// store finds whatever is wrong.
const GIVEN_UP_AFTER: TimeDelta = TimeDelta::hours(24);

/// Reads what the marketplace shows of the open items of a push.
pub(super) async fn read_back(look: &Look<'_>, stop: &CancellationToken) -> Result<(), Error> {
    let app = look.app;
    let limit = i64::try_from(look.adapter.manners().max_read_items.max(1)).unwrap_or(i64::MAX);
    let (mut after, mut is_open) = (0, false);
    for _ in 0..PAGES {
        if stop.is_cancelled() {
            return free_slot(app, look.seen.id).await;
        }
        let mut tx = app.db.read().await?;
        let page = queries::open_items(&mut tx, look.seen.id, look.store.id, after, limit).await?;
        let products: Vec<ProductId> = page.iter().map(|item| item.product_id).collect();
        let found = pairs(&mut tx, look.store.id, &products).await?;
        tx.save().await?;
        let Some(last) = page.last() else {
            return finish(look, is_open).await;
        };
        after = last.element_no;
        if let Some(until) = spend(app, &look.store, look.adapter, Operation::ReadBack).await? {
            app.metrics.stock.rate_limit_hit(look.label(), "BUCKET");
            return Ok(note_later(app, &look.seen, until, look.seen.polls, None).await?);
        }
        let items: Vec<Item> = page.iter().map(item_of).collect();
        let called = read(app, &look.store, look.adapter, &items).await;
        match called.outcome {
            ReadOutcome::Read(readings) => {
                is_open |= write_page(look, &page, found, &readings, &called.exchanges).await?;
            }
            ReadOutcome::Failed(failure) => {
                return write_failure(look, &failure, &called.exchanges).await;
            }
            ReadOutcome::Unsupported => return tell_again(look).await,
        }
    }
    let now = app.clock.now();
    Ok(note_later(app, &look.seen, now, look.seen.polls, None).await?)
}

/// Asks a marketplace what it shows, once.
pub(super) async fn read(
    app: &App,
    store: &StockStore,
    adapter: &dyn Adapter,
    items: &[Item],
) -> Called<ReadOutcome> {
    let reading = adapter.read_back(&store.shop, items);
    let called = match timeout(app.settings.stock.lease, reading).await {
        Ok(called) => called,
        Err(_) => Called {
            exchanges: Vec::new(),
            outcome: ReadOutcome::Failed(CallFailure {
                kind: FailureKind::Ambiguous,
                message: "the marketplace did not answer in time".to_owned(),
            }),
        },
    };
    let result = match &called.outcome {
        ReadOutcome::Read(_) => "success",
        ReadOutcome::Unsupported => "unsupported",
        ReadOutcome::Failed(failure) => failure_name(failure.kind),
    };
    let of = crate::metrics::StoreLabel {
        store_id: store.id,
        marketplace: store.shop.marketplace,
    };
    app.metrics.stock.request(of, "read_back", result);
    called
}

/// The rows of pairs that have to be told because of what the marketplace shows, in the order of
/// products.
pub(super) fn rows_of(
    app: &App,
    findings: &[Finding],
    ours: &HashSet<ProductId>,
    now: DateTime<Utc>,
) -> Vec<Requeued> {
    let is_wrong = |it: &&Finding| it.is_wrong && ours.contains(&it.observed.product_id);
    let mut rows: Vec<Requeued> = findings
        .iter()
        .filter(is_wrong)
        .map(|finding| row(app, finding.observed.product_id, now))
        .collect();
    rows.sort_unstable_by_key(|row| row.product_id);
    rows
}

fn row(app: &App, product_id: ProductId, now: DateTime<Utc>) -> Requeued {
    Requeued {
        id: QueueId(app.ids.new_id(now)),
        product_id,
        reason: Reason::Reconcile,
        priority: Reason::Reconcile.priority(),
        force: false,
        next_attempt_at: now,
    }
}

/// Products that the marketplace does not know, in their order: told once more, it says what is
/// wrong with them.
fn strangers(findings: &[Finding], ends: &[(ProductId, ItemEnd)]) -> Vec<ProductId> {
    let is_known = |product: &ProductId| {
        let key = |finding: &Finding| finding.observed.product_id;
        findings.binary_search_by_key(product, key).is_ok()
    };
    let products = ends.iter().map(|(product, _)| *product);
    let mut strangers: Vec<ProductId> = products.filter(|it| !is_known(it)).collect();
    strangers.sort_unstable();
    strangers
}

/// Writes what the marketplace shows of a page; tells whether items of it stay open.
async fn write_page(
    look: &Look<'_>,
    page: &[SentItem],
    found: Vec<Pair>,
    readings: &[Reading],
    exchanges: &[Exchange],
) -> Result<bool, Error> {
    let app = look.app;
    let cap = app
        .settings
        .stock
        .max_quantity
        .min(look.adapter.manners().quantity_cap);
    let pairs: HashMap<ProductId, Pair> = found
        .into_iter()
        .map(|pair| (pair.product_id, pair))
        .collect();
    let (mut findings, mut ends) = (Vec::new(), Vec::new());
    for (item, reading) in page.iter().zip(readings) {
        let Some(pair) = pairs.get(&item.product_id) else {
            continue;
        };
        let awaits_another = pair
            .in_flight_push_id
            .is_some_and(|push| push != look.seen.id);
        if awaits_another {
            continue;
        }
        ends.push((item.product_id, end_of(item, reading)));
        findings.extend(find(pair, reading, cap, Some(look.seen.id)));
    }
    findings.sort_unstable_by_key(|finding: &Finding| finding.observed.product_id);
    let (findings, ends) = (&findings, &ends);
    db::persist(move || async move {
        let now = app.clock.now();
        let observed: Vec<_> = findings.iter().map(|it| it.observed.clone()).collect();
        let mut tx = app.db.write().await?;
        let ours = pairs_seen::observe(&mut tx, look.store.id, &observed, now).await?;
        let strangers = strangers(findings, ends);
        pairs_seen::let_go(&mut tx, look.store.id, look.seen.id, &strangers, now).await?;
        let mut rows = rows_of(app, findings, &ours, now);
        rows.extend(
            strangers
                .iter()
                .map(|product_id| row(app, *product_id, now)),
        );
        rows.sort_unstable_by_key(|row| row.product_id);
        claim::requeue(&mut tx, look.store.id, &rows, now).await?;
        let mut released: Vec<ProductId> = ours.iter().copied().collect();
        released.sort_unstable();
        claim::release_held(&mut tx, look.store.id, &released, now).await?;
        // What was told something meanwhile is looked at again.
        let is_closed = |(product, _): &&(ProductId, ItemEnd)| {
            ours.contains(product) || strangers.binary_search(product).is_ok()
        };
        let closed: Vec<ItemEnd> = ends
            .iter()
            .filter(is_closed)
            .map(|(_, end)| end.clone())
            .collect();
        pushes::end_items(&mut tx, look.seen.id, &closed).await?;
        look.log(&mut tx, exchanges, now).await?;
        tx.save().await?;
        Ok(closed.len() < page.len())
    })
    .await
}

/// What became of an item, as far as what is shown tells.
fn end_of(item: &SentItem, reading: &Reading) -> ItemEnd {
    let is_shown = reading.quantity == Some(item.sent_quantity);
    ItemEnd {
        element_no: item.element_no,
        state: if is_shown {
            ItemState::Confirmed
        } else {
            ItemState::Unknown
        },
        errors: (!is_shown).then(|| json!([{ "code": "READ_BACK", "shown": reading.quantity }])),
    }
}

async fn write_failure(
    look: &Look<'_>,
    failure: &CallFailure,
    exchanges: &[Exchange],
) -> Result<(), Error> {
    let app = look.app;
    let push_id = look.seen.id;
    warn!(event = "stock_read_back_failed", pushId = %push_id, storeId = %look.store.id, "the marketplace could not be asked what it shows of push {push_id}: {}", failure.message);
    let asked = match failure.kind {
        FailureKind::RateLimited { retry_after, .. } => retry_after,
        _ => None,
    };
    let later = app.clock.now() + asked.unwrap_or(AFTER_FAILURE).min(TimeDelta::days(1));
    db::persist(move || async move {
        let mut tx = app.db.write().await?;
        look.log(&mut tx, exchanges, app.clock.now()).await?;
        tx.save().await?;
        Ok::<_, Error>(())
    })
    .await?;
    let is_over = look.app.clock.now() - look.seen.created_at > GIVEN_UP_AFTER;
    if is_over {
        return finish(look, false).await;
    }
    let error = Some(message(&failure.message));
    Ok(note_later(app, &look.seen, later, look.seen.polls, error).await?)
}

/// Notes how a push stands that was read back: for good, unless items of it are open.
async fn finish(look: &Look<'_>, is_open: bool) -> Result<(), Error> {
    let app = look.app;
    let now = app.clock.now();
    let is_given_up = now - look.seen.created_at > GIVEN_UP_AFTER;
    let next_poll_at = (is_open && !is_given_up).then_some(now + LATER);
    db::persist(move || async move {
        let mut tx = app.db.write().await?;
        let states = queries::item_states(&mut tx, look.seen.id).await?;
        let count = |state| states.iter().find(|it| it.0 == state).map_or(0, |it| it.1);
        let (confirmed, items) = (count(ItemState::Confirmed), i64::from(look.seen.item_count));
        // Of a push that was never asked about otherwise, this is all that will be known.
        let state = match look.seen.state {
            PushState::Accepted if next_poll_at.is_some() => PushState::Accepted,
            PushState::Accepted if confirmed == items => PushState::Confirmed,
            PushState::Accepted if confirmed > 0 => PushState::Partial,
            PushState::Accepted => PushState::Unknown,
            state => state,
        };
        let results = Results {
            state,
            failed_item_count: None,
            confirmed_at: (confirmed > 0).then_some(now),
            next_poll_at,
            polls: look.seen.polls.saturating_add(1),
            error: None,
        };
        queries::note_results(&mut tx, &look.seen, &results, now).await?;
        tx.save().await?;
        Ok::<_, Error>(())
    })
    .await?;
    info!(event = "stock_push_read_back", pushId = %look.seen.id, storeId = %look.store.id, isOpen = next_poll_at.is_some(), "read back what the marketplace shows of push {}", look.seen.id);
    Ok(())
}

/// The marketplace cannot be asked what it shows: what may be wrong is told again.
async fn tell_again(look: &Look<'_>) -> Result<(), Error> {
    let app = look.app;
    let (push_id, store_id) = (look.seen.id, look.store.id);
    db::persist(move || async move {
        let now = app.clock.now();
        let mut tx = app.db.write().await?;
        let all = i64::from(look.seen.item_count);
        let open = queries::open_items(&mut tx, push_id, store_id, 0, all).await?;
        let mut products: Vec<ProductId> = open.iter().map(|item| item.product_id).collect();
        products.sort_unstable();
        pairs_seen::let_go(&mut tx, store_id, push_id, &products, now).await?;
        // Rows of a request that came to nothing wait anyway.
        if look.seen.state != PushState::Unknown {
            let rows: Vec<Requeued> = products
                .iter()
                .map(|product_id| Requeued {
                    id: QueueId(app.ids.new_id(now)),
                    product_id: *product_id,
                    reason: Reason::Resync,
                    priority: Reason::Resync.priority(),
                    force: true,
                    next_attempt_at: now,
                })
                .collect();
            claim::requeue(&mut tx, store_id, &rows, now).await?;
        }
        tx.save().await?;
        Ok::<_, Error>(())
    })
    .await?;
    finish(look, false).await
}
