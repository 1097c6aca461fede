//! What a key is.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};
use sqlx::FromRow;
use uuid::Uuid;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::http::auth::{KeyHash, Scope};
use crate::timestamp;

/// A row of `api_keys`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct KeyId(pub Uuid);

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for KeyId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// What is known of a key: everything but the key.
#[derive(Clone, Debug, PartialEq, FromRow, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    /// The organization it acts for.
    pub organization_id: String,
    /// What people call it.
    pub name: Option<String>,
    /// How it begins.
    pub prefix: String,
    /// What it may do.
    pub scope: Scope,
    /// When it was made.
    #[serde(serialize_with = "instant")]
    pub created_at: DateTime<Utc>,
    /// From when on it is not valid.
    #[serde(serialize_with = "optional_instant")]
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    #[serde(serialize_with = "optional_instant")]
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was used last, to the minute.
    #[serde(serialize_with = "optional_instant")]
    pub last_used_at: Option<DateTime<Utc>>,
}

/// Whether a key opens anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// It does.
    Active,
    /// Not any more, by the passing of time.
    Expired,
    /// Not any more, because somebody said so.
    Revoked,
}

impl KeyState {
    /// The word of the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl ApiKey {
    /// Whether it opens anything at an instant.
    pub fn state(&self, now: DateTime<Utc>) -> KeyState {
        if self.revoked_at.is_some() {
            KeyState::Revoked
        } else if self.expires_at.is_some_and(|at| at <= now) {
            KeyState::Expired
        } else {
            KeyState::Active
        }
    }
}

/// A key to be made.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The organization it acts for.
    pub organization_id: String,
    /// What people call it.
    pub name: Option<String>,
    /// What it may do.
    pub scope: Scope,
    /// From when on it is not valid.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A key with its hash, as it is looked up.
#[derive(Debug, FromRow)]
pub(super) struct KeyRow {
    #[sqlx(flatten)]
    pub(super) key: ApiKey,
    pub(super) hash: String,
}

const START: &str = "mps_";
/// Of the part that is shown; no letter of it is mistaken for another.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const SHOWN: usize = 8;
const SECRET_BYTES: usize = 32;
/// 32 bytes in base64 without padding.
const SECRET_LETTERS: usize = 43;

/// The text of a key: `mps_`, eight letters that are shown, `_`, and 256 random bits.
#[derive(Debug)]
pub(super) struct KeyText(SecretString);

impl KeyText {
    /// A new one, from the randomness of the operating system.
    pub(super) fn random() -> Self {
        let mut bytes = [0; SHOWN + SECRET_BYTES];
        getrandom::fill(&mut bytes)
            .expect("the operating system gives random bits once it has started");
        let (shown, secret) = bytes.split_at(SHOWN);
        let shown = shown
            .iter()
            .map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
        let shown: String = shown.collect();
        let secret = URL_SAFE_NO_PAD.encode(secret);
        Self(format!("{START}{shown}_{secret}").into())
    }

    /// How it begins: enough to tell keys apart, and no help to guess one.
    pub(super) fn prefix(&self) -> &str {
        &self.0.expose_secret()[..START.len() + SHOWN]
    }

    /// What is kept of it.
    pub(super) fn hash(&self) -> KeyHash {
        KeyHash::of(self.0.expose_secret())
    }

    /// The text itself, to be shown once.
    pub(super) fn into_secret(self) -> SecretString {
        self.0
    }
}

/// Whether a text could be a key of ours; others are not looked up.
pub(super) fn has_the_form_of_a_key(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(START).map(str::as_bytes) else {
        return false;
    };
    let is_of_secret =
        |letter: &u8| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_');
    rest.len() == SHOWN + 1 + SECRET_LETTERS
        && rest[..SHOWN].iter().all(|letter| LETTERS.contains(letter))
        && rest[SHOWN] == b'_'
        && rest[SHOWN + 1..].iter().all(is_of_secret)
}

fn instant<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&timestamp::format(*at))
}

#[expect(
    clippy::ref_option,
    reason = "serde hands over a reference to the field"
)]
fn optional_instant<S: Serializer>(
    at: &Option<DateTime<Utc>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => instant(at, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_key_has_its_form_and_is_never_made_twice() {
        let mut made = HashSet::new();
        for _ in 0..1000 {
            let key = KeyText::random();
            let text = key.0.expose_secret().to_owned();
            assert!(has_the_form_of_a_key(&text), "{text}");
            assert_eq!(text.len(), 56);
            assert!(text.starts_with(key.prefix()) && key.prefix().len() == 12);
            assert!(!format!("{key:?}").contains(&text[12..]));
            made.insert(text);
        }
        assert_eq!(made.len(), 1000);
    }

    #[test]
    fn what_is_no_key_of_ours_is_told_by_its_form() {
        let good = KeyText::random().into_secret().expose_secret().to_owned();
        let odd = [
            String::new(),
            "mps_".to_owned(),
            good[1..].to_owned(),
            good[..55].to_owned(),
            format!("{good}A"),
            good.replacen("mps_", "MPS_", 1),
            format!("{}=", &good[..55]),
            format!("{}é", &good[..54]),
            format!("mps_{}", "é".repeat(26)),
        ];
        for text in odd {
            assert!(!has_the_form_of_a_key(&text), "{text}");
        }
    }

    #[test]
    fn a_key_ends_at_the_instant_it_expires_and_when_it_is_revoked() {
        let now = DateTime::UNIX_EPOCH;
        let mut key = ApiKey {
            id: KeyId(Uuid::nil()),
            organization_id: "org-1".to_owned(),
            name: None,
            prefix: "mps_aaaaaaaa".to_owned(),
            scope: Scope::Read,
            created_at: now,
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
        };
        assert_eq!(key.state(now), KeyState::Active);
        key.expires_at = Some(now + TimeDelta::milliseconds(1));
        assert_eq!(key.state(now), KeyState::Active);
        assert_eq!(
            key.state(now + TimeDelta::milliseconds(1)),
            KeyState::Expired
        );
        key.revoked_at = Some(now);
        assert_eq!(key.state(now), KeyState::Revoked);
    }
}
