//! Webhooks.

mod callbacks;
mod dead_letters;
mod retention;
mod tools;
