//! Webhooks.

mod breaker;
mod deliver;
mod fairness;
mod kill;
mod ordering;
mod retry;
mod sweep;
