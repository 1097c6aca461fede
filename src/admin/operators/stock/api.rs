//! The routes below `/admin/api/stock`.

use std::sync::Arc;

use jobs::{PushId, StoreId};
use poem::web::{Data, Json, Path, Query};
use poem::{Endpoint, Result, Route, get, handler};

use super::lists::{self, PairPlace, StockState};
use super::push;
use super::views::{BlockedView, PushDetails, PushView, StockStoreView};
use crate::App;
use crate::admin::operators::request::{ListQuery, database, only, uuid};
use crate::admin::operators::views::Listed;
use crate::http::fields::Fields;
use crate::http::problem::Problem;

/// Everything below `/admin/api/stock`.
pub(in crate::admin::operators) fn routes() -> impl Endpoint {
    Route::new()
        .at("/stores", only("GET", get(list_stores)))
        .at("/blocked", only("GET", get(list_blocked)))
        .at("/pushes", only("GET", get(list_pushes)))
        .at("/pushes/:id", only("GET", get(show_push)))
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
    let (store_id, page, after) = query.read_with_place::<_, PairPlace>(store)?;
    let found = lists::list_blocked(app, store_id, page.limit, after).await;
    Ok(Json(found.map_err(database)?))
}

#[handler]
async fn list_pushes(
    Data(app): Data<&Arc<App>>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Listed<PushView>>> {
    let (store_id, page) = query.read(store)?;
    let found = lists::list_pushes(app, store_id, page).await;
    Ok(Json(found.map_err(database)?))
}

/// The store that a list is about; any when the caller does not say.
fn store(fields: &mut Fields<'_>) -> Option<Option<StoreId>> {
    let id = fields.optional("storeId", Fields::uuid)?;
    Some(id.map(StoreId))
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
