//! What all routes share: how a request is surrounded ([`shell`]), who calls ([`auth`]), how many
//! are at work ([`admission`]), how its body and fields are read ([`body`], [`fields`]) and how it
//! fails ([`problem`]); and what a listener says while the service is not there yet ([`Door`]).
//!
//! Here the API of all domains, its document and its Swagger UI become one endpoint. Nothing in
//! this folder knows a domain; nothing outside of it builds an error answer by hand.

pub mod admission;
pub mod auth;
pub mod body;
pub mod client;
pub mod connection;
mod door;
mod errors;
pub mod fields;
pub mod health;
pub mod idempotency;
pub mod kind;
pub mod limits;
pub mod listener;
pub mod nullable;
pub mod page;
pub mod problem;
mod problem_document;
pub mod rates;
pub mod request_id;
pub mod routes;
mod shares;
pub mod shell;
mod site;

pub use self::door::Door;
pub use self::site::{Tag, document, site};
