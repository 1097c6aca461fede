//! What an operator opens when something is stuck: which stores and webhooks, and why, and what
//! can be done about it.
//!
//! | file | what |
//! |---|---|
//! | [`api`] | the routes below `/admin/api`: an overview, lists, actions |
//! | [`page`] | the pages at `/admin/` and `/admin/stock`: HTML, a style sheet, scripts |
//! | [`request`] | what the routes have in common |
//! | [`overview`], [`lists`] | what the routes read |
//! | [`stock`] | all of this for stock |
//! | [`views`] | how it looks as JSON |
//! | [`queries`] | every statement |
//!
//! It reads across the domains, as whoever watches does, and changes nothing by itself: actions
//! are functions of the domains. Whatever it reads is bounded: a count stops at a thousand, a
//! list has pages, and each is a look into an index, so that it may be opened when the database
//! has enough to do already.

mod api;
mod lists;
mod overview;
mod page;
mod queries;
mod request;
mod stock;
mod views;

pub use api::routes;
