//! The lists: which stores, webhooks and dead letters, page by page, and what is known of each.

use chrono::{DateTime, Utc};
use jobs::StoreId;
use uuid::Uuid;

use super::overview::OVERDUE;
use super::queries::endpoints::Details as EndpointDetails;
use super::queries::stores::Details as StoreDetails;
use super::queries::{dead_letters, endpoints, stores};
use super::views::{
    COUNT_LIMIT, Count, DeadCallbackView, DeadOrderView, EndpointView, Listed, StoreView,
};
use crate::App;
use crate::db::Tx;
use crate::http::page::{Cursor, PageRequest};
use crate::webhooks::model::EndpointId;

/// Stores looked at for one page of those of which only some are wanted.
pub(super) const WINDOW: i64 = 500;

/// Which stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreState {
    /// All.
    All,
    /// Their newest orders all failed.
    Failing,
    /// An order has been due for a while.
    Overdue,
    /// Some orders were given up.
    DeadLetters,
    /// An operator paused them.
    Paused,
}

/// Which webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndpointState {
    /// All.
    All,
    /// They fail and are left in peace for a while.
    Open,
    /// They are sent nothing, for whatever reason.
    Inactive,
    /// An operator paused them.
    Paused,
}

/// Items of a page by their ids, and where the next page begins.
pub(super) struct Found<Id> {
    pub(super) ids: Vec<Id>,
    pub(super) next: Option<Cursor>,
}

impl<Id> Found<Id> {
    /// Of what was found with [`PageRequest::look_ahead`].
    pub(super) fn of(mut found: Vec<(Id, Cursor)>, page: PageRequest) -> Self {
        let next = page.cut(&mut found, |(_, place)| *place);
        Self {
            ids: found.into_iter().map(|(id, _)| id).collect(),
            next,
        }
    }
}

pub(super) fn listed<T>(items: Vec<T>, next: Option<Cursor>) -> Listed<T> {
    Listed {
        items,
        next_cursor: next.map(|next| next.to_string()),
    }
}

/// The place of an item in a list that is ordered by ids alone.
pub(super) fn by_id(id: Uuid) -> Cursor {
    Cursor {
        at: DateTime::UNIX_EPOCH,
        id,
    }
}

/// A page of stores.
pub(super) async fn list_stores(
    app: &App,
    state: StoreState,
    page: PageRequest,
) -> sqlx::Result<Listed<StoreView>> {
    let now = app.clock.now();
    let mut tx = app.db.read().await?;
    let found = find_stores(&mut tx, state, page, now).await?;
    let mut items = Vec::with_capacity(found.ids.len());
    for id in found.ids {
        let details = stores::details(&mut tx, id, COUNT_LIMIT + 1).await?;
        items.extend(details.map(|details| store_view(details, now)));
    }
    tx.save().await?;
    Ok(listed(items, found.next))
}

async fn find_stores(
    tx: &mut Tx,
    state: StoreState,
    page: PageRequest,
    now: DateTime<Utc>,
) -> sqlx::Result<Found<StoreId>> {
    let after = page.after.unwrap_or(Cursor::BEGINNING);
    let limit = page.look_ahead();
    let found = match state {
        StoreState::Overdue => return find_overdue(tx, page, now).await,
        StoreState::DeadLetters => {
            let found = stores::with_dead_letters(tx, after.id, limit).await?;
            let found: Vec<_> = found.iter().map(|id| (*id, by_id(id.0))).collect();
            return Ok(Found::of(found, page));
        }
        StoreState::All => stores::all(tx, after, limit).await?,
        StoreState::Failing => stores::failing(tx, after, limit).await?,
        StoreState::Paused => stores::paused(tx, after, limit).await?,
    };
    let found: Vec<_> = found.iter().map(|it| (it.id, it.place())).collect();
    Ok(Found::of(found, page))
}

