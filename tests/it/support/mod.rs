//! What tests stand on.

pub(crate) mod browser;
pub(crate) mod queues;
