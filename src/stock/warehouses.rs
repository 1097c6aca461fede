//! Warehouses, and which stores sell what lies there.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use jobs::StoreId;
use sqlx::FromRow;

use super::error::Error;
use super::model::WarehouseId;
use super::queries::{layout, warehouses};
use crate::App;
use crate::db::Tx;
use crate::http::page::{Cursor, PageRequest};

/// A house with shelves.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct Warehouse {
    pub(crate) id: WarehouseId,
    pub(crate) organization_id: String,
    pub(crate) name: String,
    /// What the organization calls it, and no other.
    pub(crate) code: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// A warehouse and the stores that sell what lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinkedWarehouse {
    pub(crate) warehouse: Warehouse,
    pub(crate) stores: BTreeSet<StoreId>,
}

impl LinkedWarehouse {
    /// Its place in the list of warehouses.
    pub(crate) fn place(&self) -> Cursor {
        Cursor {
            at: self.warehouse.created_at,
            id: self.warehouse.id.0,
        }
    }
}

/// Makes a warehouse, which no store draws on yet.
pub(crate) async fn create_warehouse(
    app: &App,
    tx: &mut Tx,
    organization_id: String,
    name: String,
    code: String,
) -> Result<LinkedWarehouse, Error> {
    let now = app.clock.now();
    let warehouse = Warehouse {
        id: WarehouseId(app.ids.new_id(now)),
        organization_id,
        name,
        code,
        created_at: now,
        updated_at: now,
    };
    if !warehouses::insert_warehouse(tx, &warehouse).await? {
        return Err(Error::CodeTaken);
    }
    Ok(LinkedWarehouse {
        warehouse,
        stores: BTreeSet::new(),
    })
}

/// A page of the warehouses of an organization, and one more.
pub(crate) async fn list_warehouses(
    app: &App,
    organization_id: &str,
    page: PageRequest,
) -> Result<Vec<LinkedWarehouse>, Error> {
    let mut tx = app.db.read().await?;
    let after = page.after.unwrap_or(Cursor::BEGINNING);
    let found = warehouses::warehouses(&mut tx, organization_id, after, page.look_ahead()).await?;
    let ids: Vec<WarehouseId> = found.iter().map(|warehouse| warehouse.id).collect();
    let links = warehouses::links_of(&mut tx, &ids).await?;
    tx.save().await?;
    let linked = found.into_iter().map(|warehouse| {
        let own = links.iter().filter(|(id, _)| *id == warehouse.id);
        LinkedWarehouse {
            stores: own.map(|(_, store)| *store).collect(),
            warehouse,
        }
    });
    Ok(linked.collect())
}

/// Says which stores sell what lies in a warehouse, in the caller's transaction. Their quantities,
/// and those of who shares something with them, are worked out anew after the commit
/// ([`recount`](super::recount::recount)).
///
/// From the commit on, an order gets what the new stores have: what it may take is worked out
/// from the shelves each time.
pub(crate) async fn set_stores(
    app: &App,
    tx: &mut Tx,
    organization_id: &str,
    id: WarehouseId,
    stores: BTreeSet<StoreId>,
) -> Result<LinkedWarehouse, Error> {
    let now = app.clock.now();
    layout::lock_layout(tx, organization_id).await?;
    let warehouse = warehouses::warehouse(tx, organization_id, id).await?;
    let mut warehouse = warehouse.ok_or(Error::WarehouseNotFound(id))?;
    let own = warehouses::own_stores(tx, organization_id, &stores).await?;
    if let Some(foreign) = stores.iter().find(|store| !own.contains(store)) {
        return Err(Error::StoreNotFound(*foreign));
    }
    let links = warehouses::links_of(tx, &[id]).await?;
    let before: BTreeSet<StoreId> = links.into_iter().map(|(_, store)| store).collect();
    if before != stores {
        let removed = before.difference(&stores).copied().collect();
        warehouses::delete_links(tx, id, &removed).await?;
        warehouses::insert_links(tx, id, &stores, now).await?;
        warehouses::touch(tx, id, now).await?;
        warehouse.updated_at = now;
        let concerned: BTreeSet<StoreId> = before.union(&stores).copied().collect();
        layout::mark_for_recount(tx, &concerned, now).await?;
    }
    Ok(LinkedWarehouse { warehouse, stores })
}
