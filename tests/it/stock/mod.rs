
mod catalogue;
mod enqueue;
mod levels;
mod listings;
mod products;
mod queue;
mod resync;
mod settings;
//! Stock: what can be sold where, and that every marketplace shows it.

mod adapters;
mod adapters_amazon;
mod adapters_etsy;
mod adapters_hepsiburada;
mod adapters_shopify;
mod adapters_trendyol;
mod contract_mocks;
mod marketplaces;
mod mocks;
