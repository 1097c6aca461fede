//! Every statement of the stock pages; each is a bounded look into an index, as its siblings are.

pub(in crate::admin::operators) mod blocked;
pub(in crate::admin::operators) mod counts;
pub(in crate::admin::operators) mod pushes;
pub(in crate::admin::operators) mod stores;
