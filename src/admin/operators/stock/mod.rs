//! What an operator opens when a marketplace shows a wrong quantity: which stores are not told, and
//! why, what was sent and what came back.
//!
//! | file | what |
//! |---|---|
//! | [`api`] | the routes below `/admin/api/stock` |
//! | [`overview`], [`lists`], [`push`] | what they read |
//! | [`views`] | how it looks as JSON |

pub(super) mod api;
mod lists;
pub(super) mod overview;
mod push;
pub(super) mod views;
