//! Which stores draw on which warehouses, and so on the same goods.

use std::collections::{BTreeMap, BTreeSet};

use jobs::StoreId;

use super::model::WarehouseId;

/// The stores of an organization whose quantities come from warehouses, and from which. Without
/// any: stores that share nothing with anybody.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    warehouses: BTreeMap<StoreId, BTreeSet<WarehouseId>>,
    stores: BTreeMap<WarehouseId, BTreeSet<StoreId>>,
}

impl Layout {
    pub(super) fn of(links: impl IntoIterator<Item = (StoreId, WarehouseId)>) -> Self {
        let mut layout = Self::default();
        for (store, warehouse) in links {
            layout
                .warehouses
                .entry(store)
                .or_default()
                .insert(warehouse);
            layout.stores.entry(warehouse).or_default().insert(store);
        }
        layout
    }

    /// What a store draws on.
    pub(super) fn warehouses_of(&self, store: StoreId) -> impl Iterator<Item = WarehouseId> {
        self.warehouses.get(&store).into_iter().flatten().copied()
    }

    /// Who draws on a warehouse.
    pub(super) fn stores_of(&self, warehouse: WarehouseId) -> BTreeSet<StoreId> {
        self.stores.get(&warehouse).cloned().unwrap_or_default()
    }

    /// A store, and those that share a warehouse with it.
    pub(super) fn neighbours(&self, store: StoreId) -> BTreeSet<StoreId> {
        let sharing = self
            .warehouses_of(store)
            .filter_map(|warehouse| self.stores.get(&warehouse));
        sharing.flatten().copied().chain([store]).collect()
    }

    /// These stores, and those that share a warehouse with any of them.
    pub(super) fn around(&self, stores: &BTreeSet<StoreId>) -> BTreeSet<StoreId> {
        let around = stores.iter().map(|store| self.neighbours(*store));
        around.flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn store(number: u128) -> StoreId {
        StoreId(Uuid::from_u128(number))
    }

    fn warehouse(number: u128) -> WarehouseId {
        WarehouseId(Uuid::from_u128(number))
    }

    fn stores<const N: usize>(numbers: [u128; N]) -> BTreeSet<StoreId> {
        numbers.map(store).into()
    }

    #[test]
    fn neighbours_are_those_with_a_warehouse_in_common_and_the_store_itself() {
        // 1 and 2 share the first warehouse, 2 and 3 the second; 4 has one of its own.
        let links = [(1, 1), (2, 1), (2, 2), (3, 2), (4, 3)];
        let layout = Layout::of(links.map(|(s, w)| (store(s), warehouse(w))));
        assert_eq!(layout.neighbours(store(1)), stores([1, 2]));
        assert_eq!(layout.neighbours(store(2)), stores([1, 2, 3]));
        assert_eq!(layout.neighbours(store(4)), stores([4]));
        assert_eq!(layout.around(&stores([1])), stores([1, 2]));
        assert_eq!(
            layout.around(&layout.neighbours(store(1))),
            stores([1, 2, 3])
        );
        assert_eq!(layout.stores_of(warehouse(2)), stores([2, 3]));
    }

    #[test]
    fn a_store_without_warehouses_shares_nothing() {
        let layout = Layout::default();
        assert_eq!(layout.neighbours(store(7)), stores([7]));
        assert_eq!(layout.warehouses_of(store(7)).count(), 0);
        assert_eq!(layout.stores_of(warehouse(7)), stores([]));
    }
}
