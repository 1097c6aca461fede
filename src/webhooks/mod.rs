//! Events for subscribers: written here, in the transaction that makes them true.
//!
//! [`record()`] puts an event, complete, into `callback_outbox`, in the caller's
//! [`Tx`](crate::db::Tx): either both the fact and its
//! event are there, or neither. Nothing is sent from the caller.
//!
//! | file | what |
//! |---|---|
//! | [`api`], [`callbacks_api`] | the routes: endpoints; events, their attempts, dead letters |
//! | [`webhook_shapes`], [`callback_shapes`] | what they take and give |
//! | [`mod@record`] | an event and who is owed it, in the caller's transaction |
//! | [`enqueue`] | its job, after the commit |
//! | [`deliver`] | what [`DeliverCallback`](jobs::DeliverCallback) does, top to bottom |
//! | [`together`] | its steps in the database, for all deliveries that are there at the same time |
//! | [`schedule`] | what a `callback` tick enqueues |
//! | [`attempt`], [`settle`], [`breaker`] | what a request means for its delivery, its event, its endpoint: pure functions |
//! | [`unreadable`] | an event whose row cannot be read: a dead letter at once |
//! | [`lanes`] | how many requests are on the way to an endpoint |
//! | [`sign`], [`guard`], [`send`] | one request: signed, to where it may go, with what came of it |
//! | [`endpoints`], [`outbox`], [`retention`] | keeps endpoints and secrets; shows, requeues and purges events |
//! | [`operate`] | what an operator does with an endpoint: pause, resume, try again now |
//! | [`queries`] | every statement |
//! | [`model`] | the words |
//!
//! Its tables are `webhook_endpoints`, `webhook_secrets`, `callback_outbox`,
//! `callback_deliveries` and `callback_attempts`.

pub mod api;
mod attempt;
mod breaker;
mod callback_shapes;
pub mod callbacks_api;
mod deliver;
pub(crate) mod endpoints;
mod enqueue;
mod error;
pub mod guard;
mod lanes;
pub mod model;
mod operate;
pub(crate) mod outbox;
mod queries;
mod record;
mod retention;
mod schedule;
mod secrets;
pub mod send;
mod settle;
pub mod sign;
mod together;
mod unreadable;
mod webhook_shapes;

pub(crate) use deliver::{deliver_callback, free_slot};
pub(crate) use enqueue::enqueue_recorded;
pub use error::Error;
pub use guard::Guard;
pub use lanes::Lanes;
pub(crate) use model::EventType;
pub use operate::{OperateError, pause_endpoint, probe_endpoint, resume_endpoint};
pub(crate) use queries::endpoints::sealed_secrets;
pub(crate) use record::{NewEvent, Recorded, record};
pub(crate) use retention::enforce_retention;
pub use schedule::{CallbackPass, enqueue_due_events};
pub use send::Sender;
pub(crate) use together::Steps as DeliverySteps;
