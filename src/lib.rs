//! Marketplace operations that run unattended: stores, orders, stock, webhooks.

pub mod clock;
pub mod ids;
pub mod marketplace;
pub mod retry;
pub mod timestamp;
