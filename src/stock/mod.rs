//! Stock: what can be sold where, and that every marketplace shows it.
//!
//! A change of stock and the row that says a marketplace has to be told are written in one
//! transaction ([`mod@enqueue`]); a run of the store ([`push`]) reads the newest quantities, sends
//! them, and closes the rows that did not change meanwhile. So no change is lost, a stale quantity
//! never follows a newer one, and a run that dies costs a minute.
//!
//! | file | what |
//! |---|---|
//! | [`catalog_api`], [`warehouses_api`], [`reservations_api`], [`queue_api`], [`pushes_api`] | the routes: products and their stores; warehouses and shelves; reservations; queue and settings; pushes |
//! | [`catalog_shapes`], [`level_shapes`], [`queue_shapes`], [`settings_shapes`], [`push_shapes`] | what they take and give |
//! | [`named`], [`problem`] | what a request names; how errors are answered |
//! | [`products`], [`listings`], [`levels`] | products, sets and barcodes; where they are sold; how many there are |
//! | [`shared`], [`pool`], [`layout`] | how counters are moved: locked, worked out, written; and which stores share what |
//! | [`adjust`], [`shelves`], [`warehouses`], [`recount`] | what moves them: counting, shelves, and other warehouses than before |
//! | [`intake`], [`reserve`], [`pick`] | what an order orders, takes and gives back; from which shelves |
//! | [`turns`] | whose order is next |
//! | [`mod@enqueue`] | what marketplaces have to be told, in the caller's transaction |
//! | [`queue`] | that, shown and added to by hand |
//! | [`push`], [`run`] | what [`PushStock`](jobs::PushStock) does, top to bottom; step by step |
//! | [`gates`] | whether a marketplace may be told something now: pure rules over what is stored |
//! | [`compose`] | what of the rows that are due goes into a request: a pure function |
//! | [`send`] | one request: written before it is sent, never the same twice in a while |
//! | [`answer`], [`settle`] | what an answer means, and writing that, fenced |
//! | [`failures`], [`results`], [`rejections`], [`reading`] | what failures, results, refusals and what is shown mean: pure functions |
//! | [`abandon`], [`offline`] | pushes whose run died; stores that are off, or only try it out |
//! | [`confirm`], [`read_back`], [`resync`], [`reconcile`] | what the other jobs do |
//! | [`schedule`], [`janitor`] | what the ticks do |
//! | [`events`], [`api_logs`], [`rollout`] | what subscribers hear; the log of requests; how far an organization is |
//! | [`settings`] | how a store is pushed to, and whether |
//! | [`operate`] | what an operator does about it |
//! | [`connector`] | the way out to a marketplace |
//! | [`mock`] | mock marketplaces |
//! | [`queries`] | every statement |
//! | [`model`] | the words |

mod abandon;
mod adjust;
mod answer;
mod api_logs;
pub mod catalog_api;
mod catalog_shapes;
mod compose;
mod confirm;
pub mod connector;
mod enqueue;
mod error;
mod events;
mod failures;
mod gates;
pub(crate) mod intake;
mod janitor;
mod layout;
mod level_shapes;
mod levels;
mod listings;
pub mod mock;
pub mod model;
mod named;
mod offline;
mod operate;
mod pick;
mod pool;
mod problem;
mod products;
mod push;
mod push_shapes;
pub mod pushes_api;
mod queries;
mod queue;
pub mod queue_api;
mod queue_shapes;
mod read_back;
mod reading;
mod reconcile;
pub(crate) mod recount;
mod rejections;
mod reservation_shapes;
pub mod reservations_api;
pub(crate) mod reserve;
mod results;
mod resync;
mod rollout;
mod run;
mod schedule;
mod send;
mod settings;
mod settings_shapes;
mod settle;
mod shared;
mod shelves;
pub(crate) mod turns;
mod warehouse_shapes;
mod warehouses;
pub mod warehouses_api;

pub(crate) use confirm::{confirm_push, free_slot as free_look_slot};
pub use enqueue::enqueue;
pub use error::Error;
pub use janitor::{Cleared, clear_up_stock};
pub use operate::{push_now, resync_now, set_push_mode, unblock_product};
pub(crate) use push::{free_slot as free_push_slot, push_stock};
pub(crate) use queries::claim::due_rows;
pub(crate) use queries::quantities::pairs;
pub(crate) use queries::settings::{GateRow, api_keys, api_secrets, gate_columns};
pub(crate) use reconcile::{free_slot as free_comparison_slot, reconcile_stock};
pub use resync::enqueue_requested_resyncs;
pub(crate) use resync::{free_slot as free_resync_slot, resync_store};
pub use schedule::{StockPass, enqueue_comparisons, enqueue_due_looks, enqueue_due_stock};
pub(crate) use settings::Closed;
