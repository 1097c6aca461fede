//! Events for subscribers: written here, in the transaction that makes them true.
//!
//! [`record()`] puts an event, complete, into `callback_outbox`, in the caller's
//! [`Tx`](crate::db::Tx): either both the fact and its
//! event are there, or neither. Nothing is sent from the caller.

pub mod api;
pub mod callbacks_api;
pub(crate) mod endpoints;
mod error;
pub mod guard;
pub mod model;
pub(crate) mod outbox;
mod queries;
mod record;
mod retention;
pub mod send;
pub mod sign;

pub use error::Error;
pub use guard::Guard;
pub(crate) use model::EventType;
pub(crate) use record::{NewEvent, record};
pub(crate) use retention::enforce_retention;
pub use send::Sender;
