//! The routes of products: what they are, where they are sold, how many there are.

use std::sync::Arc;

use poem::http::StatusCode;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};

use super::catalog_shapes::{
    CreateProduct, ProductDetails, ProductView, ReplaceBarcodes, SetItems, UpdateProduct,
    product_filter,
};
use super::error::Error;
use super::level_shapes::{AvailabilityView, Enqueued, LevelView, UpdateListing, level_filter};
use super::levels::{self, StockLevel};
use super::listings::{ListingChange, change_listing, unblock};
use super::model::{Product, ProductId};
use super::named::{self, example_id, example_organization};
use super::products::{self, ProductChange, create_product};
use super::queries::products::SetItem;
use crate::App;
use crate::db::persist;
use crate::http::Tag;
use crate::http::auth::Caller;
use crate::http::body::JsonBody;
use crate::http::idempotency::{Answer, Once, Scope};
use crate::http::page::{Cursor, Page, PageRequest};
use crate::http::problem::Problem;

/// Products, sets, and where they are sold.
#[derive(Clone)]
pub struct CatalogApi {
    app: Arc<App>,
}

impl CatalogApi {
    /// The routes over a running service.
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

/// The answer to a creation.
#[derive(ApiResponse)]
enum Created {
    /// It is created.
    #[oai(status = 201)]
    Created(Json<ProductDetails>),
}

/// The answer to what was put into the queue.
#[derive(ApiResponse)]
pub(super) enum EnqueueAnswer {
    /// They are in the queue.
    #[oai(status = 202)]
    Enqueued(Json<Enqueued>),
}

fn product_place(product: &Product) -> Cursor {
    Cursor {
        at: product.created_at,
        id: product.id.0,
    }
}

#[OpenApi(tag = "Tag::Stock")]
impl CatalogApi {
    /// Create a product
    ///
    /// A simple one, or a set that is made of simple ones (put together by its set items).
    #[oai(path = "/products", method = "post", operation_id = "create_product")]
    async fn create_product(
        &self,
        caller: Caller,
        /// A key of yours: the same request with it has one effect and, for 24 hours, one answer.
        #[oai(name = "Idempotency-Key")]
        once: Once,
        body: JsonBody<CreateProduct>,
    ) -> Result<Created, Problem> {
        caller.may_act_for(&body.organization_id)?;
        let scope = Scope::organization(&body.organization_id);
        once.begin(&self.app, scope).await?;
        let mut tx = self.app.db.write().await.map_err(Error::from)?;
        let product = create_product(&self.app, &mut tx, body.0.into()).await?;
        let id = product.product.id;
        let product = ProductDetails::from(product);
        once.save(tx, Answer::json(&product).with_status(StatusCode::CREATED))
            .await?;
        caller.has_done("create", "product", id);
        Ok(Created::Created(Json(product)))
    }

