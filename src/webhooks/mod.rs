//! Events for subscribers: written here, in the transaction that makes them true.
//!
//! [`record()`] puts an event, complete, into `callback_outbox`, in the caller's
//! [`Tx`](crate::db::Tx): either both the fact and its
//! event are there, or neither. Nothing is sent from the caller.

mod model;
mod queries;
mod record;

pub(crate) use model::EventType;
pub(crate) use record::{NewEvent, record};
