//! The tests of the service, in one binary.

mod jobs;
mod support;
