//! The routes of the stock queue, and of how stores are pushed to.

use std::sync::Arc;

use jobs::{Job, ResyncStore};
use poem::http::StatusCode;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};

use super::catalog_api::EnqueueAnswer;
use super::error::Error;
use super::level_shapes::Enqueued;
use super::model::ProductId;
use super::named::{self, example_id, example_organization};
use super::queries::queue::QueueRow;
use super::queue::{self, enqueue_by_hand, overdue_before};
use super::queue_shapes::{EnqueueProducts, QueueItem, QueueSummary, RequestedJob, queue_filter};
use super::recount::recount_now;
use super::resync::{enqueue_resync, request_own_resync};
use super::settings::{SettingsChange, change_settings, get_settings};
use super::settings_shapes::{SettingsView, UpdateStockSettings};
use crate::App;
use crate::db::persist;
use crate::http::Tag;
use crate::http::auth::Caller;
use crate::http::body::JsonBody;
use crate::http::fields::Fields;
use crate::http::idempotency::{Answer, Once, Scope};
use crate::http::page::{Cursor, Page, PageRequest};
use crate::http::problem::Problem;

/// What marketplaces have to be told, and how.
#[derive(Clone)]
pub struct StockQueueApi {
    app: Arc<App>,
}

impl StockQueueApi {
    /// The routes over a running service.
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

/// The answer to a job that was asked for.
#[derive(ApiResponse)]
pub(super) enum JobAnswer {
    /// It is in the queue, or will be within a minute.
    #[oai(status = 202)]
    Requested(Json<RequestedJob>),
}

fn row_place(row: &QueueRow) -> Cursor {
    Cursor {
        at: row.created_at,
        id: row.id.0,
    }
}

#[OpenApi(tag = "Tag::Stock")]
impl StockQueueApi {
    /// List the stock queue
    ///
    /// What marketplaces have to be told, and what they were told within the last week; the newest
    /// first.
    #[oai(
        path = "/stock-queue",
        method = "get",
        operation_id = "list_stock_queue"
    )]
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a parameter of the query"
    )]
    async fn list_stock_queue(
        &self,
        caller: Caller,
        /// Whose queue.
        #[oai(name = "organizationId", example = "example_organization")]
        organization_id: Query<Option<String>>,
        /// What is for a store.
        #[oai(name = "storeId")]
        store_id: Query<Option<String>>,
        /// What is of a product.
        #[oai(name = "productId")]
        product_id: Query<Option<String>>,
        /// What is there for a reason.
        reason: Query<Option<String>>,
        /// What waits (`PENDING`) or is done (`PROCESSED`).
        status: Query<Option<String>>,
        /// What has waited for too long (`true`), or all else.
        overdue: Query<Option<String>>,
        /// At most so many: 1 to 500, 50 by default.
        limit: Query<Option<String>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Json<Page<QueueItem>>, Problem> {
        let values = [
            ("organizationId", organization_id.as_deref()),
            ("storeId", store_id.as_deref()),
            ("productId", product_id.as_deref()),
            ("reason", reason.as_deref()),
            ("status", status.as_deref()),
            ("overdue", overdue.as_deref()),
            ("limit", limit.as_deref()),
            ("cursor", cursor.as_deref()),
        ];
        let (organization_id, (filter, page)) = named::read(&caller, &values, |fields| {
            let filter = queue_filter(fields);
            let page = PageRequest::from_fields_of_long_list(fields);
            Some((filter?, page?))
        })?;
        let mut found = queue::list_rows(&self.app, &organization_id, filter, page).await?;
        let overdue_before = overdue_before(&self.app);
        let next = page.cut(&mut found, row_place);
        let items = found.into_iter();
        Ok(Json(Page {
            items: items
                .map(|row| QueueItem::of(row, overdue_before))
                .collect(),
            next_cursor: next.map(|next| next.to_string()).into(),
        }))
    }

    /// Sum the stock queue up
    ///
    /// What waits, for how long, and which marketplaces may not be asked now.
    #[oai(
        path = "/stock-queue/summary",
        method = "get",
        operation_id = "get_stock_queue_summary"
    )]
    async fn get_stock_queue_summary(
        &self,
        caller: Caller,
        /// Whose queue.
        #[oai(name = "organizationId", example = "example_organization")]
        organization_id: Query<Option<String>>,
    ) -> Result<Json<QueueSummary>, Problem> {
        let values = [("organizationId", organization_id.as_deref())];
        let (organization_id, ()) = named::read(&caller, &values, |_| Some(()))?;
        let summary = queue::summary(&self.app, &organization_id).await?;
        Ok(Json(QueueSummary::of(summary, self.app.clock.now())))
    }

    /// Put products into the stock queue
    ///
    /// By hand: their marketplace is told how many there are, even if it is believed to show that.
    #[oai(
        path = "/stock-queue",
        method = "post",
        operation_id = "enqueue_products"
    )]
    async fn enqueue_products(
        &self,
        caller: Caller,
        /// A key of yours: the same request with it has one effect and, for 24 hours, one answer.
        #[oai(name = "Idempotency-Key")]
        once: Once,
        body: JsonBody<EnqueueProducts>,
    ) -> Result<EnqueueAnswer, Problem> {
        caller.may_act_for(&body.organization_id)?;
        let organization_id = &body.organization_id;
        let scope = Scope::organization(organization_id);
        once.begin(&self.app, scope).await?;
        let store_id = body.store_id.into();
        let products: Vec<ProductId> = body.product_ids.iter().copied().map(ProductId).collect();
        let force = body.force.unwrap_or(true);
        let mut tx = self.app.db.write().await.map_err(Error::from)?;
        let enqueued = enqueue_by_hand(
            &self.app,
            &mut tx,
            organization_id,
            store_id,
            &products,
            force,
        )
        .await?;
        let enqueued = Enqueued { enqueued };
        once.save(
            tx,
            Answer::json(&enqueued).with_status(StatusCode::ACCEPTED),
        )
        .await?;
        caller.has_done("enqueue_products", "store", store_id);
        Ok(EnqueueAnswer::Enqueued(Json(enqueued)))
    }

    /// Tell a marketplace everything
    ///
    /// Puts every product that the store lists into its queue, or with `onlyDiffering` those that
    /// the marketplace is not known to show as it should.
    #[oai(
        path = "/stores/:storeId/stock-sync/resync",
        method = "post",
        operation_id = "resync_store"
    )]
    async fn resync_store(
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
        /// Whether only what may differ; no by default.
        #[oai(name = "onlyDiffering")]
        only_differing: Query<Option<String>>,
    ) -> Result<JobAnswer, Problem> {
        let values = [
            ("organizationId", organization_id.as_deref()),
            ("storeId", Some(&**store_id)),
            ("onlyDiffering", only_differing.as_deref()),
        ];
        let (organization_id, (id, only_differing)) = named::read(&caller, &values, |fields| {
            let id = fields.uuid("storeId");
            let only_differing = fields.optional("onlyDiffering", Fields::boolean);
            Some((id?.into(), only_differing?.unwrap_or(false)))
        })?;
        once.begin(&self.app, Scope::organization(&organization_id))
            .await?;
        let mut tx = self.app.db.write().await.map_err(Error::from)?;
        request_own_resync(&self.app, &mut tx, &organization_id, id, only_differing).await?;
        let job_id = ResyncStore { store_id: id }.identity();
        let requested = RequestedJob { job_id };
        once.save(
            tx,
            Answer::json(&requested).with_status(StatusCode::ACCEPTED),
        )
        .await?;
        enqueue_resync(&self.app, &[id]).await;
        caller.has_done("resync", "store", id);
        Ok(JobAnswer::Requested(Json(requested)))
    }

    /// Show how a store is pushed to
    ///
    /// And what keeps it from its marketplace now, if anything does.
    #[oai(
        path = "/stores/:storeId/stock-settings",
        method = "get",
        operation_id = "get_stock_settings"
    )]
    async fn get_stock_settings(
        &self,
        caller: Caller,
        /// The store.
        #[oai(name = "storeId", example = "example_id")]
        store_id: Path<String>,
        /// Whose store.
        #[oai(name = "organizationId", example = "example_organization")]
        organization_id: Query<Option<String>>,
    ) -> Result<Json<SettingsView>, Problem> {
        let (organization_id, id) = named::store(&caller, organization_id.as_deref(), &store_id)?;
        let settings = get_settings(&self.app, &organization_id, id).await?;
        Ok(Json(settings.into()))
    }

    /// Change how a store is pushed to
    ///
    /// The marketplace of a store that becomes live (active, sending, `LIVE`) is told whatever it
    /// is not known to show as it should.
    #[oai(
        path = "/stores/:storeId/stock-settings",
        method = "patch",
        operation_id = "update_stock_settings"
    )]
    async fn update_stock_settings(
        &self,
        caller: Caller,
        /// The store.
        #[oai(name = "storeId", example = "example_id")]
        store_id: Path<String>,
        /// Whose store.
        #[oai(name = "organizationId", example = "example_organization")]
        organization_id: Query<Option<String>>,
        body: JsonBody<UpdateStockSettings>,
    ) -> Result<Json<SettingsView>, Problem> {
        let (organization_id, id) = named::store(&caller, organization_id.as_deref(), &store_id)?;
        let change = SettingsChange::from(body.0);
        let source_changes = change.stock_source.is_some();
        let changing = || change_settings(&self.app, &organization_id, id, change.clone());
        let (settings, needs_resync) = persist(changing).await?;
        if source_changes {
            recount_now(&self.app, &organization_id).await;
        }
        if needs_resync {
            enqueue_resync(&self.app, &[id]).await;
        }
        caller.has_done("update_stock_settings", "store", id);
        Ok(Json(settings.into()))
    }
}
