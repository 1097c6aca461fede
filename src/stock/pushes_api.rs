//! The routes of what marketplaces were told: pushes, requests, and how far an organization is.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use jobs::{Job, PushId, PushStock, ReconcileStock, StoreId};
use poem::http::StatusCode;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};

use super::error::Error;
use super::model::{ApiLogType, GateReason, ItemState, Provider, PushMode, PushState};
use super::named::{self, example_id, example_organization};
use super::push::enqueue_again;
use super::push_shapes::{
    ApiLogEntry, Enqueued, StockPush, StockPushDetails, StockPushItem, StockRollout,
};
use super::queries::api_logs::{self, ApiLog, LogFilter};
use super::queries::push_log::{self, ItemRow, PushFilter, PushRow};
use super::queries::settings::{StoreRow, store_row};
use super::reconcile::{enqueue_reconcile, request_reconcile};
use super::rollout::rollout;
use crate::App;
use crate::http::Tag;
use crate::http::auth::Caller;
use crate::http::fields::Fields;
use crate::http::idempotency::{Answer, Once, Scope};
use crate::http::page::{Cursor, Page, PageRequest};
use crate::http::problem::Problem;
use crate::timestamp;

/// Pushes and logged requests.
#[derive(Clone)]
pub struct PushesApi {
    app: Arc<App>,
}

