//! Somebody counted: the quantity of a product in a store whose quantities are its own.

use jobs::StoreId;

use super::error::Error;
use super::model::{MovementKind, ProductId, ProductType, Reason};
use super::queries::intake::type_of;
use super::shared::{self, Happened, Missing};
use crate::App;
use crate::db::Tx;

/// What somebody found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// So many more, or fewer.
    Delta(i64),
    /// So many that can be sold.
    Set(i64),
}

/// An adjustment, as somebody asks for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Adjustment<'a> {
    pub(crate) organization_id: &'a str,
    pub(crate) store_id: StoreId,
    pub(crate) product_id: ProductId,
    pub(crate) count: Count,
    pub(crate) note: Option<&'a str>,
    pub(crate) idempotency_key: Option<&'a str>,
}

/// What there is of a product in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) product_id: ProductId,
    pub(crate) store_id: StoreId,
    pub(crate) sellable: i64,
    pub(crate) committed: i64,
}

/// Adjusts the quantity of a product in a store, in the caller's transaction. Orders that wait for
/// it have what is more, before anybody else.
pub(crate) async fn adjust_stock(
    app: &App,
    tx: &mut Tx,
    adjustment: &Adjustment<'_>,
) -> Result<Level, Error> {
    let now = app.clock.now();
    let (store_id, product_id) = (adjustment.store_id, adjustment.product_id);
    let site = shared::site(tx, adjustment.organization_id, store_id).await?;
    match type_of(tx, adjustment.organization_id, product_id).await? {
        None => return Err(Error::ProductNotFound(product_id)),
        Some(ProductType::Set) => return Err(Error::SetStockIsDerived(product_id)),
        Some(ProductType::Simple) => {}
    }
    if site.is_shared {
        return Err(Error::StoreIsWarehouseBacked(store_id));
    }
    let (products, stores) = ([product_id].into(), site.neighbours());
    let layout = (site.is_shared, &site.layout);
    let mut pool = shared::open(tx, layout, &products, &stores, Missing::Made, now).await?;
    let by = match adjustment.count {
        Count::Delta(by) => by,
        Count::Set(to) => to - pool.sellable(product_id, store_id),
    };
    if pool.sellable(product_id, store_id) + by < 0 {
        return Err(Error::InsufficientStock(product_id));
    }
    pool.adjust(product_id, store_id, by);
    pool.book(MovementKind::Adjust, None);
    let fills = shared::fill_shortfalls(tx, &mut pool).await?;
    let reason = if by > 0 {
        Reason::StockAdded
    } else {
        Reason::StockRemoved
    };
    let mut happened = Happened::new(adjustment.organization_id, reason);
    happened.fills = &fills;
    happened.note = adjustment.note;
    happened.idempotency_key = adjustment.idempotency_key;
    shared::settle(app, tx, &pool, happened, now).await?;
    Ok(Level {
        product_id,
        store_id,
        sellable: pool.sellable(product_id, store_id),
        committed: pool.committed(product_id, store_id),
    })
}
