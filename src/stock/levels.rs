//! How many there are: of a product in its stores, of the products of a store, and of what a set
//! is made.

use jobs::StoreId;
use uuid::Uuid;

use super::error::Error;
use super::listings::require_pair_parts;
use super::model::{ProductId, ProductType};
use super::named::Pair;
use super::products::own_product;
use super::queries::listings::{self, Component, Level, LevelFilter};
use super::queries::quantities;
use super::settings::{own_store, quantity_cap};
use crate::App;
use crate::db::Tx;
use crate::http::page::{Cursor, PageRequest};

/// A list of levels is ordered by ids alone.
pub(super) fn place(id: Uuid) -> Cursor {
    Cursor {
        at: Cursor::BEGINNING.at,
        id,
    }
}

fn behind(page: PageRequest) -> Uuid {
    page.after.map_or(Uuid::nil(), |cursor| cursor.id)
}

/// What there is of a product in a store, and whether its marketplace shows that.
#[derive(Clone, Debug)]
pub(super) struct StockLevel {
    pub(super) level: Level,
    /// The store lists it, and its marketplace is not known to show what it should.
    pub(super) is_differing: bool,
}

impl StockLevel {
    fn of(app: &App, level: Level) -> Self {
        let shown = level
            .effective_quantity
            .min(quantity_cap(app, level.marketplace));
        let is_shown = level.last_confirmed_quantity == Some(shown);
        Self {
            is_differing: level.listing.is_listed && !is_shown,
            level,
        }
    }
}

/// A page of the levels of a product, store by store.
pub(super) async fn levels_of_product(
    app: &App,
    organization_id: &str,
    id: ProductId,
    page: PageRequest,
) -> Result<Vec<StockLevel>, Error> {
    let mut tx = app.db.read().await?;
    own_product(&mut tx, organization_id, id).await?;
    let limit = page.look_ahead();
    let levels = listings::levels_of_product(&mut tx, id, behind(page), limit).await?;
    tx.save().await?;
    Ok(levels
        .into_iter()
        .map(|it| StockLevel::of(app, it))
        .collect())
}

/// A page of the levels of a store that pass the filter, product by product.
pub(super) async fn levels_of_store(
    app: &App,
    organization_id: &str,
    id: StoreId,
    filter: LevelFilter,
    page: PageRequest,
) -> Result<Vec<StockLevel>, Error> {
    // Those that pass may be few among many.
    let mut tx = app.db.read_at_length().await?;
    let store = own_store(&mut tx, organization_id, id).await?;
    let cap = quantity_cap(app, store.marketplace);
    let limit = page.look_ahead();
    let levels = listings::levels_of_store(&mut tx, id, cap, filter, behind(page), limit).await?;
    tx.save().await?;
    Ok(levels
        .into_iter()
        .map(|it| StockLevel::of(app, it))
        .collect())
}

/// The level of a product in a store.
pub(super) async fn one_level(
    app: &App,
    tx: &mut Tx,
    store_id: StoreId,
    product_id: ProductId,
) -> Result<StockLevel, Error> {
    let level = listings::level(tx, store_id, product_id).await?;
    let level = level.ok_or(Error::PairNotFound(store_id, product_id))?;
    Ok(StockLevel::of(app, level))
}

/// How many of a product a store can sell, and of a set, what keeps it from selling more.
#[derive(Clone, Debug)]
pub(super) struct Availability {
    pub(super) product_type: ProductType,
    pub(super) is_listed: bool,
    pub(super) quantity: i64,
    /// What a set is made of; what makes the fewest comes first.
    pub(super) components: Vec<Component>,
}

impl Availability {
    /// The component that there are too few of to make one more.
    pub(super) fn limiting_component(&self) -> Option<ProductId> {
        self.components
            .first()
            .map(|component| component.product_id)
    }
}

/// How many of a product a store can sell.
pub(super) async fn availability(app: &App, pair: &Pair) -> Result<Availability, Error> {
    let (store_id, product_id) = (pair.store_id, pair.product_id);
    let mut tx = app.db.read().await?;
    require_pair_parts(&mut tx, pair).await?;
    let found = quantities::pairs(&mut tx, store_id, &[product_id])
        .await?
        .pop();
    let found = found.ok_or(Error::ProductNotFound(product_id))?;
    let components = listings::components_of(&mut tx, store_id, product_id).await?;
    tx.save().await?;
    Ok(Availability {
        product_type: found.product_type,
        is_listed: found.is_listed,
        quantity: found.quantity,
        components,
    })
}