impl PushesApi {
    /// The routes over a running service.
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[derive(ApiResponse)]
enum Accepted {
    /// It is on its way, or was already.
    #[oai(status = 202)]
    Enqueued(Json<Enqueued>),
}

/// From when until when.
#[derive(Clone, Copy)]
struct Period {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

/// Reads `from` and `to`.
fn period(fields: &mut Fields<'_>) -> Option<Period> {
    let instant =
        |fields: &mut Fields<'_>, name: &str| fields.parsed(name, 1..=64, timestamp::parse);
    let from = fields.optional("from", instant);
    let to = fields.optional("to", instant);
    Some(Period {
        from: from?.unwrap_or(Cursor::BEGINNING.at),
        to: to?.unwrap_or(Cursor::END.at),
    })
}

/// Reads one of the words of an enum, if it is there.
#[expect(clippy::option_option, reason = "as every optional field is read")]
fn word<T: std::str::FromStr>(
    fields: &mut Fields<'_>,
    name: &str,
    names: &[&str],
) -> Option<Option<T>> {
    let word = fields.optional(name, |fields, name| {
        fields.one_of(name, names).map(str::to_owned)
    });
    word.map(|word| word.and_then(|word| word.parse().ok()))
}

/// Reads a store, if one is named.
#[expect(clippy::option_option, reason = "as every optional field is read")]
fn store(fields: &mut Fields<'_>) -> Option<Option<StoreId>> {
    fields.optional("storeId", |fields, name| fields.uuid(name).map(StoreId))
}

/// A store, if it is of this organization.
async fn own_store(app: &App, organization_id: &str, id: StoreId) -> Result<StoreRow, Error> {
    let mut tx = app.db.read().await?;
    let store = store_row(&mut tx, id).await?;
    tx.save().await?;
    store
        .filter(|store| store.organization_id == organization_id)
        .ok_or(Error::StoreNotFound(id))
}

/// Why nothing can be pushed to a store.
fn obstacles(app: &App, store: &StoreRow) -> Vec<&'static str> {
    let obstacles = [
        (!app.settings.stock.enabled, GateReason::Disabled.as_str()),
        (!store.is_active, "STORE_INACTIVE"),
        (!store.send_stock, "SEND_STOCK_OFF"),
        (store.stock_push_mode == PushMode::Off, "PUSH_MODE_OFF"),
        (
            app.adapters.get(store.marketplace).is_none(),
            GateReason::AdapterMissing.as_str(),
        ),
    ];
    obstacles
        .into_iter()
        .filter(|(is_so, _)| *is_so)
        .map(|(_, why)| why)
        .collect()
}

/// The place of an item in the list of its push.
fn place_of(item: &ItemRow) -> Cursor {
    Cursor {
        at: DateTime::UNIX_EPOCH + TimeDelta::milliseconds(item.element_no.into()),
        id: item.product_id.0,
    }
}

#[OpenApi(tag = "Tag::Stock")]
impl PushesApi {
    /// List pushes
    ///
    /// The requests that told marketplaces quantities, the newest first; also those of dry runs,
    /// which were not sent.
    #[oai(
        path = "/stock-pushes",
        method = "get",
        operation_id = "list_stock_pushes"
    )]
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a parameter of the route"
    )]
    async fn list_stock_pushes(
        &self,
        caller: Caller,
        /// Whose pushes.
        #[oai(name = "organizationId", example = "example_organization")]
        organization_id: Query<Option<String>>,
        /// Only those of this store.
        #[oai(name = "storeId")]
        store_id: Query<Option<String>>,
        /// Only those that stand so.
        state: Query<Option<String>>,
        /// Only those written at or after this instant.
        from: Query<Option<String>>,
        /// Only those written before it.
        to: Query<Option<String>>,
        /// At most so many: 1 to 500, 50 by default.
        limit: Query<Option<String>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Json<Page<StockPush>>, Problem> {
        let values = [
            ("organizationId", organization_id.as_deref()),
            ("storeId", store_id.as_deref()),
            ("state", state.as_deref()),
            ("from", from.as_deref()),
            ("to", to.as_deref()),
            ("limit", limit.as_deref()),
            ("cursor", cursor.as_deref()),
        ];
        let (organization_id, (store_id, state, period, page)) =
            named::read(&caller, &values, |fields| {
                let store_id = store(fields);
                let state = word(fields, "state", PushState::NAMES);
                let period = period(fields);
                let page = PageRequest::from_fields_of_long_list(fields);
                Some((store_id?, state?, period?, page?))
            })?;
        let filter = PushFilter {
            state,
            from: period.from,
            to: period.to,
        };
        let before = page.after.unwrap_or(Cursor::END);
        let limit = page.look_ahead();
        if let Some(id) = store_id {
            own_store(&self.app, &organization_id, id).await?;
        }
        let mut tx = self.app.db.read().await.map_err(Error::from)?;
        let found = match store_id {
            Some(id) => push_log::pushes_of_store(&mut tx, id, before, filter, limit).await,
            None => push_log::pushes(&mut tx, &organization_id, before, filter, limit).await,
        };
        let found = found.map_err(Error::from)?;
        tx.save().await.map_err(Error::from)?;
        let place = |push: &PushRow| Cursor {
            at: push.created_at,
            id: push.id.0,
        };
        Ok(Json(Page::of(found, page, place)))
    }

    /// Show a push
    #[oai(
        path = "/stock-pushes/:pushId",
        method = "get",
        operation_id = "get_stock_push"
    )]
    async fn get_stock_push(
        &self,
        caller: Caller,
        /// The push.
        #[oai(name = "pushId", example = "example_id")]
        push_id: Path<String>,
        /// Whose push.
        #[oai(name = "organizationId", example = "example_organization")]
        organization_id: Query<Option<String>>,
    ) -> Result<Json<StockPushDetails>, Problem> {
        let values = [
            ("organizationId", organization_id.as_deref()),
            ("pushId", Some(push_id.as_str())),
        ];
        let (organization_id, id) =
            named::read(&caller, &values, |fields| fields.uuid("pushId").map(PushId))?;
        let mut tx = self.app.db.read().await.map_err(Error::from)?;
        let found = push_log::push(&mut tx, &organization_id, id)
            .await
            .map_err(Error::from)?;
        tx.save().await.map_err(Error::from)?;
        let push = found.ok_or(Error::PushNotFound(id))?;
        Ok(Json(push.into()))
    }

    /// List the quantities of a push
    ///
    /// In the order they were sent.
    #[oai(
        path = "/stock-pushes/:pushId/items",
        method = "get",
        operation_id = "list_stock_push_items"
    )]
    async fn list_stock_push_items(
        &self,
        caller: Caller,
        /// The push.
        #[oai(name = "pushId", example = "example_id")]
        push_id: Path<String>,
        /// Whose push.
        #[oai(name = "organizationId", example = "example_organization")]
        organization_id: Query<Option<String>>,
        /// Only those that stand so.
        state: Query<Option<String>>,
        /// At most so many: 1 to 500, 50 by default.
        limit: Query<Option<String>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Json<Page<StockPushItem>>, Problem> {
        let values = [
            ("organizationId", organization_id.as_deref()),
            ("pushId", Some(push_id.as_str())),
            ("state", state.as_deref()),
            ("limit", limit.as_deref()),
            ("cursor", cursor.as_deref()),
        ];
        let (organization_id, (id, state, page)) = named::read(&caller, &values, |fields| {
            let id = fields.uuid("pushId").map(PushId);
            let state = word::<ItemState>(fields, "state", ItemState::NAMES);
            let page = PageRequest::from_fields_of_long_list(fields);
            Some((id?, state?, page?))
        })?;
        let after = page.after.map_or(0, |cursor| cursor.at.timestamp_millis());
        let after = i32::try_from(after).unwrap_or(i32::MAX);
        let mut tx = self.app.db.read().await.map_err(Error::from)?;
        let found = push_log::push(&mut tx, &organization_id, id)
            .await
            .map_err(Error::from)?;
        found.ok_or(Error::PushNotFound(id))?;
        let items = push_log::items(&mut tx, id, after, state, page.look_ahead())
            .await
            .map_err(Error::from)?;
        tx.save().await.map_err(Error::from)?;
        Ok(Json(Page::of(items, page, place_of)))
    }

    /// List requests to marketplaces
    ///
    /// What was sent and what came back, the newest first; without credentials.
    #[oai(path = "/api-logs", method = "get", operation_id = "list_api_logs")]
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a parameter of the route"
    )]
    async fn list_api_logs(
        &self,
        caller: Caller,
        /// Whose requests.
        #[oai(name = "organizationId", example = "example_organization")]
        organization_id: Query<Option<String>>,
        /// Only those to this one.
        provider: Query<Option<String>>,
        /// Only those for this.
        r#type: Query<Option<String>>,
        /// Only those about this store.
        #[oai(name = "storeId")]
        store_id: Query<Option<String>>,
        /// Only those that were answered and understood, or only the others.
        #[oai(name = "isSuccess")]
        is_success: Query<Option<String>>,
        /// Only those logged at or after this instant.
        from: Query<Option<String>>,
        /// Only those logged before it.
        to: Query<Option<String>>,
        /// At most so many: 1 to 500, 50 by default.
        limit: Query<Option<String>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Json<Page<ApiLogEntry>>, Problem> {
        let values = [
            ("organizationId", organization_id.as_deref()),
            ("provider", provider.as_deref()),
            ("type", r#type.as_deref()),
            ("storeId", store_id.as_deref()),
            ("isSuccess", is_success.as_deref()),
            ("from", from.as_deref()),
            ("to", to.as_deref()),
            ("limit", limit.as_deref()),
            ("cursor", cursor.as_deref()),
        ];
        let (organization_id, (store_id, filter, page)) =
            named::read(&caller, &values, |fields| {
                let provider = word(fields, "provider", Provider::NAMES);
                let kind = word(fields, "type", ApiLogType::NAMES);
                let store_id = store(fields);
                let is_success = fields.optional("isSuccess", Fields::boolean);
                let period = period(fields);
                let page = PageRequest::from_fields_of_long_list(fields);
                let (provider, kind, is_success) = (provider?, kind?, is_success?);
                let Period { from, to } = period?;
                let filter = LogFilter {
                    provider,
                    kind,
                    is_success,
                    from,
                    to,
                };
                Some((store_id?, filter, page?))
            })?;
        let before = page.after.unwrap_or(Cursor::END);
        let limit = page.look_ahead();
        if let Some(id) = store_id {
            own_store(&self.app, &organization_id, id).await?;
        }
        let mut tx = self.app.db.read().await.map_err(Error::from)?;
        let found = match store_id {
            Some(id) => api_logs::logs_of_store(&mut tx, id, before, filter, limit).await,
            None => api_logs::logs(&mut tx, &organization_id, before, filter, limit).await,
        };
        let found = found.map_err(Error::from)?;
        tx.save().await.map_err(Error::from)?;
        let place = |log: &ApiLog| Cursor {
            at: log.created_at,
            id: log.id.0,
        };
        Ok(Json(Page::of(found, page, place)))
    }

    /// Push the stock of a store now
    ///
    /// What is due is told to its marketplace as soon as may be. A gate that is closed stays
    /// closed.
    #[oai(
        path = "/stores/:storeId/stock-sync/trigger",
        method = "post",
        operation_id = "trigger_stock_sync"
    )]
    async fn trigger_stock_sync(
        &self,
        caller: Caller,
        /// A key of yours: the same request with it has one effect and, for 24 hours, one answer.
        #[oai(name = "Idempotency-Key")]
        once: Once,
        /// The store.
        #[oai(name = "storeId", example = "example_id")]
        store_id: Path<String>,
        /// Whose store.
        #[oai(name = "organizationId", example = "example_organization")]
        organization_id: Query<Option<String>>,
    ) -> Result<Accepted, Problem> {
        let (organization_id, id) = named::store(&caller, organization_id.as_deref(), &store_id)?;
        once.begin(&self.app, Scope::organization(&organization_id))
            .await?;
        let store = own_store(&self.app, &organization_id, id).await?;
        let obstacles = obstacles(&self.app, &store);
        if !obstacles.is_empty() {
            return Err(Error::StoreNotEligible(obstacles).into());
        }
        let job_id = PushStock { store_id: id }.identity();
        let enqueued = Enqueued { job_id };
        let tx = self.app.db.write().await.map_err(Error::from)?;
        let answer = Answer::json(&enqueued).with_status(StatusCode::ACCEPTED);
        once.save(tx, answer).await?;
        enqueue_again(&self.app, id).await;
        caller.has_done("trigger", "stock_sync", id);
        Ok(Accepted::Enqueued(Json(enqueued)))
    }

    /// Compare a store with its marketplace
    ///
    /// Reads what the marketplace shows of every product that the store lists, and has told again
    /// what is wrong.
    #[oai(
        path = "/stores/:storeId/stock-sync/reconcile",
        method = "post",
        operation_id = "reconcile_stock"
    )]
    async fn reconcile_stock(
        &self,
        caller: Caller,
        /// A key of yours: the same request with it has one effect and, for 24 hours, one answer.
        #[oai(name = "Idempotency-Key")]
        once: Once,
        /// The store.
        #[oai(name = "storeId", example = "example_id")]
        store_id: Path<String>,
        /// Whose store.
        #[oai(name = "organizationId", example = "example_organization")]
        organization_id: Query<Option<String>>,
    ) -> Result<Accepted, Problem> {
        let (organization_id, id) = named::store(&caller, organization_id.as_deref(), &store_id)?;
        once.begin(&self.app, Scope::organization(&organization_id))
            .await?;
        own_store(&self.app, &organization_id, id).await?;
        let job_id = ReconcileStock { store_id: id }.identity();
        let enqueued = Enqueued { job_id };
        let mut tx = self.app.db.write().await.map_err(Error::from)?;
        let now = self.app.clock.now();
        request_reconcile(&mut tx, id, now)
            .await
            .map_err(Error::from)?;
        once.save(
            tx,
            Answer::json(&enqueued).with_status(StatusCode::ACCEPTED),
        )
        .await?;
        enqueue_reconcile(&self.app, id).await;
        caller.has_done("reconcile", "stock_sync", id);
        Ok(Accepted::Enqueued(Json(enqueued)))
    }

    /// Show how far the rollout is
    ///
    /// Which phase the organization is in, and whether everything is so that all of its stores may
    /// go live; the figures are of the last seven days.
    #[oai(
        path = "/stock-rollout",
        method = "get",
        operation_id = "get_stock_rollout"
    )]
    async fn get_stock_rollout(
        &self,
        caller: Caller,
        /// Whose stores.
        #[oai(name = "organizationId", example = "example_organization")]
        organization_id: Query<Option<String>>,
    ) -> Result<Json<StockRollout>, Problem> {
        let values = [("organizationId", organization_id.as_deref())];
        let (organization_id, ()) = named::read(&caller, &values, |_| Some(()))?;
        let rollout = rollout(&self.app, &organization_id).await?;
        Ok(Json(rollout.into()))
    }
}
