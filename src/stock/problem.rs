//! Which error becomes which problem.

use super::error::Error;
use crate::http::fields::code;
use crate::http::kind::{
    CODE_TAKEN, CONFLICT, IDEMPOTENCY_KEY_REUSED, INSUFFICIENT_SHELF_STOCK, INSUFFICIENT_STOCK,
    INVALID_QUANTITY,    RESERVATION_CLOSED, RESERVATION_CONFLICT, SET_STOCK_IS_DERIVED, STORE_IS_WAREHOUSE_BACKED,
    UNMATCHED_LINES,
};
use crate::http::problem::{Detail, Problem};

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        let of = |kind| Self::of(kind, detail.clone());
        match error {
            Error::StoreNotFound(_) => Self::not_found("Store not found"),
            Error::ProductNotFound(_) => Self::not_found("Product not found"),
            Error::PairNotFound(..) => Self::not_found("Product not found in the store"),
            Error::WarehouseNotFound(_) => Self::not_found("Warehouse not found"),
            Error::ShelfNotFound(_) => Self::not_found("Shelf not found"),
            Error::ReservationNotFound(_) => Self::not_found("Reservation not found"),
            Error::PushNotFound(_) => Self::not_found("Push not found"),
            Error::CodeTaken => of(CODE_TAKEN),
            Error::InsufficientStock(product) => {
                of(INSUFFICIENT_STOCK).with("productId", product.to_string())
            }
            Error::InsufficientShelfStock(product) => {
                of(INSUFFICIENT_SHELF_STOCK).with("productId", product.to_string())
            }
            Error::StoreIsWarehouseBacked(_) => of(STORE_IS_WAREHOUSE_BACKED),
            Error::SetStockIsDerived(_) => of(SET_STOCK_IS_DERIVED),
            Error::UnmatchedLines(lines) => of(UNMATCHED_LINES).with("unmatchedLines", lines),
            Error::ReservationConflict(id) => {
                of(RESERVATION_CONFLICT).with("reservationId", id.to_string())
            }
            Error::ReservationClosed(id) => {
                of(RESERVATION_CLOSED).with("reservationId", id.to_string())
            }
            Error::MovementKeyReused => of(IDEMPOTENCY_KEY_REUSED),
            Error::InvalidQuantity => of(INVALID_QUANTITY),
            Error::AmbiguousOrder => Self::validation(vec![Detail {
                path: vec!["storeId".into()],
                code: code::REQUIRED.to_owned(),
                message: "Several stores of the warehouse have an order of this name".to_owned(),
            }]),
            // Those of routes that are not here yet.
            Error::BarcodeTaken
            | Error::SkuTaken
            | Error::NotASet(_)
            | Error::NestedSetNotAllowed(_)
            | Error::StoreNotEligible(_) => of(CONFLICT),
            error @ (Error::LeaseLost
            | Error::CredentialsUnreadable(..)
            | Error::Queue(_)
            | Error::Database(_)) => Self::internal(&error),
        }
    }
}
