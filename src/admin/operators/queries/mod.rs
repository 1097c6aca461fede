//! Every statement that an operator's view reads, each a bounded look into an index.
//!
//! [`counts`]: the overview. [`stores`], [`endpoints`], [`dead_letters`]: the lists. A list names
//! its items first; what is known of each is a look of its own. [`stock`]: the same of stock.

pub(super) mod counts;
pub(super) mod dead_letters;
pub(super) mod endpoints;
pub(super) mod stock;
pub(super) mod stores;
