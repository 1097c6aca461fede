//! One secret, sealed for its place and opened again.
//!
//! The stored text is `enc:v1:<key id>:<base64 of nonce and ciphertext>`, AES-256-GCM with a
//! random nonce; the place is authenticated with it, so that a value that is copied to another
//! row or column opens nothing. A text that itself begins with `enc:v` and is stored without a
//! key has `enc:v0:` before it, so that it is not taken for a sealed one.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{Aad, NONCE_LEN, Nonce};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::keyring::{KeyId, Keyring};

/// Before the version of every stored text that is not the secret itself.
const MARK: &str = "enc:v";
/// Before a plain text that could be taken for a sealed one.
const PLAIN: &str = "enc:v0:";
/// Before the key id of a sealed one.
const SEALED: &str = "enc:v1:";

/// A column of secrets, for example `stores.access_token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column(pub &'static str);

impl Column {
    /// The place of a row's secret.
    pub fn of(self, row: Uuid) -> Place {
        Place { column: self, row }
    }
}

/// Where a secret is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    column: Column,
    row: Uuid,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.column.0, self.row)
    }
}

/// A secret as it is stored. Debug output does not show it: it may be plain text.
#[derive(Clone)]
pub struct Sealed(SecretString);

impl Sealed {
    /// What is stored.
    pub fn text(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for Sealed {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sealed(redacted)")
    }
}

/// Why a stored secret cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Nobody told us the key.
    #[error("it is encrypted with key {0}, which `TOKEN_ENCRYPTION_KEY` does not have")]
    UnknownKey(KeyId),
    /// Not what was sealed, or not here.
    #[error("it is damaged, or was encrypted for another row")]
    Damaged,
    /// Of a newer release.
    #[error("it is encrypted in a way that this release does not know")]
    UnknownForm,
}

impl Keyring {
    /// Seals a secret for its place with the first key; without one it stays plain text.
    ///
    /// # Panics
    /// If the operating system has no random bits, which is so only before it has started.
    pub fn seal(&self, place: Place, secret: &SecretString) -> Sealed {
        let text = secret.expose_secret();
        let Some(key) = self.first() else {
            let escape = if text.starts_with(MARK) { PLAIN } else { "" };
            return format!("{escape}{text}").into();
        };
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce)
            .expect("the operating system gives random bits once it has started");
        // Large enough from the start: growing would leave a copy of the text behind.
        let mut bytes =
            Vec::with_capacity(NONCE_LEN + text.len() + key.cipher.algorithm().tag_len());
        bytes.extend(nonce);
        bytes.extend(text.as_bytes());
        let tag = key
            .cipher
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place.to_string()),
                &mut bytes[NONCE_LEN..],
            )
            .expect("a secret is shorter than the 64 GiB that the cipher takes");
        bytes.extend(tag.as_ref());
        format!("{SEALED}{}:{}", key.id, STANDARD.encode(bytes)).into()
    }

    /// Opens what is stored at a place.
    pub fn open(&self, place: Place, stored: &Sealed) -> Result<SecretString, OpenError> {
        let text = stored.text();
        if let Some(plain) = text.strip_prefix(PLAIN) {
            return Ok(plain.into());
        }
        let Some(sealed) = text.strip_prefix(SEALED) else {
            let is_of_newer_release = text
                .strip_prefix(MARK)
                .and_then(|rest| rest.split_once(':'))
                .is_some_and(|(version, _)| version.parse::<u32>().is_ok());
            return if is_of_newer_release {
                Err(OpenError::UnknownForm)
            } else {
                Ok(text.into())
            };
        };
        let (id, encoded) = sealed.split_once(':').ok_or(OpenError::Damaged)?;
        let id = KeyId::parse(id).ok_or(OpenError::Damaged)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| OpenError::Damaged)?;
        let Some(key) = self.key(&id) else {
            return Err(OpenError::UnknownKey(id));
        };
        let mut bytes = Zeroizing::new(bytes);
        let (nonce, ciphertext) = bytes
            .split_at_mut_checked(NONCE_LEN)
            .ok_or(OpenError::Damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError::Damaged)?;
        let plain = key
            .cipher
            .open_in_place(nonce, Aad::from(place.to_string()), ciphertext)
            .map_err(|_| OpenError::Damaged)?;
        let plain = std::str::from_utf8(plain).map_err(|_| OpenError::Damaged)?;
        Ok(plain.into())
    }
}

