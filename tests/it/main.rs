//! One binary for all tests that use the service from outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod connector;
mod mock_marketplace;
mod support;
