//! The tests of the service, in one binary.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod jobs;
mod support;
