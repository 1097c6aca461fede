//! The contracts of the crate `jobs`, on both transports: each trap of apalis 1.0.0 has a
//! test here that fails when it comes back.

mod lifecycle;
mod queue;
mod redis;
mod schedule;
mod sqlite;
mod worker;
