//! The real binary, several processes with work going on all the time, and one fault after the
//! other: no order is lost or doubled, no event is lost, and the service is back by itself.
//!
//! What is asked for is the short form. `FAULT_ROUNDS=20 scripts/test --test it -- faults::` does
//! each fault that often to the same processes.

#![expect(clippy::print_stdout, reason = "figures to read")]

mod clock;
mod database;
mod disk;
mod outside;
mod proof;
mod pulse;
mod redis;
mod shoppers;
mod site;
mod workers;