/// Of the next stores that wait for anything, those that have been due for a while.
async fn find_overdue(
    tx: &mut Tx,
    page: PageRequest,
    now: DateTime<Utc>,
) -> sqlx::Result<Found<StoreId>> {
    let after = page.after.map_or(Uuid::nil(), |after| after.id);
    let window = stores::waiting(tx, after, now, WINDOW).await?;
    let window = window.iter().map(|store| {
        let is_overdue = store.due_at.is_some_and(|due| due <= now - OVERDUE);
        (store.id, store.may_be_synced && is_overdue)
    });
    Ok(some_of(window, page))
}

/// Of a window over stores, those that are wanted. The page may have few items, or none, and still
/// not be the last.
pub(super) fn some_of(
    window: impl ExactSizeIterator<Item = (StoreId, bool)>,
    page: PageRequest,
) -> Found<StoreId> {
    let is_full = window.len() == usize::try_from(WINDOW).unwrap_or(usize::MAX);
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let mut ids = Vec::new();
    let mut last = None;
    for (id, is_wanted) in window {
        if is_wanted && ids.len() == limit {
            let next = last.map(by_id);
            return Found { ids, next };
        }
        if is_wanted {
            ids.push(id);
        }
        last = Some(id.0);
    }
    let next = last.filter(|_| is_full).map(by_id);
    Found { ids, next }
}

fn store_view(store: StoreDetails, now: DateTime<Utc>) -> StoreView {
    // The token of a lease is an id, which knows when it was made.
    let is_running = store.lease_expires_at.is_some_and(|expires| expires > now);
    let token = store.lease_token.filter(|_| is_running);
    let made = token.and_then(|token| token.get_timestamp());
    let running_since = made.and_then(|made| {
        let (seconds, nanos) = made.to_unix();
        DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
    });
    StoreView {
        id: store.id.0,
        organization_id: store.organization_id,
        marketplace: store.marketplace,
        name: store.store_name,
        external_store_id: store.external_store_id,
        sync_status: store.sync_status,
        last_sync_at: store.last_sync_at.map(Into::into),
        next_due_at: store.due_at.map(Into::into),
        waiting: Count::of(store.waiting),
        dead_letters: Count::of(store.dead),
        last_error: store.last_error,
        paused_at: store.paused_at.map(Into::into),
        paused_until: future(store.paused_until, now).map(Into::into),
        enqueued_until: future(store.enqueued_until, now).map(Into::into),
        running_since: running_since.map(Into::into),
    }
}

/// What is over is nothing to look at.
pub(super) fn future(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    at.filter(|at| *at > now)
}

/// A page of webhooks that are not deleted. It may have few items and still not be the last.
pub(super) async fn list_endpoints(
    app: &App,
    state: EndpointState,
    page: PageRequest,
) -> sqlx::Result<Listed<EndpointView>> {
    let now = app.clock.now();
    let after = page.after.unwrap_or(Cursor::BEGINNING);
    let limit = page.look_ahead();
    let mut tx = app.db.read().await?;
    let found = match state {
        EndpointState::All => endpoints::all(&mut tx, after.id, limit).await?,
        EndpointState::Inactive => endpoints::inactive(&mut tx, None, after.id, limit).await?,
        EndpointState::Paused => {
            endpoints::inactive(&mut tx, Some("paused"), after.id, limit).await?
        }
        EndpointState::Open => {
            let after = if after.at < now {
                Cursor {
                    at: now,
                    id: Uuid::max(),
                }
            } else {
                after
            };
            endpoints::open(&mut tx, after, limit).await?
        }
    };
    let place = |endpoint: &endpoints::Listing| match (state, endpoint.at) {
        (EndpointState::Open, Some(at)) => Cursor {
            at,
            id: endpoint.id.0,
        },
        _ => by_id(endpoint.id.0),
    };
    let found: Vec<(EndpointId, Cursor)> = found.iter().map(|it| (it.id, place(it))).collect();
    let found = Found::of(found, page);
    let mut items = Vec::with_capacity(found.ids.len());
    for id in found.ids {
        let details = endpoints::details(&mut tx, id, COUNT_LIMIT + 1).await?;
        items.extend(details.map(|details| endpoint_view(details, now)));
    }
    tx.save().await?;
    Ok(listed(items, found.next))
}

