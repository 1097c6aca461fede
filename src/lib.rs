//! Marketplace synchronisation.

pub mod admin;
