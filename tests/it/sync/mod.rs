//! What a run of `SyncStore` does to its store, its rows and the outbox.

mod batches;
mod database;
mod events;
mod lanes;
mod lease;
mod logs;
mod pauses;
mod rows;
