//! The database: one pool a process, two dialects, one SQL text.
//!
//! [`Db`] is PostgreSQL or SQLite; everything runs in a [`Tx`] named for its intent
//! ([`Db::read`], [`Db::write`]) and ended by [`Tx::save`]; a `Tx` that is dropped is rolled
//! back. Never hold one across an HTTP call. [`on!`] runs one query expression on either
//! driver; [`sql!`] marks a literal, so that one test can prepare every statement on both
//! schemas; where the dialects say the same in different words, [`both!`] puts one text together
//! from what they share and from pieces that are given the dialect; where they really differ,
//! [`Tx::pick`] shows it at the place.
//!
//! | Rust | PostgreSQL | SQLite (STRICT) |
//! |---|---|---|
//! | `Uuid` and its newtypes | UUID | BLOB |
//! | `DateTime<Utc>`, whole milliseconds | TIMESTAMPTZ | TEXT, RFC 3339 (never `datetime('now')`) |
//! | `NaiveDate` | DATE | TEXT |
//! | `f64`, where a fraction is meant | DOUBLE PRECISION | REAL |
//! | JSON | JSONB | TEXT |
//! | enums | TEXT with CHECK | TEXT with CHECK |
//! | `bool` | BOOLEAN | INTEGER |
//! | money: minor units + currency | BIGINT + TEXT | INTEGER + TEXT |
//!
//! SQLite has one writing connection and several reading ones (WAL), so writers of one process
//! queue in the pool instead of meeting `SQLITE_BUSY`; writers of other processes are waited for
//! (busy time-out).
//!
//! Nothing waits for PostgreSQL for ever: a connection has a time limit, and so have its test
//! before and after a use and each answer ([`PgTx`]).

mod connect;
mod error;
pub(crate) mod json_instant;
pub(crate) mod json_uuid;
mod migrate;
mod persist;
mod pg_tx;
mod pieces;
mod schema;
mod statement;
mod transaction;

pub use connect::{Db, Dialect};
pub use error::DbError;
pub(crate) use error::Trouble;
pub(crate) use persist::{AsTransient, is_collision, persist, persist_within};
pub use pg_tx::PgTx;
pub(crate) use pieces::{
    both, ids, is_listed, is_locked, is_one_of, look_up, look_up_any, only_postgres, only_sqlite,
    rows, texts,
};
pub use statement::Statement;
pub(crate) use statement::sql;
pub use transaction::Tx;
pub(crate) use transaction::on;
