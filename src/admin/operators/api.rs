//! The routes below `/admin`: the pages, what they read, what they do.
//!
//! They are for whoever passed the login of the admin listener, for all organizations. Actions
//! are POSTs that say they are JSON: a form of another site cannot say that.

use std::sync::Arc;

use jobs::{OutboxId, StoreId};
use poem::error::NotFoundError;
use poem::http::{StatusCode, header};
use poem::middleware::SetHeader;
use poem::web::{Data, Json, Path, Query, Redirect};
use poem::{
    Endpoint, EndpointExt, Error, IntoResponse, Request, Response, Result, Route,
    endpoint::make_sync, get, handler, post,
};

use super::lists::{self, EndpointState, StoreState};
use super::overview::overview;
use super::page::{
    show_common, show_page, show_script, show_stock_page, show_stock_script, show_style,
};
use super::request::{ListQuery, Target, database, log_action, only, target};
use super::stock;
use super::views::{
    DeadCallbackView, DeadOrderView, Done, EndpointView, Listed, Overview, StoreView,
};
use crate::App;
use crate::admin::login::Operator;
use crate::http::fields::Fields;
use crate::http::kind::VALIDATION_ERROR;
use crate::http::problem::Problem;
use crate::marketplace::{self, Hurried};
use crate::timestamp;
use crate::webhooks;
use crate::webhooks::model::EndpointId;
use crate::webhooks::outbox::requeue;

/// Everything below `/admin`.
pub fn routes(app: &Arc<App>) -> impl Endpoint + use<> {
    let api = Route::new()
        .at("/overview", only("GET", get(show_overview)))
        .at("/stores", only("GET", get(list_stores)))
        .at("/endpoints", only("GET", get(list_endpoints)))
        .at("/dead-letters/orders", only("GET", get(list_dead_orders)))
        .at(
            "/dead-letters/callbacks",
            only("GET", get(list_dead_callbacks)),
        )
        .at("/stores/:id/:action", only("POST", post(act_on_store)))
        .at(
            "/endpoints/:id/:action",
            only("POST", post(act_on_endpoint)),
        )
        .at(
            "/callbacks/:id/:action",
            only("POST", post(act_on_callback)),
        )
        .nest("/stock", stock::api::routes())
        .data(app.clone());
    let page = Route::new()
        .at("/", get(show_page))
        .at("/stock", get(show_stock_page))
        .at("/common.js", get(show_common))
        .at("/operators.css", get(show_style))
        .at("/operators.js", get(show_script))
        .at("/stock.js", get(show_stock_script))
        .at(
            "/index.html",
            get(make_sync(|_| Redirect::permanent("/admin/"))),
        );
    let api = api
        .catch_all_error(|error| async move { answer(error) })
        .with(SetHeader::new().overriding(header::CACHE_CONTROL, "no-store"));
    page.nest("/api", api)
}

/// Whatever went wrong, as a problem.
fn answer(error: Error) -> Response {
    if error.is_from_response() {
        return error.into_response();
    }
    let status = error.status();
    if status == StatusCode::NOT_FOUND {
        Problem::not_found("Not found").into_response()
    } else if status.is_client_error() {
        Problem::of(VALIDATION_ERROR, error.to_string()).into_response()
    } else {
        Problem::internal(&error).into_response()
    }
}

#[handler]
async fn show_overview(Data(app): Data<&Arc<App>>) -> Result<Json<Overview>> {
    Ok(Json(overview(app).await.map_err(database)?))
}

