//! The tests of the service from outside, in one binary: one file a domain or contract.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod board;
mod connector;
mod http_contract;
mod jobs;
mod mock_marketplace;
mod processes;
mod smoke;
mod support;
