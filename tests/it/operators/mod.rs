//! What an operator sees, and does about it.

mod pauses;
