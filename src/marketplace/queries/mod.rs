//! Every statement of this domain: a function a statement, named by meaning.
//!
//! [`stores`]: stores and their leases. [`orders`]: receipts and their outcomes.
//! [`schedule`]: which stores are due, and their enqueue slots. [`operate`]: what an operator
//! changes.

pub(crate) mod operate;
pub mod orders;
pub mod schedule;
pub mod stores;
