//! Marketplace operations that run unattended: stores, orders, stock, webhooks.

pub mod clock;
pub mod ids;
pub mod retry;
pub mod timestamp;
