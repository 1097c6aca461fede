//! Jobs.

pub mod board;