    /// List products
    ///
    /// In the order they were created.
    #[oai(path = "/products", method = "get", operation_id = "list_products")]
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a parameter of the query"
    )]
    async fn list_products(
        &self,
        caller: Caller,
        /// Whose products.
        #[oai(name = "organizationId", example = "example_organization")]
        organization_id: Query<Option<String>>,
        /// Those that have it, be it one of their further barcodes.
        barcode: Query<Option<String>>,
        /// The one that has it.
        sku: Query<Option<String>>,
        /// Those of a type.
        #[oai(name = "productType")]
        product_type: Query<Option<String>>,
        /// Those with this in their name, SKU or barcode, in capitals or not.
        q: Query<Option<String>>,
        /// At most so many: 1 to 500, 50 by default.
        limit: Query<Option<String>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Json<Page<ProductView>>, Problem> {
        let values = [
            ("organizationId", organization_id.as_deref()),
            ("barcode", barcode.as_deref()),
            ("sku", sku.as_deref()),
            ("productType", product_type.as_deref()),
            ("q", q.as_deref()),
            ("limit", limit.as_deref()),
            ("cursor", cursor.as_deref()),
        ];
        let (organization_id, (filter, page)) = named::read(&caller, &values, |fields| {
            let filter = product_filter(fields);
            let page = PageRequest::from_fields_of_long_list(fields);
            Some((filter?, page?))
        })?;
        let found = products::list_products(&self.app, &organization_id, &filter, page).await?;
        Ok(Json(Page::of(found, page, product_place)))
    }

    /// Show a product
    #[oai(
        path = "/products/:productId",
        method = "get",
        operation_id = "get_product"
    )]
    async fn get_product(
        &self,
        caller: Caller,
        /// The product.
        #[oai(name = "productId", example = "example_id")]
        product_id: Path<String>,
        /// Whose product.
        #[oai(name = "organizationId", example = "example_organization")]
        organization_id: Query<Option<String>>,
    ) -> Result<Json<ProductDetails>, Problem> {
        let (organization_id, id) =
            named::product(&caller, organization_id.as_deref(), &product_id)?;
        let product = products::get_product(&self.app, &organization_id, id).await?;
        Ok(Json(product.into()))
    }

    /// Change a product
    ///
    /// With another SKU or barcode it is told anew to the marketplace of every store that lists
    /// it. What it is (`productType`) cannot be changed.
    #[oai(
        path = "/products/:productId",
        method = "patch",
        operation_id = "update_product"
    )]
    async fn update_product(
        &self,
        caller: Caller,
        /// The product.
        #[oai(name = "productId", example = "example_id")]
        product_id: Path<String>,
        /// Whose product.
        #[oai(name = "organizationId", example = "example_organization")]
        organization_id: Query<Option<String>>,
        body: JsonBody<UpdateProduct>,
    ) -> Result<Json<ProductDetails>, Problem> {
        let (organization_id, id) =
            named::product(&caller, organization_id.as_deref(), &product_id)?;
        let change = ProductChange::from(body.0);
        let changing = || products::change_product(&self.app, &organization_id, id, change.clone());
        let product = persist(changing).await?;
        caller.has_done("update", "product", id);
        Ok(Json(product.into()))
    }

    /// Replace the further barcodes of a product
    ///
    /// Codes that orders may name it by. No marketplace is told them.
    #[oai(
        path = "/products/:productId/barcodes",
        method = "put",
        operation_id = "replace_product_barcodes"
    )]
    async fn replace_product_barcodes(
        &self,
        caller: Caller,
        /// The product.
        #[oai(name = "productId", example = "example_id")]
        product_id: Path<String>,
        /// Whose product.
        #[oai(name = "organizationId", example = "example_organization")]
        organization_id: Query<Option<String>>,
        body: JsonBody<ReplaceBarcodes>,
    ) -> Result<Json<ProductDetails>, Problem> {
        let (organization_id, id) =
            named::product(&caller, organization_id.as_deref(), &product_id)?;
        let barcodes = &body.barcodes;
        let replacing = || products::replace_barcodes(&self.app, &organization_id, id, barcodes);
        let product = persist(replacing).await?;
        caller.has_done("replace_barcodes", "product", id);
        Ok(Json(product.into()))
    }

    /// Show what a set is made of
    #[oai(
        path = "/products/:productId/set-items",
        method = "get",
        operation_id = "get_set_items"
    )]
    async fn get_set_items(
        &self,
        caller: Caller,
        /// The set.
        #[oai(name = "productId", example = "example_id")]
        product_id: Path<String>,
        /// Whose set.
        #[oai(name = "organizationId", example = "example_organization")]
        organization_id: Query<Option<String>>,
    ) -> Result<Json<SetItems>, Problem> {
        let (organization_id, id) =
            named::product(&caller, organization_id.as_deref(), &product_id)?;
        let items = products::get_set_items(&self.app, &organization_id, id).await?;
        Ok(Json(items.into()))
    }

    /// Replace what a set is made of
    ///
    /// Simple products, each in a number of 1 to 1,000,000. The marketplace of every store that
    /// lists the set is told how many they make.
    #[oai(
        path = "/products/:productId/set-items",
        method = "put",
        operation_id = "replace_set_items"
    )]
    async fn replace_set_items(
        &self,
        caller: Caller,
        /// The set.
        #[oai(name = "productId", example = "example_id")]
        product_id: Path<String>,
        /// Whose set.
        #[oai(name = "organizationId", example = "example_organization")]
        organization_id: Query<Option<String>>,
        body: JsonBody<SetItems>,
    ) -> Result<Json<SetItems>, Problem> {
        let (organization_id, id) =
            named::product(&caller, organization_id.as_deref(), &product_id)?;
        let items: Vec<SetItem> = body.0.into();
        let replacing =
            || products::replace_set_items(&self.app, &organization_id, id, items.clone());
        let items = persist(replacing).await?;
        caller.has_done("replace_set_items", "product", id);
        Ok(Json(items.into()))
    }

    /// Show the stock of a product
    ///
    /// In every store that has it: how many there are, and what its marketplace was told.
    #[oai(
        path = "/products/:productId/stock",
        method = "get",
        operation_id = "list_product_stock"
    )]
    async fn list_product_stock(
        &self,
        caller: Caller,
        /// The product.
        #[oai(name = "productId", example = "example_id")]
        product_id: Path<String>,
        /// Whose product.
        #[oai(name = "organizationId", example = "example_organization")]
        organization_id: Query<Option<String>>,
        /// At most so many: 1 to 500, 50 by default.
        limit: Query<Option<String>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Json<Page<LevelView>>, Problem> {
        let values = [
            ("organizationId", organization_id.as_deref()),
            ("productId", Some(&**product_id)),
            ("limit", limit.as_deref()),
            ("cursor", cursor.as_deref()),
        ];
        let (organization_id, (id, page)) = named::read(&caller, &values, |fields| {
            let id = fields.uuid("productId").map(ProductId);
            let page = PageRequest::from_fields_of_long_list(fields);
            Some((id?, page?))
        })?;
        let found = levels::levels_of_product(&self.app, &organization_id, id, page).await?;
        let place = |it: &StockLevel| levels::place(it.level.store_id.0);
        Ok(Json(Page::of(found, page, place)))
    }

    /// Show the stock of a store
    ///
    /// Of every product that it has: how many there are, and what its marketplace was told.
    #[oai(
        path = "/stores/:storeId/stock",
        method = "get",
        operation_id = "list_store_stock"
    )]
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a parameter of the query"
    )]
    async fn list_store_stock(
        &self,
        caller: Caller,
        /// The store.
        #[oai(name = "storeId", example = "example_id")]
        store_id: Path<String>,
        /// Whose store.
        #[oai(name = "organizationId", example = "example_organization")]
        organization_id: Query<Option<String>>,
        /// Products of a type.
        #[oai(name = "productType")]
        product_type: Query<Option<String>>,
        /// Products that the marketplace refuses, or the others.
        #[oai(name = "pushState")]
        push_state: Query<Option<String>>,
        /// Products that the marketplace is not known to show as it should (`true`), or the others.
        differing: Query<Option<String>>,
        /// At most so many: 1 to 500, 50 by default.
        limit: Query<Option<String>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Json<Page<LevelView>>, Problem> {
        let values = [
            ("organizationId", organization_id.as_deref()),
            ("storeId", Some(&**store_id)),
            ("productType", product_type.as_deref()),
            ("pushState", push_state.as_deref()),
            ("differing", differing.as_deref()),
            ("limit", limit.as_deref()),
            ("cursor", cursor.as_deref()),
        ];
        let (organization_id, (id, filter, page)) = named::read(&caller, &values, |fields| {
            let id = fields.uuid("storeId");
            let filter = level_filter(fields);
            let page = PageRequest::from_fields_of_long_list(fields);
            Some((id?.into(), filter?, page?))
        })?;
        let found = levels::levels_of_store(&self.app, &organization_id, id, filter, page).await?;
        let place = |it: &StockLevel| levels::place(it.level.product_id.0);
        Ok(Json(Page::of(found, page, place)))
    }

    /// Show how many of a product a store can sell
    ///
    /// Of a set: how many each of its components would make, and which there are too few of.
    #[oai(
        path = "/stores/:storeId/products/:productId/availability",
        method = "get",
        operation_id = "get_availability"
    )]
    async fn get_availability(
        &self,
        caller: Caller,
        /// The store.
        #[oai(name = "storeId", example = "example_id")]
        store_id: Path<String>,
        /// The product.
        #[oai(name = "productId", example = "example_id")]
        product_id: Path<String>,
        /// Whose they are.
        #[oai(name = "organizationId", example = "example_organization")]
        organization_id: Query<Option<String>>,
    ) -> Result<Json<AvailabilityView>, Problem> {
        let organization_id = organization_id.as_deref();
        let pair = named::pair(&caller, organization_id, &store_id, &product_id)?;
        let available = levels::availability(&self.app, &pair).await?;
        Ok(Json((pair, available).into()))
    }

    /// List a product in a store, or unlist it
    ///
    /// And say what the marketplace calls it there. One that is listed (again), or has another
    /// name, is told to the marketplace anew.
    #[oai(
        path = "/stores/:storeId/products/:productId",
        method = "put",
        operation_id = "update_listing"
    )]
    async fn update_listing(
        &self,
        caller: Caller,
        /// The store.
        #[oai(name = "storeId", example = "example_id")]
        store_id: Path<String>,
        /// The product.
        #[oai(name = "productId", example = "example_id")]
        product_id: Path<String>,
        /// Whose they are.
        #[oai(name = "organizationId", example = "example_organization")]
        organization_id: Query<Option<String>>,
        body: JsonBody<UpdateListing>,
    ) -> Result<Json<LevelView>, Problem> {
        let organization_id = organization_id.as_deref();
        let pair = named::pair(&caller, organization_id, &store_id, &product_id)?;
        let change = ListingChange::from(body.0);
        let level = persist(|| change_listing(&self.app, &pair, change.clone())).await?;
        caller.has_done("update_listing", "product", pair.product_id);
        Ok(Json(level.into()))
    }

    /// Let a refused product be told again
    ///
    /// Whatever its marketplace had against it; if it still does, it is refused again.
    #[oai(
        path = "/stores/:storeId/products/:productId/unblock",
        method = "post",
        operation_id = "unblock_product"
    )]
    async fn unblock_product(
        &self,
        caller: Caller,
        /// A key of yours: the same request with it has one effect and, for 24 hours, one answer.
        #[oai(name = "Idempotency-Key")]
        once: Once,
        /// The store.
        #[oai(name = "storeId", example = "example_id")]
        store_id: Path<String>,
        /// The product.
        #[oai(name = "productId", example = "example_id")]
        product_id: Path<String>,
        /// Whose they are.
        #[oai(name = "organizationId", example = "example_organization")]
        organization_id: Query<Option<String>>,
    ) -> Result<EnqueueAnswer, Problem> {
        let organization_id = organization_id.as_deref();
        let pair = named::pair(&caller, organization_id, &store_id, &product_id)?;
        let scope = Scope::organization(&pair.organization_id);
        once.begin(&self.app, scope).await?;
        let mut tx = self.app.db.write().await.map_err(Error::from)?;
        let enqueued = unblock(&self.app, &mut tx, &pair).await?;
        let enqueued = Enqueued { enqueued };
        once.save(
            tx,
            Answer::json(&enqueued).with_status(StatusCode::ACCEPTED),
        )
        .await?;
        caller.has_done("unblock", "product", pair.product_id);
        Ok(EnqueueAnswer::Enqueued(Json(enqueued)))
    }
}
