//! The routes below `/admin/api/stock`.

use std::sync::Arc;

use jobs::{PushId, StoreId};
use poem::error::NotFoundError;
use poem::web::{Data, Json, Path, Query};
use poem::{Endpoint, Request, Result, Route, get, handler, post};

use super::lists::{self, PairPlace, StockState};
use super::push;
use super::views::{BlockedView, PushDetails, PushView, StockStoreView};
use crate::App;
use crate::admin::login::Operator;
use crate::admin::operators::request::{
    ListQuery, Target, database, log_action, only, target, uuid,
};
use crate::admin::operators::views::{Done, Listed};
use crate::http::fields::Fields;
use crate::http::problem::Problem;
use crate::stock;
use crate::stock::model::{ProductId, PushMode};

/// Everything below `/admin/api/stock`.
pub(in crate::admin::operators) fn routes() -> impl Endpoint {
    Route::new()
        .at("/stores", only("GET", get(list_stores)))
        .at("/blocked", only("GET", get(list_blocked)))
        .at("/pushes", only("GET", get(list_pushes)))
        .at("/pushes/:id", only("GET", get(show_push)))
        .at("/stores/:id/:action", only("POST", post(act_on_store)))
        .at(
            "/stores/:id/products/:product/:action",
            only("POST", post(act_on_product)),
        )
}

#[handler]
async fn list_stores(
    Data(app): Data<&Arc<App>>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Listed<StockStoreView>>> {
    let (state, page) = query.state(&[
        ("all", StockState::All),
        ("pushed", StockState::Pushed),
        ("waiting", StockState::Waiting),
        ("overdue", StockState::Overdue),
        ("closed", StockState::Closed),
    ])?;
    let found = lists::list_stores(app, state, page).await;
    Ok(Json(found.map_err(database)?))
}

#[handler]
async fn list_blocked(
    Data(app): Data<&Arc<App>>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Listed<BlockedView>>> {
    let (store_id, page, after) =
        query.read_with_place::<_, PairPlace>(|fields| fields.optional("storeId", Fields::uuid))?;
    let found = lists::list_blocked(app, store_id.map(StoreId), page.limit, after).await;
    Ok(Json(found.map_err(database)?))
}

#[handler]
async fn list_pushes(
    Data(app): Data<&Arc<App>>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Listed<PushView>>> {
    let (store_id, page) = query.read(|fields| fields.optional("storeId", Fields::uuid))?;
    let found = lists::list_pushes(app, store_id.map(StoreId), page).await;
    Ok(Json(found.map_err(database)?))
}

#[handler]
async fn show_push(
    Data(app): Data<&Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<PushDetails>> {
    let id = PushId(uuid("id", &id)?);
    let found = push::show_push(app, id).await.map_err(database)?;
    let found = found.ok_or_else(|| Problem::not_found("Push not found"))?;
    Ok(Json(found))
}

#[handler]
async fn act_on_store(
    Data(app): Data<&Arc<App>>,
    Path((id, action)): Path<(String, String)>,
    request: &Request,
) -> Result<Json<Done>> {
    let id = StoreId(target(request, &id)?);
    let done = match action.as_str() {
        "push" => stock::push_now(app, id).await,
        "resync" => stock::resync_now(app, id).await,
        "pause" => stock::set_push_mode(app, id, PushMode::Off).await,
        "dry-run" => stock::set_push_mode(app, id, PushMode::DryRun).await,
        "live" => stock::set_push_mode(app, id, PushMode::Live).await,
        _ => return Err(NotFoundError.into()),
    };
    let done = done.map(Done::from);
    log_action(
        Operator::of(request),
        &action,
        Target::of("stock", id),
        &done,
    );
    Ok(Json(done.map_err(Problem::from)?))
}

#[handler]
async fn act_on_product(
    Data(app): Data<&Arc<App>>,
    Path((id, product, action)): Path<(String, String, String)>,
    request: &Request,
) -> Result<Json<Done>> {
    let id = StoreId(target(request, &id)?);
    let product = ProductId(uuid("product", &product)?);
    let done = match action.as_str() {
        "unblock" => stock::unblock_product(app, id, product).await,
        _ => return Err(NotFoundError.into()),
    };
    let done = done.map(Done::from);
    let target = Target::of("product", product).in_store(id);
    log_action(Operator::of(request), &action, target, &done);
    Ok(Json(done.map_err(Problem::from)?))
}
