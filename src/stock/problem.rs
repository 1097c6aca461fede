//! How errors are answered.

use super::error::Error;
use crate::http::fields::code;
use crate::http::kind;
use crate::http::problem::{Detail, Problem};

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let words = error.to_string();
        match error {
            Error::StoreNotFound(_) => Self::not_found("Store not found"),
            Error::ProductNotFound(_) => Self::not_found("Product not found"),
            Error::PairNotFound(..) => Self::not_found("Product not in this store"),
            Error::WarehouseNotFound(_) => Self::not_found("Warehouse not found"),
            Error::ShelfNotFound(_) => Self::not_found("Shelf not found"),
            Error::ReservationNotFound(_) => Self::not_found("Reservation not found"),
            Error::PushNotFound(_) => Self::not_found("Push not found"),
            Error::BarcodeTaken => Self::of(kind::BARCODE_TAKEN, words),
            Error::SkuTaken => Self::of(kind::SKU_TAKEN, words),
            Error::CodeTaken => Self::of(kind::CODE_TAKEN, words),
            Error::NotASet(_) => Self::of(kind::NOT_A_SET, words),
            Error::NestedSetNotAllowed(component) => Self::of(kind::NESTED_SET_NOT_ALLOWED, words)
                .with("productId", component.to_string()),
            Error::InvalidQuantity => Self::of(kind::INVALID_QUANTITY, words),
            Error::IntegratorNameRefused => Self::validation(vec![Detail {
                path: vec!["integratorName".into()],
                code: code::INVALID_STRING.to_owned(),
                message: words,
            }]),
            Error::InsufficientStock(product) => {
                Self::of(kind::INSUFFICIENT_STOCK, words).with("productId", product.to_string())
            }
            Error::InsufficientShelfStock(product) => {
                let problem = Self::of(kind::INSUFFICIENT_SHELF_STOCK, words);
                problem.with("productId", product.to_string())
            }
            Error::StoreIsWarehouseBacked(_) => Self::of(kind::STORE_IS_WAREHOUSE_BACKED, words),
            Error::SetStockIsDerived(_) => Self::of(kind::SET_STOCK_IS_DERIVED, words),
            Error::UnmatchedLines(lines) => {
                Self::of(kind::UNMATCHED_LINES, words).with("unmatchedLines", lines)
            }
            Error::ReservationConflict(id) => {
                Self::of(kind::RESERVATION_CONFLICT, words).with("reservationId", id.to_string())
            }
            Error::ReservationClosed(id) => {
                Self::of(kind::RESERVATION_CLOSED, words).with("reservationId", id.to_string())
            }
            Error::MovementKeyReused => Self::of(kind::IDEMPOTENCY_KEY_REUSED, words),
            Error::AmbiguousOrder => Self::validation(vec![Detail {
                path: vec!["storeId".into()],
                code: code::REQUIRED.to_owned(),
                message: "Several stores of the warehouse have an order of this name".to_owned(),
            }]),
            Error::StoreNotEligible(reasons) => {
                Self::of(kind::STORE_NOT_ELIGIBLE, words).with("reasons", reasons)
            }
            error @ (Error::LeaseLost
            | Error::CredentialsUnreadable(..)
            | Error::Queue(_)
            | Error::Database(_)) => Self::internal(&error),
        }
    }
}
