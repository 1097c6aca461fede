//! What the tests share: servers on free ports, outside systems that fail on order.

pub(crate) mod app;
pub(crate) mod browser;
pub(crate) mod counting_marketplace;
pub(crate) mod database;
pub(crate) mod deliveries;
pub(crate) mod dice;
pub(crate) mod faulty_line;
pub(crate) mod json_schema;
pub(crate) mod lock;
pub(crate) mod log;
pub(crate) mod marketplace;
pub(crate) mod mock_marketplaces;
pub(crate) mod outbox;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod promql;
pub(crate) mod queues;
pub(crate) mod receiver;
pub(crate) mod runs;
pub(crate) mod scrape;
pub(crate) mod scripted_connector;
pub(crate) mod server;
pub(crate) mod small_disk;
pub(crate) mod subscriber;
