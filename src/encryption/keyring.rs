//! The keys of `TOKEN_ENCRYPTION_KEY`.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use secrecy::zeroize::Zeroizing;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Hexadecimal digits of an id.
const ID_DIGITS: usize = 8;

/// Which key a value is sealed with: the beginning of the key's SHA-256. No secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct KeyId(String);

impl KeyId {
    fn of(key: &[u8]) -> Self {
        let mut digits = format!("{:x}", Sha256::digest(key));
        digits.truncate(ID_DIGITS);
        Self(digits)
    }

    /// The digits, if they are those of an id.
    pub(super) fn parse(digits: &str) -> Option<Self> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (digits.len() == ID_DIGITS && digits.bytes().all(is_digit)).then(|| Self(digits.to_owned()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// The keys of this process: the first seals, all open. Without a key, secrets are stored as
/// plain text. Debug output shows ids.
#[derive(Clone, Default)]
pub struct Keyring(Arc<[Key]>);

pub(super) struct Key {
    pub(super) id: KeyId,
    pub(super) cipher: LessSafeKey,
}

/// What is wrong with a list of keys. Says which one, never what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// Not base64.
    #[error("key {0} is not base64")]
    NoBase64(usize),
    /// Another length.
    #[error("key {0} has {1} bytes and must have 32")]
    Length(usize, usize),
    /// The same key, or one that could not be told from it.
    #[error("keys {0} and {1} have the same id")]
    SameId(usize, usize),
}

impl Keyring {
    /// Reads base64 keys, separated by commas.
    pub fn parse(list: &str) -> Result<Self, NoKey> {
        let mut keys: Vec<Key> = Vec::new();
        for (number, text) in (1..).zip(list.split(',')) {
            let bytes = STANDARD
                .decode(text.trim())
                .map(Zeroizing::new)
                .map_err(|_| NoKey::NoBase64(number))?;
            let key = UnboundKey::new(&AES_256_GCM, &bytes)
                .map_err(|_| NoKey::Length(number, bytes.len()))?;
            let id = KeyId::of(&bytes);
            if let Some(other) = keys.iter().position(|key| key.id == id) {
                return Err(NoKey::SameId(other + 1, number));
            }
            let cipher = LessSafeKey::new(key);
            keys.push(Key { id, cipher });
        }
        Ok(Self(keys.into()))
    }

    /// Whether there is no key: secrets are stored as plain text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key that seals.
    pub(super) fn first(&self) -> Option<&Key> {
        self.0.first()
    }

    /// The id of the key that seals.
    pub fn current(&self) -> Option<&KeyId> {
        self.first().map(|key| &key.id)
    }

    /// The key with this id.
    pub(super) fn key(&self, id: &KeyId) -> Option<&Key> {
        self.0.iter().find(|key| key.id == *id)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = self.0.iter().map(|key| &key.id.0);
        formatter.write_str("Keyring")?;
        formatter.debug_list().entries(ids).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key of one byte over and over.
    fn key(byte: u8) -> String {
        STANDARD.encode([byte; 32])
    }

    #[test]
    fn the_first_key_seals_and_every_key_has_an_id() {
        let keyring = Keyring::parse(&format!(" {}, {}", key(1), key(2))).unwrap();
        // printf '\001%.0s' {1..32} | sha256sum | head -c 8
        assert_eq!(keyring.current().unwrap().to_string(), "72cd6e84");
        assert_eq!(keyring.0.len(), 2);
        assert!(Keyring::default().is_empty());
        assert_eq!(Keyring::default().current(), None);
    }

    #[test]
    fn a_bad_key_is_named_by_its_place_and_not_shown() {
        let error = |list: &str| Keyring::parse(list).unwrap_err();
        assert_eq!(error("hunter2!"), NoKey::NoBase64(1));
        assert_eq!(error(&format!("{},", key(1))), NoKey::Length(2, 0));
        for bytes in [16, 31, 33, 64] {
            let list = format!("{},{}", key(1), STANDARD.encode(vec![7; bytes]));
            assert_eq!(error(&list), NoKey::Length(2, bytes));
        }
        let list = [key(1), key(2), key(1)].join(",");
        assert_eq!(error(&list), NoKey::SameId(1, 3));
    }

    #[test]
    fn debug_output_shows_ids_and_no_key() {
        let keyring = Keyring::parse(&format!("{},{}", key(1), key(2))).unwrap();
        insta::assert_snapshot!(format!("{keyring:?}"), @r#"Keyring["72cd6e84", "75877bb4"]"#);
    }
}
