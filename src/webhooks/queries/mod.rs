//! Every statement of this domain: a function a statement, named by meaning.
//!
//! [`endpoints`]: webhooks and their secrets. [`deliveries`]: events and who is owed them.
//! [`schedule`]: which events are due, and their enqueue slots. [`outbox`]: what an operator looks at, requeues and purges.

pub(super) mod deliveries;
pub(super) mod endpoints;
pub(super) mod outbox;
pub(super) mod schedule;
