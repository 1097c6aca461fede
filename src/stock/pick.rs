//! From which shelves goods are taken when nobody says so.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::model::{ProductId, WarehouseId};
use super::pool::Pool;
use super::queries::shelves::{OnShelf, Pick};
use super::shared::Site;

/// Finds so many units of a product on the shelves of a store's warehouses; none when there are
/// not as many.
///
/// Several warehouses may do. The one that can spare most comes first: what it has beyond what
/// stores have reserved that draw on no other. So the goods of such a store are left for it as long
/// as there is another way.
pub(super) fn pick(
    site: &Site,
    pool: &Pool,
    lying: &[OnShelf],
    product_id: ProductId,
    quantity: i64,
) -> Option<Vec<Pick>> {
    let mut warehouses: Vec<(i64, WarehouseId)> = site
        .layout
        .warehouses_of(site.store_id)
        .map(|warehouse| (spare(site, pool, product_id, warehouse), warehouse))
        .collect();
    warehouses.sort_by_key(|(spare, warehouse)| (Reverse(*spare), *warehouse));
    let mut picks: Vec<Pick> = Vec::new();
    let mut missing = quantity;
    // First what can be spared, then whatever is there.
    for is_last_round in [false, true] {
        for (spare, warehouse) in &warehouses {
            let allowed = if is_last_round {
                missing
            } else {
                (*spare).min(missing)
            };
            missing -= take(&mut picks, lying, (product_id, *warehouse), allowed);
        }
    }
    (missing == 0).then_some(picks)
}

/// What a warehouse has beyond what is reserved by stores that draw on no other.
fn spare(site: &Site, pool: &Pool, product: ProductId, warehouse: WarehouseId) -> i64 {
    let others: BTreeSet<_> = site.layout.stores_of(warehouse);
    let bound = others.iter().filter(|store| {
        **store != site.store_id && site.layout.warehouses_of(**store).count() == 1
    });
    let reserved: i64 = bound.map(|store| pool.committed(product, *store)).sum();
    pool.on_hand(product, warehouse) - reserved
}

/// Takes up to `allowed` units from the shelves of a warehouse; tells how many.
fn take(
    picks: &mut Vec<Pick>,
    lying: &[OnShelf],
    (product_id, warehouse_id): (ProductId, WarehouseId),
    allowed: i64,
) -> i64 {
    let mut left = allowed;
    let here = lying
        .iter()
        .filter(|it| it.product_id == product_id && it.warehouse_id == warehouse_id);
    for shelf in here {
        let known = picks
            .iter_mut()
            .find(|pick| pick.shelf_id == shelf.shelf_id && pick.product_id == product_id);
        let taken_before = known.as_ref().map_or(0, |pick| pick.quantity);
        let quantity = left.min(shelf.quantity - taken_before);
        if quantity <= 0 {
            continue;
        }
        left -= quantity;
        match known {
            Some(pick) => pick.quantity += quantity,
            None => picks.push(Pick {
                product_id,
                shelf_id: shelf.shelf_id,
                warehouse_id,
                quantity,
            }),
        }
    }
    allowed - left
}
