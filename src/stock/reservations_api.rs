//! The routes of reservations.

use std::sync::Arc;

use jobs::StoreId;
use poem::http::StatusCode;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};

use super::error::Error;
use super::intake::OrderLine;
use super::model::ReservationMode;
use super::named::{example_id, example_organization, own};
use super::reservation_shapes::{CreateReservation, ReservationView};
use super::reserve::{
    Order, OrderName, Reservation, fulfil_order, release_order, reservation_of, reserve_order,
};
use crate::App;
use crate::db::{Tx, persist};
use crate::http::Tag;
use crate::http::auth::Caller;
use crate::http::body::JsonBody;
use crate::http::fields;
use crate::http::idempotency::{Answer, Once, Scope};
use crate::http::problem::Problem;
use crate::webhooks::enqueue_recorded;

/// What orders take and give back.
#[derive(Clone)]
pub struct ReservationsApi {
    app: Arc<App>,
}

impl ReservationsApi {
    /// The routes over a running service.
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[derive(ApiResponse)]
enum CreateAnswer {
    /// It was made before, by the same request, or its order was cancelled before it came.
    #[oai(status = 200)]
    Known(Json<ReservationView>),
    /// It is made.
    #[oai(status = 201)]
    Created(Json<ReservationView>),
}

/// How an order ends.
#[derive(Clone, Copy)]
enum End {
    Release,
    Fulfil,
}

/// The order that a request names, if the caller may act for its organization.
fn own_order(
    caller: &Caller,
    organization_id: Option<&str>,
    store_id: &str,
    order_ref: &str,
) -> Result<(String, StoreId, String), Problem> {
    let values = [
        ("organizationId", organization_id),
        ("storeId", Some(store_id)),
        ("orderRef", Some(order_ref)),
    ];
    let order = fields::check(&values, |fields| {
        let organization_id = fields.text("organizationId", 1..=255);
        let store_id = fields.uuid("storeId");
        let order_ref = fields.text("orderRef", 1..=255);
        Some((organization_id?, StoreId(store_id?), order_ref?))
    })?;
    caller.may_act_for(&order.0)?;
    Ok(order)
}

/// An order that is nobody's.
fn example_order() -> String {
    "TY-10001".to_owned()
}

#[OpenApi(tag = "Tag::Stock")]
impl ReservationsApi {
    /// Reserve what an order orders
    ///
    /// `STRICT`: all lines or nothing. `ALLOW_SHORTFALL`, for what a marketplace has sold already:
    /// what there is, and the rest as soon as it comes, before anybody else can have it. The same
    /// request again changes nothing; another one with the same `orderRef` is refused. An order that
    /// was released before it came takes nothing.
    #[oai(
        path = "/stores/:storeId/reservations",
        method = "post",
        operation_id = "create_reservation"
    )]
    async fn create_reservation(
        &self,
        caller: Caller,
        /// A key of yours: the same request with it has one effect and, for 24 hours, one answer.
        #[oai(name = "Idempotency-Key")]
        once: Once,
        /// Of the store.
        #[oai(name = "storeId", example = "example_id")]
        store_id: Path<String>,
        /// Whose store.
        #[oai(name = "organizationId", example = "example_organization")]
        query: Query<Option<String>>,
        body: JsonBody<CreateReservation>,
    ) -> Result<CreateAnswer, Problem> {
        let ids = [("storeId", store_id.as_str())];
        let (organization_id, [store_id]) = own(&caller, query.0.as_deref(), ids)?;
        once.begin(&self.app, Scope::organization(&organization_id))
            .await?;
        let lines: Vec<OrderLine> = body.0.lines.into_iter().map(OrderLine::from).collect();
        let order = Order {
            organization_id: &organization_id,
            store_id: StoreId(store_id),
            order_ref: &body.0.order_ref,
            mode: body.0.mode.unwrap_or(ReservationMode::Strict),
            lines: &lines,
        };
        let turn = self.app.turns.wait(&organization_id).await;
        let (tx, reserved) = persist(|| async {
            let mut tx = self.app.db.write().await?;
            let reserved = reserve_order(&self.app, &mut tx, &order).await?;
            Ok::<_, Error>((tx, reserved))
        })
        .await?;
        let view = ReservationView::from(reserved.reservation);
        if !reserved.is_new {
            once.save(tx, Answer::json(&view)).await?;
            return Ok(CreateAnswer::Known(Json(view)));
        }
        once.save(tx, Answer::json(&view).with_status(StatusCode::CREATED))
            .await?;
        drop(turn);
        for recorded in reserved.recorded {
            enqueue_recorded(&self.app, recorded).await;
        }
        caller.has_done("reserve", "order", order.order_ref);
        Ok(CreateAnswer::Created(Json(view)))
    }

    /// Show a reservation
    #[oai(
        path = "/stores/:storeId/reservations/:orderRef",
        method = "get",
        operation_id = "get_reservation"
    )]
    async fn get_reservation(
        &self,
        caller: Caller,
        /// Of the store.
        #[oai(name = "storeId", example = "example_id")]
        store_id: Path<String>,
        /// The name of the order.
        #[oai(name = "orderRef", example = "example_order")]
        order_ref: Path<String>,
        /// Whose store.
        #[oai(name = "organizationId", example = "example_organization")]
        query: Query<Option<String>>,
    ) -> Result<Json<ReservationView>, Problem> {
        let own = own_order(&caller, query.0.as_deref(), &store_id, &order_ref)?;
        let mut tx = self.app.db.read().await.map_err(Error::from)?;
        let reservation = reservation_of(&mut tx, name(&own)).await?;
        tx.save().await.map_err(Error::from)?;
        Ok(Json(reservation.into()))
    }

    /// Give back what an order took
    ///
    /// Exactly that, and what has not left yet; orders that wait for it have it first. Released
    /// again, nothing changes. An order that is not there yet will take nothing when it comes.
    #[oai(
        path = "/stores/:storeId/reservations/:orderRef/release",
        method = "post",
        operation_id = "release_reservation"
    )]
    async fn release_reservation(
        &self,
        caller: Caller,
        /// A key of yours: the same request with it has one effect and, for 24 hours, one answer.
        #[oai(name = "Idempotency-Key")]
        once: Once,
        /// Of the store.
        #[oai(name = "storeId", example = "example_id")]
        store_id: Path<String>,
        /// The name of the order.
        #[oai(name = "orderRef", example = "example_order")]
        order_ref: Path<String>,
        /// Whose store.
        #[oai(name = "organizationId", example = "example_organization")]
        query: Query<Option<String>>,
    ) -> Result<Json<ReservationView>, Problem> {
        let own = own_order(&caller, query.0.as_deref(), &store_id, &order_ref)?;
        self.end(&caller, &once, &own, End::Release).await
    }

    /// Say that the goods of an order have left
    ///
    /// They are no longer reserved; where the store draws on warehouses, they are taken from the
    /// shelves. Said again, nothing changes.
    #[oai(
        path = "/stores/:storeId/reservations/:orderRef/fulfil",
        method = "post",
        operation_id = "fulfil_reservation"
    )]
    async fn fulfil_reservation(
        &self,
        caller: Caller,
        /// A key of yours: the same request with it has one effect and, for 24 hours, one answer.
        #[oai(name = "Idempotency-Key")]
        once: Once,
        /// Of the store.
        #[oai(name = "storeId", example = "example_id")]
        store_id: Path<String>,
        /// The name of the order.
        #[oai(name = "orderRef", example = "example_order")]
        order_ref: Path<String>,
        /// Whose store.
        #[oai(name = "organizationId", example = "example_organization")]
        query: Query<Option<String>>,
    ) -> Result<Json<ReservationView>, Problem> {
        let own = own_order(&caller, query.0.as_deref(), &store_id, &order_ref)?;
        self.end(&caller, &once, &own, End::Fulfil).await
    }
}

fn name((organization_id, store_id, order_ref): &(String, StoreId, String)) -> OrderName<'_> {
    OrderName {
        organization_id,
        store_id: *store_id,
        order_ref,
    }
}

impl ReservationsApi {
    async fn end(
        &self,
        caller: &Caller,
        once: &Once,
        own: &(String, StoreId, String),
        end: End,
    ) -> Result<Json<ReservationView>, Problem> {
        once.begin(&self.app, Scope::organization(&own.0)).await?;
        let _turn = self.app.turns.wait(&own.0).await;
        let (tx, reservation): (Tx, Reservation) = persist(|| async {
            let mut tx = self.app.db.write().await?;
            let reservation = match end {
                End::Release => release_order(&self.app, &mut tx, name(own)).await?,
                End::Fulfil => fulfil_order(&self.app, &mut tx, name(own)).await?,
            };
            Ok::<_, Error>((tx, reservation))
        })
        .await?;
        let view = ReservationView::from(reservation);
        once.save(tx, Answer::json(&view)).await?;
        let action = match end {
            End::Release => "release",
            End::Fulfil => "fulfil",
        };
        caller.has_done(action, "order", &own.2);
        Ok(Json(view))
    }
}
