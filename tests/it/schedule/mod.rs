//! What a `sync` tick enqueues, and when a tick fires.

mod due;
mod outage;
mod slots;
mod ticks;
mod turns;
