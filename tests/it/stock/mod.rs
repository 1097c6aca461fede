//! Stock: what can be sold, what is reserved, and that nothing is sold twice.

mod adjust;
mod answers;
mod books;
mod goods;
mod races;
mod reserve;
mod shared;
mod walks;
mod warehouses;
