//! Every statement of this domain.

pub(crate) mod api_logs;
pub(crate) mod claim;
pub(crate) mod confirm;
pub(crate) mod events;
pub(crate) mod gates;
pub(crate) mod lost;
pub(crate) mod pairs;
pub(crate) mod push_log;
pub(crate) mod pushes;
pub(crate) mod quantities;
pub(crate) mod reconcile;
pub(crate) mod schedule;
pub(crate) mod settings;
