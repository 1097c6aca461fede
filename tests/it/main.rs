//! The tests of the service, in one binary.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod board;
mod jobs;
mod support;