impl KeyId {
    /// What every text begins with that this key has sealed.
    pub(super) fn prefix(&self) -> String {
        format!("{SEALED}{self}:")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COLUMN: Column = Column("stores.access_token");

    fn keyring(bytes: &[u8]) -> Keyring {
        let keys: Vec<String> = bytes
            .iter()
            .map(|byte| STANDARD.encode([*byte; 32]))
            .collect();
        Keyring::parse(&keys.join(",")).unwrap()
    }

    fn place() -> Place {
        COLUMN.of(Uuid::from_u128(7))
    }

    fn opened(keyring: &Keyring, text: &str) -> Result<String, OpenError> {
        let opened = keyring.open(place(), &text.to_owned().into())?;
        Ok(opened.expose_secret().to_owned())
    }

    fn sealed(keyring: &Keyring, text: &str) -> String {
        keyring.seal(place(), &text.into()).text().to_owned()
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened_and_shows_nothing(secret in "\\PC{0,200}") {
            let keyring = keyring(&[1]);
            let text = sealed(&keyring, &secret);
            prop_assert_eq!(opened(&keyring, &text).unwrap(), &secret[..]);
            prop_assert!(text.starts_with("enc:v1:72cd6e84:"));
            prop_assert!(secret.len() < 4 || !text.contains(&secret));
        }

        #[test]
        fn without_a_key_every_text_is_stored_so_that_it_is_read_again(
            secret in "(enc:v?[0-2]?:?)?\\PC{0,20}",
        ) {
            let none = Keyring::default();
            prop_assert_eq!(&opened(&none, &sealed(&none, &secret)).unwrap(), &secret);
            // Also by somebody who has a key by now.
            prop_assert_eq!(opened(&keyring(&[1]), &sealed(&none, &secret)).unwrap(), secret);
        }

        #[test]
        fn a_changed_byte_opens_nothing(secret in "\\PC{0,40}", at in any::<usize>(), bit in 0..8) {
            let keyring = keyring(&[1]);
            let text = sealed(&keyring, &secret);
            let (head, encoded) = text.rsplit_once(':').unwrap();
            let mut bytes = STANDARD.decode(encoded).unwrap();
            let index = at % bytes.len();
            bytes[index] ^= 1_u8 << bit;
            let changed = format!("{head}:{}", STANDARD.encode(bytes));
            prop_assert_eq!(opened(&keyring, &changed), Err(OpenError::Damaged));
        }

        #[test]
        fn no_text_makes_opening_panic(text in "(enc:v1:(72cd6e84:)?)?\\PC{0,60}") {
            let _ = opened(&keyring(&[1]), &text);
        }
    }

    #[test]
    fn a_short_text_opens_nothing() {
        let keyring = keyring(&[1]);
        let text = sealed(&keyring, "secret");
        for end in "enc:v1:".len()..text.len() {
            assert_eq!(
                opened(&keyring, &text[..end]),
                Err(OpenError::Damaged),
                "{end}"
            );
        }
    }

    #[test]
    fn a_copy_in_another_row_or_column_opens_nothing() {
        let keyring = keyring(&[1]);
        let sealed = keyring.seal(place(), &"secret".into());
        for other in [
            COLUMN.of(Uuid::from_u128(8)),
            Column("webhook_secrets.secret").of(Uuid::from_u128(7)),
        ] {
            assert_eq!(
                keyring.open(other, &sealed).unwrap_err(),
                OpenError::Damaged
            );
        }
    }

    #[test]
    fn every_key_opens_and_the_first_one_seals() {
        let (old, both, new) = (keyring(&[1]), keyring(&[2, 1]), keyring(&[2]));
        let before = sealed(&old, "secret");
        assert_eq!(opened(&both, &before).unwrap(), "secret");
        let after = sealed(&both, "secret");
        assert_eq!(opened(&new, &after).unwrap(), "secret");
        let error = opened(&new, &before).unwrap_err();
        assert_eq!(
            error,
            OpenError::UnknownKey(KeyId::parse("72cd6e84").unwrap())
        );
        assert_eq!(
            error.to_string(),
            "it is encrypted with key 72cd6e84, which `TOKEN_ENCRYPTION_KEY` does not have"
        );
        assert!(opened(&Keyring::default(), &after).is_err());
    }

    #[test]
    fn the_same_secret_is_sealed_differently_each_time() {
        let keyring = keyring(&[1]);
        assert_ne!(sealed(&keyring, "secret"), sealed(&keyring, "secret"));
    }

    /// Made with another library. Values of today are read by every later release.
    #[test]
    fn a_stored_value_stays_readable() {
        const STORED: &str = "enc:v1:72cd6e84:AAECAwQFBgcICQoLz8n+Q07TcEi3QV21kaTUDLt2tNJ6BPld";
        assert_eq!(opened(&keyring(&[1]), STORED).unwrap(), "token-v1");
    }

    #[test]
    fn a_form_of_a_newer_release_is_no_plain_text() {
        assert_eq!(
            opened(&keyring(&[1]), "enc:v2:x"),
            Err(OpenError::UnknownForm)
        );
        assert_eq!(opened(&keyring(&[1]), "enc:vault").unwrap(), "enc:vault");
    }

    #[test]
    fn debug_output_shows_no_stored_text() {
        let stored = Sealed::from("token-v1".to_owned());
        assert_eq!(format!("{stored:?}"), "Sealed(redacted)");
    }
}
