//! Encrypts everything stored with the first key, and frees the others.
//!
//! It may run beside any number of processes, be interrupted anywhere and run again: a value is
//! replaced only while it is the one that was read, what is sealed with the first key is left
//! alone, and a key is freed only in a transaction in which nobody can seal with it. A process
//! that still seals with an older key, because it was not restarted, makes the rotation
//! incomplete and nothing else: that key stays in use, and the next rotation finds what it sealed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tracing::{error, info};
use uuid::Uuid;

use super::column::{SealedColumn, StoredSecret};
use super::keyring::{KeyId, Keyring};
use super::queries;
use super::registry::hold_key;
use super::seal::Sealed;
use crate::clock::Clock;
use crate::db::{self, Db};
use crate::http::idempotency;
use crate::{marketplace, stock, webhooks};

/// Secrets replaced in one transaction.
const BATCH: i64 = 100;
/// How often the columns are gone through, at most: others may seal with an older key meanwhile.
const PASSES: u32 = 10;

/// What a rotation came to.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// The key that everything is encrypted with now.
    pub key: Option<KeyId>,
    /// Secrets that were encrypted anew, by column.
    pub rotated: BTreeMap<&'static str, u64>,
    /// Secrets that could not be read, and stay as they are.
    pub unreadable: u64,
    /// Keys that nothing needs any more: drop them from `TOKEN_ENCRYPTION_KEY`.
    pub freed_keys: Vec<KeyId>,
    /// Other keys that are still needed.
    pub kept_keys: Vec<KeyId>,
}

/// There is no key to rotate to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`TOKEN_ENCRYPTION_KEY` must be set: there is no key to encrypt with")]
pub struct NothingToRotateTo;

/// Every column of secrets there is.
pub(super) fn columns() -> [SealedColumn; 5] {
    [
        marketplace::access_tokens(),
        stock::api_keys(),
        stock::api_secrets(),
        webhooks::sealed_secrets(),
        idempotency::sealed_answers(),
    ]
}

/// Encrypts everything stored with the first key of the keyring, and frees the keys that nothing
/// needs any more.
pub async fn rotate_secrets(
    db: &Db,
    keyring: &Keyring,
    clock: &Clock,
) -> sqlx::Result<Result<Rotation, NothingToRotateTo>> {
    let Some(key) = keyring.current() else {
        return Ok(Err(NothingToRotateTo));
    };
    let mut rotation = Rotation {
        key: Some(key.clone()),
        ..Rotation::default()
    };
    for _ in 0..PASSES {
        let mut replaced = 0;
        // What stays unreadable is met again by each pass.
        rotation.unreadable = 0;
        for column in columns() {
            let work = Work {
                db,
                keyring,
                clock,
                key,
                column,
            };
            let (done, unreadable) = work.pass().await?;
            *rotation.rotated.entry(column.column.0).or_default() += done;
            rotation.unreadable += unreadable;
            replaced += done;
        }
        if replaced == 0 {
            break;
        }
    }
    let mut tx = db.read().await?;
    let in_use = queries::keys_in_use(&mut tx).await?;
    tx.save().await?;
    for old in in_use.into_iter().filter(|id| id != key) {
        if free(db, &old).await? {
            rotation.freed_keys.push(old);
        } else {
            rotation.kept_keys.push(old);
        }
    }
    Ok(Ok(rotation))
}

/// Frees a key, unless something is sealed with it.
async fn free(db: &Db, key: &KeyId) -> sqlx::Result<bool> {
    let mut tx = db.write_at_length().await?;
    // Whoever seals with it is waited for, and then what they sealed is seen.
    queries::lock_key(&mut tx, key).await?;
    for column in columns() {
        if column.has_sealed(&mut tx, key).await? {
            return Ok(false);
        }
    }
    queries::forget_key(&mut tx, key).await?;
    tx.save().await?;
    Ok(true)
}

/// One column on its way to one key.
struct Work<'a> {
    db: &'a Db,
    keyring: &'a Keyring,
    clock: &'a Clock,
    key: &'a KeyId,
    column: SealedColumn,
}

impl Work<'_> {
    /// Goes through the column once; tells how many secrets were replaced, and how many cannot be
    /// read.
    async fn pass(&self) -> sqlx::Result<(u64, u64)> {
        let (mut replaced, mut unreadable) = (0, 0);
        let mut after = Uuid::nil();
        loop {
            let mut tx = self.db.read_at_length().await?;
            let page = self.column.page(&mut tx, after, self.key, BATCH).await?;
            tx.save().await?;
            let Some(last) = page.last() else {
                return Ok((replaced, unreadable));
            };
            after = last.id;
            let found = page.len();
            let sealed: Vec<(StoredSecret, Sealed)> =
                page.into_iter().filter_map(|old| self.seal(old)).collect();
            unreadable += count(found - sealed.len());
            let sealed = sealed.as_slice();
            replaced += db::persist(|| self.write(sealed, self.clock.now())).await?;
            info!(
                event = "secrets_rotated",
                column = self.column.column.0,
                rotated = replaced,
                unreadable,
                "encrypted {replaced} secrets of {} with key {}",
                self.column.column.0,
                self.key
            );
        }
    }

    /// A secret, and what is to be stored instead.
    fn seal(&self, old: StoredSecret) -> Option<(StoredSecret, Sealed)> {
        let place = self.column.column.of(old.id);
        match self.keyring.open(place, &old.secret) {
            Ok(secret) => {
                let new = self.keyring.seal(place, &secret);
                Some((old, new))
            }
            Err(error) => {
                error!(event = "secret_unreadable", place = %place, %error, "left {place} alone: {error}");
                None
            }
        }
    }

    async fn write(
        &self,
        sealed: &[(StoredSecret, Sealed)],
        now: DateTime<Utc>,
    ) -> sqlx::Result<u64> {
        if sealed.is_empty() {
            return Ok(0);
        }
        let mut replaced = 0;
        let mut tx = self.db.write().await?;
        hold_key(&mut tx, self.keyring, now).await?;
        for (old, new) in sealed {
            replaced += u64::from(self.column.replace(&mut tx, old, new).await?);
        }
        tx.save().await?;
        Ok(replaced)
    }
}

fn count(secrets: usize) -> u64 {
    u64::try_from(secrets).unwrap_or(u64::MAX)
}
