//! Every statement of this domain: a function a statement, named by meaning.
//!
//! [`endpoints`]: webhooks and their secrets. [`deliveries`]: events and who is owed them.
//! [`schedule`]: which events are due, and their enqueue slots. [`outbox`]: what is looked at,
//! requeued and purged. [`breaker`]: who is left in peace. [`operate`]: what an operator changes of an endpoint.

pub(super) mod breaker;
pub(super) mod deliveries;
pub(super) mod endpoints;
pub(super) mod operate;
pub(super) mod outbox;
pub(super) mod schedule;
