//! The real binary, several processes with work going on all the time, and one fault after the
//! other: no order is lost or doubled, no event is lost, and the service is back by itself.
//!
//! With every run each fault happens once, and half the pace must be back. `scripts/faults` is the
//! long form ([`form`]): each fault twenty times to the same processes, and 95 % of the pace within
//! 30 s.

#![expect(clippy::print_stdout, reason = "figures to read")]

mod clock;
mod database;
mod disk;
mod form;
mod outside;
mod proof;
mod pulse;
mod redis;
mod shoppers;
mod site;
mod stock;
mod workers;
