//! Ids inside a JSON argument of a statement: without hyphens, which is what `unhex` of SQLite
//! takes and PostgreSQL reads as well.

use serde::Serializer;
use sqlx::types::Json;
use uuid::Uuid;

/// For `#[serde(serialize_with)]`.
pub(crate) fn of<S: Serializer, T: Copy + Into<Uuid>>(
    id: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&(*id).into().simple())
}

/// A list of them as an argument.
pub(crate) fn list<T: Copy + Into<Uuid>>(ids: &[T]) -> Json<Vec<String>> {
    let text = |id: &T| (*id).into().simple().to_string();
    Json(ids.iter().map(text).collect())
}

/// One that may be missing, for `#[serde(serialize_with)]`.
#[expect(
    clippy::ref_option,
    reason = "serde hands over a reference to the field"
)]
pub(crate) fn option<S: Serializer, T: Copy + Into<Uuid>>(
    id: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => of(id, serializer),
        None => serializer.serialize_none(),
    }
}
