//! Marketplaces: the stores on them, the orders imported from them, and how they are asked.
//!
//! [`connector`] is the way out to a marketplace; [`mock_api`] plays one, by the pure rules of
//! [`mock_rules`]. [`status`] tells how a store is doing from its newest sync rows.

pub mod amount;
pub mod connector;
pub mod mock_api;
mod mock_request;
pub mod mock_rules;
pub mod model;
pub mod money;
pub mod status;
