//! Stock: what can be sold where, and that every marketplace shows it.

mod adapters;
mod adapters_amazon;
mod adapters_etsy;
mod adapters_hepsiburada;
mod adapters_shopify;
mod adapters_trendyol;
mod contract_mocks;
mod marketplaces;
mod mock_commands;
mod mocks;
