//! Stock.

mod catalogue;
mod enqueue;
mod levels;
mod listings;
mod products;
mod queue;
mod resync;
mod settings;
