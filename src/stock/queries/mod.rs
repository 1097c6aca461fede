//! Every statement of this domain.

pub(crate) mod listings;
pub(crate) mod products;
pub(crate) mod quantities;
pub(crate) mod queue;
pub(crate) mod resync;
pub(crate) mod settings;
