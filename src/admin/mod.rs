//! The admin listener: what an operator opens in a browser.
//!
//! [`app`] is one endpoint that serves the apalis board at `/`: the shipped single-page UI
//! (`ui`), the API it calls under `/api/v1` (`board`) and the live log behind it
//! (`events`). It looks at jobs and never changes one: jobs are enqueued by the service
//! only. When a password is set, `login` asks for it before anything is answered.
//!
//! Beside it are other pages ([`with_pages`]): [`operators`], what is stuck and what to do about
//! it, and `/metrics`.
//!
//! Left to others: binding the listener, demanding a password when the address is not
//! loopback, and the numbers themselves ([`jobs::board`]).

mod board;
mod events;
mod listener;
mod login;
pub mod operators;
mod ui;

pub use events::{JOB_SPAN_FIELDS, LogStream};
pub use listener::{app, with_pages};
