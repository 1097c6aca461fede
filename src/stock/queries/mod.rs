//! Every statement of this domain.

pub(crate) mod quantities;
