//! The routes of warehouses, shelves, and counting.

use std::collections::BTreeSet;
use std::sync::Arc;

use jobs::StoreId;
use poem::http::StatusCode;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};

use super::adjust::{Adjustment, adjust_stock};
use super::error::Error;
use super::model::{ProductId, ShelfId, WarehouseId};
use super::named::{example_id, example_organization, own, own_page};
use super::recount::recount_now;
use super::shelves::{
    Handled, Handling, Shelf, ShelfStock, add_stock, create_shelf, list_shelf_stock, list_shelves,
    remove_stock,
};
use super::warehouse_shapes::{
    AdjustStock, CreateShelf, CreateWarehouse, LevelView, MoveShelfStock, ShelfStockView,
    ShelfView, WarehouseStores, WarehouseView,
};
use super::warehouses::{LinkedWarehouse, create_warehouse, list_warehouses, set_stores};
use crate::App;
use crate::db::{Tx, persist};
use crate::http::Tag;
use crate::http::auth::Caller;
use crate::http::body::JsonBody;
use crate::http::idempotency::{Answer, Once, Scope};
use crate::http::page::Page;
use crate::http::problem::Problem;
use crate::webhooks::enqueue_recorded;

/// Warehouses and what lies there.
#[derive(Clone)]
pub struct WarehousesApi {
    app: Arc<App>,
}

