//! Every statement of this domain.

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
