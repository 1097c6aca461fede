//! What all routes share.

pub mod body;
pub mod fields;
pub mod kind;
pub mod limits;
pub mod problem;
mod problem_document;
pub mod request_id;