impl WarehousesApi {
    /// The routes over a running service.
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[derive(ApiResponse)]
enum WarehouseCreated {
    /// It is made.
    #[oai(status = 201)]
    Created(Json<WarehouseView>),
}

#[derive(ApiResponse)]
enum ShelfCreated {
    /// It is made.
    #[oai(status = 201)]
    Created(Json<ShelfView>),
}

/// Which way units go.
#[derive(Clone, Copy)]
enum Way {
    In,
    Out,
}

#[OpenApi(tag = "Tag::Stock")]
impl WarehousesApi {
    /// Make a warehouse
    #[oai(
        path = "/warehouses",
        method = "post",
        operation_id = "create_warehouse"
    )]
    async fn create_warehouse(
        &self,
        caller: Caller,
        /// A key of yours: the same request with it has one effect and, for 24 hours, one answer.
        #[oai(name = "Idempotency-Key")]
        once: Once,
        body: JsonBody<CreateWarehouse>,
    ) -> Result<WarehouseCreated, Problem> {
        let CreateWarehouse {
            organization_id,
            name,
            code,
        } = body.0;
        caller.may_act_for(&organization_id)?;
        once.begin(&self.app, Scope::organization(&organization_id))
            .await?;
        let mut tx = self.app.db.write().await.map_err(Error::from)?;
        let made = create_warehouse(&self.app, &mut tx, organization_id, name, code).await?;
        let id = made.warehouse.id;
        let view = WarehouseView::from(made);
        once.save(tx, Answer::json(&view).with_status(StatusCode::CREATED))
            .await?;
        caller.has_done("create", "warehouse", id);
        Ok(WarehouseCreated::Created(Json(view)))
    }

    /// List warehouses
    ///
    /// Of an organization, the oldest first, with the stores that sell what lies there.
    #[oai(path = "/warehouses", method = "get", operation_id = "list_warehouses")]
    async fn list_warehouses(
        &self,
        caller: Caller,
        /// Whose warehouses.
        #[oai(name = "organizationId", example = "example_organization")]
        query: Query<Option<String>>,
        /// At most so many: 1 to 100, 50 by default.
        limit: Query<Option<String>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Json<Page<WarehouseView>>, Problem> {
        let wanted = (limit.as_deref(), cursor.as_deref());
        let (organization_id, [], page) = own_page(&caller, query.0.as_deref(), [], wanted)?;
        let found = list_warehouses(&self.app, &organization_id, page).await?;
        Ok(Json(Page::of(found, page, LinkedWarehouse::place)))
    }

    /// Say which stores sell what lies in a warehouse
    ///
    /// All of them; those that are left out no longer do. What they can sell is worked out anew, and
    /// their marketplaces are told. It counts for stores whose `stockSource` is `WAREHOUSE`.
    #[oai(
        path = "/warehouses/:id/stores",
        method = "put",
        operation_id = "update_warehouse_stores"
    )]
    async fn update_warehouse_stores(
        &self,
        caller: Caller,
        /// Of the warehouse.
        #[oai(example = "example_id")]
        id: Path<String>,
        /// Whose warehouse.
        #[oai(name = "organizationId", example = "example_organization")]
        query: Query<Option<String>>,
        body: JsonBody<WarehouseStores>,
    ) -> Result<Json<WarehouseView>, Problem> {
        let (organization_id, [id]) = own(&caller, query.0.as_deref(), [("id", &id)])?;
        let stores = body.0.store_ids.into_iter().map(StoreId);
        let stores: BTreeSet<StoreId> = stores.collect();
        let linked = persist(|| async {
            let mut tx = self.app.db.write().await?;
            let (organization_id, id) = (&organization_id, WarehouseId(id));
            let linked =
                set_stores(&self.app, &mut tx, organization_id, id, stores.clone()).await?;
            tx.save().await?;
            Ok::<_, Error>(linked)
        })
        .await?;
        caller.has_done("update_stores", "warehouse", id);
        recount_now(&self.app, &organization_id).await;
        Ok(Json(linked.into()))
    }

    /// Make a shelf
    #[oai(
        path = "/warehouses/:id/shelves",
        method = "post",
        operation_id = "create_shelf"
    )]
    async fn create_shelf(
        &self,
        caller: Caller,
        /// A key of yours: the same request with it has one effect and, for 24 hours, one answer.
        #[oai(name = "Idempotency-Key")]
        once: Once,
        /// Of the warehouse.
        #[oai(example = "example_id")]
        id: Path<String>,
        /// Whose warehouse.
        #[oai(name = "organizationId", example = "example_organization")]
        query: Query<Option<String>>,
        body: JsonBody<CreateShelf>,
    ) -> Result<ShelfCreated, Problem> {
        let (organization_id, [id]) = own(&caller, query.0.as_deref(), [("id", &id)])?;
        once.begin(&self.app, Scope::organization(&organization_id))
            .await?;
        let mut tx = self.app.db.write().await.map_err(Error::from)?;
        let (id, code) = (WarehouseId(id), body.0.code);
        let made = create_shelf(&self.app, &mut tx, &organization_id, id, code).await?;
        let made_id = made.id;
        let view = ShelfView::from(made);
        once.save(tx, Answer::json(&view).with_status(StatusCode::CREATED))
            .await?;
        caller.has_done("create", "shelf", made_id);
        Ok(ShelfCreated::Created(Json(view)))
    }

    /// List the shelves of a warehouse
    ///
    /// The oldest first.
    #[oai(
        path = "/warehouses/:id/shelves",
        method = "get",
        operation_id = "list_shelves"
    )]
    async fn list_shelves(
        &self,
        caller: Caller,
        /// Of the warehouse.
        #[oai(example = "example_id")]
        id: Path<String>,
        /// Whose warehouse.
        #[oai(name = "organizationId", example = "example_organization")]
        query: Query<Option<String>>,
        /// At most so many: 1 to 100, 50 by default.
        limit: Query<Option<String>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Json<Page<ShelfView>>, Problem> {
        let wanted = (limit.as_deref(), cursor.as_deref());
        let (organization_id, [id], page) =
            own_page(&caller, query.0.as_deref(), [("id", &id)], wanted)?;
        let found = list_shelves(&self.app, &organization_id, WarehouseId(id), page).await?;
        Ok(Json(Page::of(found, page, Shelf::place)))
    }

    /// Put units on a shelf
    ///
    /// Orders that wait for them have them before anybody else.
    #[oai(
        path = "/shelves/:shelfId/stock/add",
        method = "post",
        operation_id = "add_shelf_stock"
    )]
    async fn add_shelf_stock(
        &self,
        caller: Caller,
        /// A key of yours: the same request with it has one effect and, for 24 hours, one answer.
        #[oai(name = "Idempotency-Key")]
        once: Once,
        /// Of the shelf.
        #[oai(name = "shelfId", example = "example_id")]
        shelf_id: Path<String>,
        /// Whose shelf.
        #[oai(name = "organizationId", example = "example_organization")]
        query: Query<Option<String>>,
        body: JsonBody<MoveShelfStock>,
    ) -> Result<Json<ShelfStockView>, Problem> {
        let ids = [("shelfId", shelf_id.as_str())];
        let (organization_id, [shelf_id]) = own(&caller, query.0.as_deref(), ids)?;
        let place = (&*organization_id, ShelfId(shelf_id));
        self.move_shelf_stock(&caller, &once, place, &body.0, Way::In)
            .await
    }

    /// Take units from a shelf
    ///
    /// With `reservationRef` they are what that order has reserved; it is fulfilled when nothing of it is
    /// left. A store that has reserved more than there is then is told with `stock.deficit`.
    #[oai(
        path = "/shelves/:shelfId/stock/remove",
        method = "post",
        operation_id = "remove_shelf_stock"
    )]
    async fn remove_shelf_stock(
        &self,
        caller: Caller,
        /// A key of yours: the same request with it has one effect and, for 24 hours, one answer.
        #[oai(name = "Idempotency-Key")]
        once: Once,
        /// Of the shelf.
        #[oai(name = "shelfId", example = "example_id")]
        shelf_id: Path<String>,
        /// Whose shelf.
        #[oai(name = "organizationId", example = "example_organization")]
        query: Query<Option<String>>,
        body: JsonBody<MoveShelfStock>,
    ) -> Result<Json<ShelfStockView>, Problem> {
        let ids = [("shelfId", shelf_id.as_str())];
        let (organization_id, [shelf_id]) = own(&caller, query.0.as_deref(), ids)?;
        let place = (&*organization_id, ShelfId(shelf_id));
        self.move_shelf_stock(&caller, &once, place, &body.0, Way::Out)
            .await
    }

    /// List what lies on a shelf
    ///
    /// By product.
    #[oai(
        path = "/shelves/:shelfId/stock",
        method = "get",
        operation_id = "list_shelf_stock"
    )]
    async fn list_shelf_stock(
        &self,
        caller: Caller,
        /// Of the shelf.
        #[oai(name = "shelfId", example = "example_id")]
        shelf_id: Path<String>,
        /// Whose shelf.
        #[oai(name = "organizationId", example = "example_organization")]
        query: Query<Option<String>>,
        /// At most so many: 1 to 100, 50 by default.
        limit: Query<Option<String>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Json<Page<ShelfStockView>>, Problem> {
        let wanted = (limit.as_deref(), cursor.as_deref());
        let ids = [("shelfId", shelf_id.as_str())];
        let (organization_id, [id], page) = own_page(&caller, query.0.as_deref(), ids, wanted)?;
        let found = list_shelf_stock(&self.app, &organization_id, ShelfId(id), page).await?;
        Ok(Json(Page::of(found, page, ShelfStock::place)))
    }

    /// Adjust the quantity of a product in a store
    ///
    /// For a store whose quantities are its own (`stockSource` is `DIRECT`). Orders that wait for
    /// what is more have it before anybody else.
    #[oai(
        path = "/stores/:storeId/products/:productId/adjustments",
        method = "post",
        operation_id = "create_adjustment"
    )]
    async fn create_adjustment(
        &self,
        caller: Caller,
        /// A key of yours: the same request with it has one effect and, for 24 hours, one answer.
        #[oai(name = "Idempotency-Key")]
        once: Once,
        /// Of the store.
        #[oai(name = "storeId", example = "example_id")]
        store_id: Path<String>,
        /// Of the product.
        #[oai(name = "productId", example = "example_id")]
        product_id: Path<String>,
        /// Whose store.
        #[oai(name = "organizationId", example = "example_organization")]
        query: Query<Option<String>>,
        body: JsonBody<AdjustStock>,
    ) -> Result<Json<LevelView>, Problem> {
        let ids = [
            ("storeId", store_id.as_str()),
            ("productId", product_id.as_str()),
        ];
        let (organization_id, [store_id, product_id]) = own(&caller, query.0.as_deref(), ids)?;
        once.begin(&self.app, Scope::organization(&organization_id))
            .await?;
        let adjustment = Adjustment {
            organization_id: &organization_id,
            store_id: StoreId(store_id),
            product_id: ProductId(product_id),
            count: body.0.count(),
            note: body.0.note.as_deref(),
            idempotency_key: once.key(),
        };
        let (tx, level) = persist(|| async {
            let mut tx = self.app.db.write().await?;
            let level = adjust_stock(&self.app, &mut tx, &adjustment).await?;
            Ok::<_, Error>((tx, level))
        })
        .await?;
        let view = LevelView::from(level);
        once.save(tx, Answer::json(&view)).await?;
        caller.has_done("adjust", "product", product_id);
        Ok(Json(view))
    }
}