#[handler]
async fn list_stores(
    Data(app): Data<&Arc<App>>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Listed<StoreView>>> {
    let (state, page) = query.state(&[
        ("all", StoreState::All),
        ("failing", StoreState::Failing),
        ("overdue", StoreState::Overdue),
        ("dead_letters", StoreState::DeadLetters),
        ("paused", StoreState::Paused),
    ])?;
    let found = lists::list_stores(app, state, page).await;
    Ok(Json(found.map_err(database)?))
}

#[handler]
async fn list_endpoints(
    Data(app): Data<&Arc<App>>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Listed<EndpointView>>> {
    let (state, page) = query.state(&[
        ("all", EndpointState::All),
        ("open", EndpointState::Open),
        ("inactive", EndpointState::Inactive),
        ("paused", EndpointState::Paused),
    ])?;
    let found = lists::list_endpoints(app, state, page).await;
    Ok(Json(found.map_err(database)?))
}

#[handler]
async fn list_dead_orders(
    Data(app): Data<&Arc<App>>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Listed<DeadOrderView>>> {
    let (store_id, page) = query.read(|fields| fields.optional("storeId", Fields::uuid))?;
    let found = lists::list_dead_orders(app, store_id.map(StoreId), page).await;
    Ok(Json(found.map_err(database)?))
}

#[handler]
async fn list_dead_callbacks(
    Data(app): Data<&Arc<App>>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Listed<DeadCallbackView>>> {
    let ((), page) = query.read(|_| Some(()))?;
    let found = lists::list_dead_callbacks(app, page).await;
    Ok(Json(found.map_err(database)?))
}

#[handler]
async fn act_on_store(
    Data(app): Data<&Arc<App>>,
    Path((id, action)): Path<(String, String)>,
    request: &Request,
) -> Result<Json<Done>> {
    let id = StoreId(target(request, &id)?);
    let done = match action.as_str() {
        "sync" => marketplace::sync_now(app, id).await.map(Done::from),
        "requeue" => marketplace::requeue_receipts(app, id).await.map(Done::from),
        "pause" => marketplace::pause_store(app, id).await.map(Done::from),
        "resume" => marketplace::resume_store(app, id).await.map(Done::from),
        _ => return Err(NotFoundError.into()),
    };
    log_action(
        Operator::of(request),
        &action,
        Target::of("store", id),
        &done,
    );
    Ok(Json(done.map_err(Problem::from)?))
}

#[handler]
async fn act_on_endpoint(
    Data(app): Data<&Arc<App>>,
    Path((id, action)): Path<(String, String)>,
    request: &Request,
) -> Result<Json<Done>> {
    let id = EndpointId(target(request, &id)?);
    let done = match action.as_str() {
        "pause" => webhooks::pause_endpoint(app, id).await,
        "resume" => webhooks::resume_endpoint(app, id).await,
        "probe" => webhooks::probe_endpoint(app, id).await,
        _ => return Err(NotFoundError.into()),
    };
    let done = done.map(Done::from);
    log_action(
        Operator::of(request),
        &action,
        Target::of("endpoint", id),
        &done,
    );
    Ok(Json(done.map_err(Problem::from)?))
}

#[handler]
async fn act_on_callback(
    Data(app): Data<&Arc<App>>,
    Path((id, action)): Path<(String, String)>,
    request: &Request,
) -> Result<Json<Done>> {
    let id = OutboxId(target(request, &id)?);
    let done = match action.as_str() {
        "requeue" => requeue(app, id, None).await.map(|()| Done::from(true)),
        _ => return Err(NotFoundError.into()),
    };
    log_action(
        Operator::of(request),
        &action,
        Target::of("callback", id),
        &done,
    );
    Ok(Json(done.map_err(Problem::from)?))
}

impl From<bool> for Done {
    fn from(is_changed: bool) -> Self {
        Self {
            is_changed,
            ..Self::default()
        }
    }
}

impl From<Hurried> for Done {
    fn from(hurried: Hurried) -> Self {
        Self {
            is_changed: hurried.receipts > 0 || hurried.is_enqueued,
            orders: Some(hurried.receipts),
            has_more: Some(hurried.has_more),
            is_enqueued: Some(hurried.is_enqueued),
        }
    }
}

impl From<marketplace::OperateError> for Problem {
    fn from(error: marketplace::OperateError) -> Self {
        use marketplace::OperateError as E;
        match error {
            E::StoreNotFound => Self::not_found("Store not found"),
            E::Paused => Self::conflict("store_paused", "The store is paused: resume it first"),
            E::LeftInPeace(until) => Self::conflict(
                "marketplace_pause",
                format!(
                    "The marketplace wants to be left in peace until {}",
                    timestamp::format(until)
                ),
            ),
            E::Database(error) => database(error),
        }
    }
}

impl From<webhooks::OperateError> for Problem {
    fn from(error: webhooks::OperateError) -> Self {
        use webhooks::OperateError as E;
        match error {
            E::SwitchedOff => Self::conflict(
                "webhook_switched_off",
                "Its organization switched the webhook off, and only it can switch it on",
            ),
            E::Inactive => Self::conflict("webhook_inactive", "The webhook is inactive"),
            E::Endpoint(error) => error.into(),
        }
    }
}
