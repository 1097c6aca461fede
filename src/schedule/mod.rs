//! Ticks: which replica runs one, where a pass left off, and what is tidied up.
//!
//! apalis-cron fires in every replica and skips what it missed. Here a tick is a row, so that it
//! runs once over all replicas ([`tick`]); the last missed one is made up for at start.
//! [`slots`] enqueues one job an identity. [`queries`] also keeps where a pass met a full queue
//! ([`Position`]) and which incarnation of the queue was filled. [`housekeeping`] deletes what has served its purpose.

pub(crate) mod housekeeping;
pub(crate) mod queries;
pub(crate) mod slots;
pub(crate) mod tick;

pub use housekeeping::tidy_up;
pub use queries::claim_tick;
pub(crate) use queries::{Position, last_tick, position, set_position};
pub use tick::run_every;
