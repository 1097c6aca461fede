//! The tests of the service from outside, in one binary: one file a domain or contract.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod board;
mod connector;
mod encryption;
mod faults;
mod growth;
mod health;
mod http_contract;
mod idempotency;
mod jobs;
mod metrics;
mod migrations;
mod mock_marketplace;
mod model;
mod openapi;
mod operators;
mod ops;
mod orders;
mod processes;
mod query_plans;
mod repository;
mod schedule;
mod sql;
mod stock;
mod stores;
mod support;
mod sync;
mod traces;
mod upgrade;
mod webhooks;
mod wire;
