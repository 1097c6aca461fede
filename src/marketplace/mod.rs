//! Marketplaces: the stores on them, the orders imported from them, and how they are asked.

pub mod amount;
pub mod mock_rules;
pub mod model;
pub mod money;
pub mod status;
