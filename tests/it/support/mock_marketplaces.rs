//! What the mock marketplaces know of the quantities they were told.

use marketplace_sync::stock::mock::MockMarketplace;

/// L2: of what a marketplace took of each of these items, nothing followed a larger quantity; all
/// quantities of a test only grow.
pub(crate) fn assert_told_in_order(mock: &MockMarketplace, names: &[&str]) {
    for name in names {
        let told: Vec<i64> = mock.look(|world| {
            let lines = world.batches.iter().flat_map(|batch| &batch.lines);
            let of_name = lines.filter(|line| line.identifier == *name);
            of_name.map(|line| line.quantity).collect()
        });
        assert!(told.is_sorted(), "{name}: {told:?}");
    }
}