fn endpoint_view(endpoint: EndpointDetails, now: DateTime<Utc>) -> EndpointView {
    EndpointView {
        id: endpoint.id.0,
        organization_id: endpoint.organization_id,
        event: endpoint.event,
        target_url: endpoint.target_url,
        description: endpoint.description,
        is_ordered: endpoint.is_ordered,
        is_active: endpoint.is_active,
        inactive_reason: endpoint.inactive_reason.filter(|_| !endpoint.is_active),
        consecutive_failures: endpoint.consecutive_failures,
        open_until: future(endpoint.open_until, now).map(Into::into),
        pending: Count::of(endpoint.pending),
        oldest_pending_at: endpoint.oldest_pending.map(Into::into),
        dead_letters: Count::of(endpoint.dead),
        last_error: endpoint.last_error,
    }
}

/// A page of orders that were given up, of one store or of all, the newest first.
pub(super) async fn list_dead_orders(
    app: &App,
    store_id: Option<StoreId>,
    page: PageRequest,
) -> sqlx::Result<Listed<DeadOrderView>> {
    let before = page.after.unwrap_or(Cursor::END);
    let limit = page.look_ahead();
    let mut tx = app.db.read().await?;
    let mut found = match store_id {
        Some(store_id) => dead_letters::orders_of(&mut tx, store_id, before, limit).await?,
        None => dead_letters::orders(&mut tx, before, limit).await?,
    };
    tx.save().await?;
    let next = page.cut(&mut found, |order| Cursor {
        at: order.dead_at,
        id: order.id.0,
    });
    let items = found.into_iter().map(|order| DeadOrderView {
        id: order.id.0,
        store_id: order.store_id.0,
        store_name: order.store_name,
        organization_id: order.organization_id,
        receipt: order.receipt,
        reason: order.error_details,
        failures: order.failed_attempt,
        dead_at: order.dead_at.into(),
    });
    Ok(listed(items.collect(), next))
}

/// A page of events that somebody did not take, the newest first.
pub(super) async fn list_dead_callbacks(
    app: &App,
    page: PageRequest,
) -> sqlx::Result<Listed<DeadCallbackView>> {
    let before = page.after.unwrap_or(Cursor::END);
    let mut tx = app.db.read().await?;
    let mut found = dead_letters::callbacks(&mut tx, before, page.look_ahead()).await?;
    tx.save().await?;
    let next = page.cut(&mut found, |event| Cursor {
        at: event.created_at,
        id: event.id.0,
    });
    let items = found.into_iter().map(|event| DeadCallbackView {
        id: event.id.0,
        store_id: event.store_id.0,
        store_name: event.store_name,
        organization_id: event.organization_id,
        event: event.event,
        reason: event.last_error,
        attempts: event.attempt,
        created_at: event.created_at.into(),
        given_up_at: event.updated_at.into(),
    });
    Ok(listed(items.collect(), next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_a_window_goes_on_behind_the_last_store_that_was_looked_at() {
        let of = |count: u128, wanted: &[u128], limit| {
            let store = |number| (StoreId(Uuid::from_u128(number)), wanted.contains(&number));
            let window: Vec<_> = (1..=count).map(store).collect();
            let found = some_of(window.into_iter(), PageRequest { limit, after: None });
            let next = found.next.map(|next| next.id.as_u128());
            (found.ids.len(), next)
        };
        assert_eq!(of(3, &[2], 10), (1, None), "all were looked at");
        assert_eq!(of(500, &[], 10), (0, Some(500)), "there may be more");
        assert_eq!(of(500, &[1, 2, 400], 2), (2, Some(399)));
        assert_eq!(of(3, &[1, 2], 2), (2, None));
    }
}
