//! Stock: what can be sold where, that nothing is sold twice, and that every marketplace shows it.

mod adapters;
mod adapters_amazon;
mod adapters_etsy;
mod adapters_hepsiburada;
mod adapters_shopify;
mod adapters_trendyol;
mod adjust;
mod answers;
mod books;
mod catalogue;
mod contract_mocks;
mod enqueue;
mod goods;
mod levels;
mod listings;
mod marketplaces;
mod mocks;
mod products;
mod queue;
mod races;
mod reserve;
mod resync;
mod settings;
mod shared;
mod walks;
mod warehouses;
