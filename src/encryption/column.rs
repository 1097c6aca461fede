//! The columns of secrets, as their domains describe them.

use sqlx::{FromRow, query, query_as};
use uuid::Uuid;

use super::keyring::KeyId;
use super::seal::{Column, Sealed};
use crate::db::{Tx, on};

/// Characters that tell which key a text is sealed with: those of [`KeyId::prefix`]. The
/// statements of a [`SealedColumn`] have the number in their text.
#[cfg(test)]
pub(super) const PREFIX: usize = 16;

/// A column of secrets, with the statements that a rotation needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SealedColumn {
    /// Its name, which is sealed with each value.
    pub(crate) column: Column,
    /// `$1` id, `$2` prefix, `$3` limit: rows behind the id whose value does not begin so.
    pub(crate) page: &'static str,
    /// `$1` id, `$2` old, `$3` new: replaces a value, if it is still the old one.
    pub(crate) replace: &'static str,
    /// `$1` prefix: a row whose value begins so.
    pub(crate) find: &'static str,
}

/// A stored secret.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct StoredSecret {
    pub(crate) id: Uuid,
    #[sqlx(try_from = "String")]
    pub(crate) secret: Sealed,
}

impl SealedColumn {
    /// The next secrets behind a row that a key has not sealed.
    pub(super) async fn page(
        &self,
        tx: &mut Tx,
        after: Uuid,
        key: &KeyId,
        limit: i64,
    ) -> sqlx::Result<Vec<StoredSecret>> {
        on!(tx, conn => query_as(self.page)
            .bind(after).bind(key.prefix()).bind(limit)
            .fetch_all(conn).await)
    }

    /// Replaces a secret, unless somebody else did; tells which.
    pub(super) async fn replace(
        &self,
        tx: &mut Tx,
        old: &StoredSecret,
        new: &Sealed,
    ) -> sqlx::Result<bool> {
        on!(tx, conn => query(self.replace)
            .bind(old.id).bind(old.secret.text()).bind(new.text())
            .execute(conn).await.map(|done| done.rows_affected() == 1))
    }

    /// Whether a key has sealed a secret of this column.
    pub(super) async fn has_sealed(&self, tx: &mut Tx, key: &KeyId) -> sqlx::Result<bool> {
        on!(tx, conn => query(self.find).bind(key.prefix())
            .fetch_optional(conn).await.map(|row| row.is_some()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encryption::rotate::columns;

    #[test]
    fn the_statements_look_at_as_many_characters_as_a_prefix_has() {
        let id = KeyId::parse("72cd6e84").unwrap();
        assert_eq!(id.prefix().len(), PREFIX);
        for column in columns() {
            for text in [column.page, column.find] {
                assert!(text.contains(&format!(", 1, {PREFIX})")), "{text}");
            }
        }
    }
}
