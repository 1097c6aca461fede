//! An instant inside a JSON argument of a statement: the form sqlx binds on SQLite, which
//! PostgreSQL reads as well.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serializer;

/// For `#[serde(serialize_with)]`.
#[expect(
    clippy::ref_option,
    reason = "serde hands over a reference to the field"
)]
pub(crate) fn option<S: Serializer>(
    instant: &Option<DateTime<Utc>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match instant {
        Some(instant) => {
            serializer.serialize_some(&instant.to_rfc3339_opts(SecondsFormat::AutoSi, false))
        }
        None => serializer.serialize_none(),
    }
}

/// For `#[serde(serialize_with)]`.
pub(crate) fn of<S: Serializer>(instant: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    option(&Some(*instant), serializer)
}
