//! What an operator sees of stock, and does about it.

mod actions;
mod lists;
mod overview;
mod page;
mod pushes;
mod scene;
