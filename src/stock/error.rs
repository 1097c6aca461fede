//! What can go wrong with stock.

use jobs::{PushId, QueueError, StoreId};

use super::model::{ProductId, ReservationId, ShelfId, WarehouseId};
use crate::db::AsTransient;
use crate::encryption::OpenError;

/// Named for what is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The organization has no such store.
    #[error("store not found")]
    StoreNotFound(StoreId),
    /// The organization has no such product.
    #[error("product not found")]
    ProductNotFound(ProductId),
    /// The product has no row in the store.
    #[error("the store does not have this product")]
    PairNotFound(StoreId, ProductId),
    /// The organization has no such warehouse.
    #[error("warehouse not found")]
    WarehouseNotFound(WarehouseId),
    /// The organization has no such shelf.
    #[error("shelf not found")]
    ShelfNotFound(ShelfId),
    /// The store has no such reservation.
    #[error("the store has no reservation for this order")]
    ReservationNotFound(String),
    /// The organization has no such push.
    #[error("push not found")]
    PushNotFound(PushId),
    /// Another product has this barcode.
    #[error("another product has this barcode")]
    BarcodeTaken,
    /// Another product has this SKU.
    #[error("another product has this SKU")]
    SkuTaken,
    /// Another warehouse, or another shelf of the warehouse, has this code.
    #[error("the code is taken")]
    CodeTaken,
    /// Only sets are made of others.
    #[error("the product is no set")]
    NotASet(ProductId),
    /// A set cannot be made of sets.
    #[error("a set cannot be made of the set {0}")]
    NestedSetNotAllowed(ProductId),
    /// Less than one, or more than a million.
    #[error("the quantity is out of range")]
    InvalidQuantity,
    /// The marketplace would not take it.
    #[error("an integrator on this marketplace has 1 to 30 letters and digits")]
    IntegratorNameRefused,
    /// There is not as much.
    #[error("there is not enough of product {0}")]
    InsufficientStock(ProductId),
    /// There is not as much on the shelf.
    #[error("the shelf does not have enough of product {0}")]
    InsufficientShelfStock(ProductId),
    /// The quantities of the store come from its warehouses.
    #[error("the quantities of the store come from its warehouses")]
    StoreIsWarehouseBacked(StoreId),
    /// The quantity of a set comes from what it is made of.
    #[error("the quantity of a set comes from its components")]
    SetStockIsDerived(ProductId),
    /// Lines that name no product; their places in the request.
    #[error("the lines {0:?} name no product")]
    UnmatchedLines(Vec<usize>),
    /// The order was reserved with other lines.
    #[error("reservation {0} of this order has other lines")]
    ReservationConflict(ReservationId),
    /// It was released, or its goods left.
    #[error("reservation {0} is closed")]
    ReservationClosed(ReservationId),
    /// Several stores of the warehouse have an order of this name.
    #[error("several stores of the warehouse have an order of this name")]
    AmbiguousOrder,
    /// The key belongs to a movement that was made before.
    #[error("the key belongs to another movement of stock")]
    MovementKeyReused,
    /// Nothing can be pushed to the store; why.
    #[error("nothing can be pushed to the store: {0:?}")]
    StoreNotEligible(Vec<&'static str>),
    /// The run is another one's by now.
    #[error("the lease of the store is another run's")]
    LeaseLost,
    /// The credentials of a store cannot be decrypted.
    #[error("the credentials of store {0} cannot be read: {1}")]
    CredentialsUnreadable(StoreId, OpenError),
    /// The queue.
    #[error("the queue failed: {0}")]
    Queue(#[from] QueueError),
    /// The database.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

impl AsTransient for Error {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_transient())
    }
}
