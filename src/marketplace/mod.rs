//! Marketplaces: the stores on them, the orders imported from them, and how they are asked.
//!
//! | file | what |
//! |---|---|
//! | [`api`] | the routes: register a store, import an order or many, sync status |
//! | [`import`] | what an import does, top to bottom |
//! | [`together`] | its steps in the database, for all who are there at the same time |
//! | [`sync`] | what [`SyncStore`](jobs::SyncStore) does, top to bottom |
//! | [`lanes`] | how many stores of an organization are synced at the same time |
//! | [`schedule`] | what a `sync` tick enqueues |
//! | [`status`] | how a store is doing, from its newest receipts: one pure function |
//! | [`attempt`] | one question about one receipt, shared by import and run |
//! | [`stores`], [`mod@order_states`], [`mod@reconcile`] | registers stores, tells their state, repairs their counts |
//! | [`mod@dead_letters`] | receipts that failed for the last time |
//! | [`operate`] | what an operator does with a store: pause, resume, hurry, requeue |
//! | [`queries`] | every statement |
//! | [`connector`] | the way out to a marketplace |
//! | [`mock_api`], [`mock_rules`] | the mock marketplace |
//! | [`model`], [`money`], [`amount`] | the words |
//!
//! Its tables are `stores` and `sync_logs`.

pub mod amount;
pub mod api;
mod attempt;
pub mod connector;
mod counts;
pub mod dead_letters;
mod error;
mod import;
mod lanes;
pub mod mock_api;
mod mock_request;
pub mod mock_rules;
pub mod model;
pub mod money;
mod operate;
mod order_states;
pub mod queries;
mod reconcile;
mod schedule;
pub mod status;
mod stores;
mod sync;
mod together;
mod turns;

pub(crate) use dead_letters::{dead_receipts, revive_receipt};
pub use error::Error;
pub use import::Imports;
pub use lanes::Lanes as SyncLanes;
pub(crate) use lanes::enter_lane;
pub(crate) use model::OrderState;
pub(crate) use operate::import_due_orders;
pub use operate::{Hurried, OperateError, pause_store, requeue_receipts, resume_store, sync_now};
pub(crate) use order_states::order_states;
pub(crate) use queries::stores::access_tokens;
pub use reconcile::Drift;
pub(crate) use reconcile::reconcile;
pub use schedule::{Pass, enqueue_due_stores};
pub(crate) use stores::{clear_expired_leases, free_slot, register_store};
pub(crate) use sync::sync_store;
pub(crate) use together::Together;
