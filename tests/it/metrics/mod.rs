//! What operators watch: each number is right, each label has few values, nothing is secret.

mod listeners;
mod read;
mod recorded;