impl WarehousesApi {
    async fn move_shelf_stock(
        &self,
        caller: &Caller,
        once: &Once,
        (organization_id, shelf_id): (&str, ShelfId),
        body: &MoveShelfStock,
        way: Way,
    ) -> Result<Json<ShelfStockView>, Problem> {
        once.begin(&self.app, Scope::organization(organization_id))
            .await?;
        let handling = Handling {
            organization_id,
            shelf_id,
            product_id: ProductId(body.product_id),
            quantity: body.quantity,
            reservation_ref: body.reservation_ref.as_deref(),
            store_id: body.store_id.map(StoreId),
            idempotency_key: once.key(),
        };
        let (tx, handled): (Tx, Handled) = persist(|| async {
            let mut tx = self.app.db.write().await?;
            let handled = match way {
                Way::In => add_stock(&self.app, &mut tx, &handling).await?,
                Way::Out => remove_stock(&self.app, &mut tx, &handling).await?,
            };
            Ok::<_, Error>((tx, handled))
        })
        .await?;
        let view = ShelfStockView::from(handled.stock);
        once.save(tx, Answer::json(&view)).await?;
        for recorded in handled.recorded {
            enqueue_recorded(&self.app, recorded).await;
        }
        let action = match way {
            Way::In => "add_stock",
            Way::Out => "remove_stock",
        };
        caller.has_done(action, "shelf", shelf_id);
        Ok(Json(view))
    }
}
