//! The lists: which stores, products and pushes, page by page.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use jobs::StoreId;
use uuid::Uuid;

use super::push::push_view;
use super::views::{BlockedView, PushView, StockStoreView};
use crate::App;
use crate::admin::operators::lists::{Found, WINDOW, by_id, future, listed, some_of};
use crate::admin::operators::queries::stock::stores::{Age, Details};
use crate::admin::operators::queries::stock::{blocked, pushes, stores};
use crate::admin::operators::queries::stores as all_stores;
use crate::admin::operators::views::{COUNT_LIMIT, Count, Listed};
use crate::db::Tx;
use crate::http::page::{Cursor, NoCursor, PageRequest};
use crate::stock::Closed;

/// Which stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StockState {
    /// All.
    All,
    /// They are pushed to, or in a dry run.
    Pushed,
    /// Something has to be told to their marketplace.
    Waiting,
    /// For too long.
    Overdue,
    /// Their gate is closed.
    Closed,
}

/// A page of stores.
pub(super) async fn list_stores(
    app: &App,
    state: StockState,
    page: PageRequest,
) -> sqlx::Result<Listed<StockStoreView>> {
    let now = app.clock.now();
    let overdue_since = now - app.settings.stock.queue_ttl;
    let mut tx = app.db.read().await?;
    let found = find_stores(app, &mut tx, state, page, now).await?;
    let mut items = Vec::with_capacity(found.ids.len());
    for id in found.ids {
        let Some(details) = stores::details(&mut tx, id, COUNT_LIMIT + 1).await? else {
            continue;
        };
        let age = stores::age(&mut tx, id, overdue_since, COUNT_LIMIT + 1).await?;
        let last = pushes::of(&mut tx, id, Cursor::END, 1).await?.pop();
        let last = last.map(push_view);
        items.push(store_view(app, details, age, last, now));
    }
    tx.save().await?;
    Ok(listed(items, found.next))
}

async fn find_stores(
    app: &App,
    tx: &mut Tx,
    state: StockState,
    page: PageRequest,
    now: DateTime<Utc>,
) -> sqlx::Result<Found<StoreId>> {
    let after = page.after.unwrap_or(Cursor::BEGINNING);
    let limit = page.look_ahead();
    let found = match state {
        StockState::All => all_stores::all(tx, after, limit).await?,
        StockState::Pushed => stores::pushed(tx, after, limit).await?,
        StockState::Waiting => {
            let found = stores::waiting(tx, after.id, limit).await?;
            let found: Vec<_> = found.iter().map(|it| (it.id, by_id(it.id.0))).collect();
            return Ok(Found::of(found, page));
        }
        StockState::Overdue => {
            let since = now - app.settings.stock.queue_ttl;
            let window = stores::waiting(tx, after.id, WINDOW).await?;
            let window = window.iter().map(|it| (it.id, it.oldest_at <= since));
            return Ok(some_of(window, page));
        }
        StockState::Closed => {
            let window = stores::limited(tx, after.id, WINDOW).await?;
            let is_closed = |gate| Closed::by_row(app, gate, now).is_some();
            let window = window.iter().map(|it| (it.id, is_closed(&it.gate)));
            return Ok(some_of(window, page));
        }
    };
    let found: Vec<_> = found.iter().map(|it| (it.id, it.place())).collect();
    Ok(Found::of(found, page))
}

fn store_view(
    app: &App,
    store: Details,
    age: Age,
    last_push: Option<PushView>,
    now: DateTime<Utc>,
) -> StockStoreView {
    StockStoreView {
        id: store.id.0,
        organization_id: store.organization_id,
        marketplace: store.marketplace,
        name: store.store_name,
        external_store_id: store.external_store_id,
        is_active: store.is_active,
        sends_stock: store.send_stock,
        push_mode: store.stock_push_mode,
        gate: Closed::now(app, store.marketplace, &store.gate, now).into(),
        pending: Count::of(store.pending),
        overdue: Count::of(age.overdue),
        oldest_pending_at: age.oldest_at.map(Into::into),
        next_due_at: store.due_at.map(Into::into),
        blocked: Count::of(store.blocked),
        consecutive_failures: store.gate.consecutive_failures,
        is_running: future(store.lease_until, now).is_some(),
        enqueued_until: future(store.push_enqueued_until, now).map(Into::into),
        resync_requested_at: store.resync_requested_at.map(Into::into),
        last_push,
    }
}

/// The place of a product in the list of those that are refused, which is ordered by store and
/// product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PairPlace {
    store: Uuid,
    product: Uuid,
}

impl fmt::Display for PairPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [*self.store.as_bytes(), *self.product.as_bytes()].concat();
        formatter.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for PairPlace {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NoCursor)?;
        let (store, product) = bytes.split_at_checked(16).ok_or(NoCursor)?;
        Ok(Self {
            store: Uuid::from_slice(store).map_err(|_| NoCursor)?,
            product: Uuid::from_slice(product).map_err(|_| NoCursor)?,
        })
    }
}

/// A page of products that a marketplace refuses, of one store or of all.
pub(super) async fn list_blocked(
    app: &App,
    store_id: Option<StoreId>,
    limit: u32,
    after: Option<PairPlace>,
) -> sqlx::Result<Listed<BlockedView>> {
    let first = store_id.map_or(Uuid::nil(), |store| store.0);
    let last = store_id.map_or(Uuid::max(), |store| store.0);
    let after = after.map_or((first, Uuid::nil()), |place| {
        // Whoever sends a place of another store gets nothing of that one.
        (place.store.max(first), place.product)
    });
    let mut tx = app.db.read().await?;
    let mut found = blocked::blocked(&mut tx, after, last, i64::from(limit) + 1).await?;
    tx.save().await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| has_more).map(|it| PairPlace {
        store: it.store_id.0,
        product: it.product_id.0,
    });
    Ok(Listed {
        items: found.into_iter().map(blocked_view).collect(),
        next_cursor: next.map(|next| next.to_string()),
    })
}

fn blocked_view(pair: blocked::Refused) -> BlockedView {
    BlockedView {
        store_id: pair.store_id.0,
        product_id: pair.product_id.0,
        store_name: pair.store_name,
        organization_id: pair.organization_id,
        product_name: pair.product_name,
        sku: pair.sku,
        barcode: pair.barcode,
        code: pair.push_error_code,
        message: pair.push_error_message,
        blocked_until: pair.blocked_until.map(Into::into),
        reject_count: pair.reject_count,
    }
}

/// A page of pushes, of one store or of all, the newest first.
pub(super) async fn list_pushes(
    app: &App,
    store_id: Option<StoreId>,
    page: PageRequest,
) -> sqlx::Result<Listed<PushView>> {
    let before = page.after.unwrap_or(Cursor::END);
    let limit = page.look_ahead();
    let mut tx = app.db.read().await?;
    let mut found = match store_id {
        Some(store_id) => pushes::of(&mut tx, store_id, before, limit).await?,
        None => pushes::all(&mut tx, before, limit).await?,
    };
    tx.save().await?;
    let next = page.cut(&mut found, |push| Cursor {
        at: push.created_at,
        id: push.id.0,
    });
    Ok(listed(found.into_iter().map(push_view).collect(), next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_as_it_went() {
        let place = PairPlace {
            store: Uuid::from_u128(7),
            product: Uuid::max(),
        };
        assert_eq!(place.to_string().parse(), Ok(place));
        for bad in ["", "AAAA", "no place", &"A".repeat(44)] {
            assert_eq!(bad.parse::<PairPlace>(), Err(NoCursor), "{bad}");
        }
    }
}
