//! Every statement of this domain.

/// "Is one of the ids of a JSON argument", as each database says it.
macro_rules! is_listed {
    (postgres $argument:literal) => {
        concat!(
            "= ANY (ARRAY (SELECT CAST(jsonb_array_elements_text(",
            $argument,
            ") AS UUID)))"
        )
    };
    (sqlite $argument:literal) => {
        concat!("IN (SELECT unhex(value) FROM json_each(", $argument, "))")
    };
}

/// Looks up the shelf `sh` of each row `ss`, where both databases would rather read all shelves of
/// the warehouses that are asked for.
macro_rules! shelf_of {
    (postgres) => {
        "CROSS JOIN LATERAL (
             SELECT warehouse_id, created_at FROM shelves WHERE id = ss.shelf_id OFFSET 0
         ) AS sh"
    };
    (sqlite) => {
        "CROSS JOIN shelves AS sh ON sh.id = ss.shelf_id"
    };
}

pub(crate) mod api_logs;
pub(crate) mod claim;
pub(crate) mod confirm;
pub(crate) mod counters;
pub(crate) mod events;
pub(crate) mod gates;
pub(crate) mod intake;
pub(crate) mod layout;
pub(crate) mod listings;
pub(crate) mod lost;
pub(crate) mod movements;
pub(crate) mod pairs;
pub(crate) mod products;
pub(crate) mod push_log;
pub(crate) mod pushes;
pub(crate) mod quantities;
pub(crate) mod queue;
pub(crate) mod reconcile;
pub(crate) mod reservations;
pub(crate) mod resync;
pub(crate) mod schedule;
pub(crate) mod settings;
pub(crate) mod shelves;
pub(crate) mod warehouses;
