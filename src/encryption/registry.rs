//! Which keys are in use, so that none is given up too early.

use chrono::{DateTime, Utc};

use super::keyring::{KeyId, Keyring};
use super::queries;
use crate::db::{Db, Tx};

/// A key is missing that stored secrets are sealed with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`TOKEN_ENCRYPTION_KEY` lacks the key {0}, which stored secrets are encrypted with: add it \
     behind the first key, and drop it only after `marketplace-sync keys rotate-encryption`"
)]
pub struct MissingKey(pub KeyId);

/// Whether every stored secret can be opened with the keys of this process.
pub async fn check_keys(db: &Db, keyring: &Keyring) -> sqlx::Result<Result<(), MissingKey>> {
    let mut tx = db.read().await?;
    let in_use = queries::keys_in_use(&mut tx).await?;
    tx.save().await?;
    let missing = in_use.into_iter().find(|id| keyring.key(id).is_none());
    Ok(missing.map_or(Ok(()), |id| Err(MissingKey(id))))
}

/// Keeps the key that seals in use until the transaction ends, which is to write what it sealed:
/// it may have been freed by a rotation that this process did not hear of.
pub(crate) async fn hold_key(
    tx: &mut Tx,
    keyring: &Keyring,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let Some(id) = keyring.current() else {
        return Ok(());
    };
    while !queries::share_key(tx, id).await? {
        queries::note_key(tx, id, now).await?;
    }
    Ok(())
}
