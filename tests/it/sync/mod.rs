//! What a run of `SyncStore` does to its store, its rows and the outbox.

mod batches;
mod events;
mod lease;
mod logs;
mod rows;
