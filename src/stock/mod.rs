//! Stock: what can be sold where, and that every marketplace shows it.
//!
//! A change of stock and the row that says a marketplace has to be told are written in one
//! transaction ([`mod@enqueue`]); a run of the store ([`push`]) reads the newest quantities, sends
//! them, and closes the rows that did not change meanwhile. So no change is lost, a stale quantity
//! never follows a newer one, and a run that dies costs a minute.
//!
//! | file | what |
//! |---|---|
//! | [`catalog_api`], [`warehouses_api`], [`reservations_api`], [`queue_api`], [`sync_api`] | the routes: products and their stores; warehouses and shelves; reservations; queue and settings; pushes |
//! | [`catalog_shapes`], [`level_shapes`], [`queue_shapes`], [`settings_shapes`] | what they take and give |
//! | [`named`], [`problem`] | what a request names; how errors are answered |
//! | [`products`], [`listings`], [`levels`] | products, sets and barcodes; where they are sold; how many there are |
//! | [`shared`], [`pool`], [`layout`] | how counters are moved: locked, worked out, written; and which stores share what |
//! | [`adjust`], [`shelves`], [`warehouses`], [`recount`] | what moves them: counting, shelves, and other warehouses than before |
//! | [`intake`], [`reserve`], [`pick`] | what an order orders, takes and gives back; from which shelves |
//! | [`mod@enqueue`] | what marketplaces have to be told, in the caller's transaction |
//! | [`queue`] | that, shown and added to by hand |
//! | [`push`] | what [`PushStock`](jobs::PushStock) does, top to bottom |
//! | [`settle`] | what an answer means for a push, its items and their rows |
//! | [`gates`] | whether a marketplace may be asked now: pure rules over what is stored |
//! | [`confirm`], [`resync`], [`reconcile`] | what the other jobs do |
//! | [`schedule`], [`janitor`] | what the ticks do |
//! | [`settings`] | how a store is pushed to, and whether |
//! | [`operate`] | what an operator does about it |
//! | [`connector`] | the way out to a marketplace |
//! | [`mock`] | mock marketplaces |
//! | [`queries`] | every statement |
//! | [`model`] | the words |

mod adjust;
pub mod catalog_api;
mod catalog_shapes;
pub mod connector;
mod enqueue;
mod error;
mod events;
pub(crate) mod intake;
mod layout;
mod level_shapes;
mod levels;
mod listings;
pub mod mock;
pub mod model;
mod named;
mod operate;
mod pick;
mod pool;
mod problem;
mod products;
mod queries;
mod queue;
pub mod queue_api;
mod queue_shapes;
pub(crate) mod recount;
mod request;
mod reservation_shapes;
pub mod reservations_api;
pub(crate) mod reserve;
mod resync;
mod settings;
mod settings_shapes;
mod shared;
mod shelves;
mod warehouse_shapes;
mod warehouses;
pub mod warehouses_api;

pub use enqueue::enqueue;
pub use error::Error;
pub(crate) use queries::settings::{GateRow, api_keys, api_secrets};
pub(crate) use settings::Closed;
pub use operate::{push_now, resync_now, set_push_mode, unblock_product};
pub use resync::enqueue_requested_resyncs;
pub(crate) use resync::{free_slot as free_resync_slot, resync_store};
