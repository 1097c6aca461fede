//! Every statement of this domain.

/// "Is one of the ids of a JSON argument", as each database says it.
macro_rules! is_listed {
    (postgres $argument:literal) => {
        concat!("= ANY (ARRAY (SELECT CAST(jsonb_array_elements_text(", $argument, ") AS UUID)))")
    };
    (sqlite $argument:literal) => {
        concat!("IN (SELECT unhex(value) FROM json_each(", $argument, "))")
    };
}

pub(crate) mod counters;
pub(crate) mod intake;
pub(crate) mod layout;
pub(crate) mod listings;
pub(crate) mod movements;
pub(crate) mod products;
pub(crate) mod quantities;
pub(crate) mod queue;
pub(crate) mod reservations;
pub(crate) mod resync;
pub(crate) mod settings;
pub(crate) mod shelves;
pub(crate) mod warehouses;
