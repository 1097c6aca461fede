//! What a `sync` tick enqueues, and when a tick fires.

mod due;
mod outage;
mod ticks;
mod turns;
