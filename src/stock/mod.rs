//! Stock: what can be sold where, and that every marketplace shows it.
//!
//! A change of stock and the row that says a marketplace has to be told are written in one
//! transaction ([`mod@enqueue`]); a run of the store ([`push`]) reads the newest quantities, sends
//! them, and closes the rows that did not change meanwhile. So no change is lost, a stale quantity
//! never follows a newer one, and a run that dies costs a minute.
//!
//! | file | what |
//! |---|---|
//! | [`catalog_api`], [`warehouses_api`], [`reservations_api`], [`sync_api`] | the routes: products and their stores; warehouses and shelves; reservations; queue, pushes, settings |
//! | [`products`], [`listings`], [`levels`] | products, sets and barcodes; where they are sold; how many there are |
//! | [`adjust`], [`warehouses`], [`shelves`], [`shared`] | what moves counters: counting, shelves, and the stores that share them |
//! | [`reserve`] | what an order takes and gives back |
//! | [`mod@enqueue`] | what marketplaces have to be told, in the caller's transaction |
//! | [`push`] | what [`PushStock`](jobs::PushStock) does, top to bottom |
//! | [`settle`] | what an answer means for a push, its items and their rows |
//! | [`gates`] | whether a marketplace may be asked now: pure rules over what is stored |
//! | [`confirm`], [`resync`], [`reconcile`] | what the other jobs do |
//! | [`schedule`], [`janitor`] | what the ticks do |
//! | [`settings`] | how a store is pushed to, and whether |
//! | [`connector`] | the way out to a marketplace |
//! | [`mock`] | mock marketplaces |
//! | [`queries`] | every statement |
//! | [`model`] | the words |

mod abandon;
mod answer;
mod api_logs;
mod compose;
mod confirm;
pub mod connector;
mod error;
mod events;
mod failures;
mod gates;
mod janitor;
pub mod model;
mod named;
mod offline;
mod problem;
mod push;
mod push_shapes;
pub mod pushes_api;
mod queries;
mod read_back;
mod reading;
mod reconcile;
mod rejections;
mod results;
mod rollout;
mod run;
mod schedule;
mod send;
mod settings;
mod settle;

pub(crate) use confirm::{confirm_push, free_slot as free_look_slot};
pub use error::Error;
pub use janitor::{Cleared, clear_up_stock};
pub(crate) use push::{free_slot as free_push_slot, push_stock};
pub(crate) use reconcile::{free_slot as free_comparison_slot, reconcile_stock};
pub use schedule::{StockPass, enqueue_comparisons, enqueue_due_looks, enqueue_due_stock};
