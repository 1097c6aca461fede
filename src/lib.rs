#![doc = include_str!("../README.md")]

pub mod admin;
pub mod app;
pub mod batch;
pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod encryption;
mod front;
#[cfg(test)]
mod fuzz;
pub mod health;
pub mod http;
pub mod ids;
pub mod keys;
pub mod lease;
pub mod logs;
pub mod marketplace;
pub mod metrics;
pub mod openapi;
pub mod places;
pub mod rate;
pub mod retry;
pub mod schedule;
pub mod service;
pub mod stock;
pub mod timestamp;
mod tls;
pub mod traces;
pub mod webhooks;
pub mod worker;

pub use app::App;
