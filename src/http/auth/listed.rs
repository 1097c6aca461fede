//! Keys by their hash, and those that the settings list.
//!
//! Keys are known by their SHA-256 only. Those that the service makes are random, so a slow hash
//! would add nothing; whoever lists a key should make it the same way.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// The SHA-256 of a key. Debug output does not show it.
/// Compare two with [`ConstantTimeEq`]; there is no other way.
#[derive(Clone, Copy)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    /// The hash of a key as the caller sends it.
    pub fn of(key: &str) -> Self {
        Self::of_bytes(key.as_bytes())
    }

    /// The hash of what may be no text.
    pub fn of_bytes(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Reads 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *byte = u8::try_from(high * 16 + low).ok()?;
        }
        Some(Self(bytes))
    }

    /// As it is stored: 64 hexadecimal digits.
    pub fn to_hex(self) -> String {
        let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits.map(digit).collect()
    }
}

/// Takes the same time whichever bytes differ.
impl ConstantTimeEq for KeyHash {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeyHash(…)")
    }
}

/// A key from the settings, and the organization it acts for.
#[derive(Debug, Clone)]
pub struct ListedKey {
    /// The organization.
    pub organization_id: String,
    /// The hash of the key.
    pub hash: KeyHash,
}

impl ListedKey {
    /// How the log names it: by the beginning of its entry in `API_KEYS`.
    pub(super) fn name(&self) -> String {
        let mut hash = self.hash.to_hex();
        hash.truncate(8);
        format!("API_KEYS:{hash}")
    }
}

/// What is wrong with a list of keys. Says which entry, never what is in it: it may be a key
/// that somebody forgot to hash.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseKeysError {
    /// No colon.
    #[error("entry {0} is not of the form organization:sha256hex")]
    NoColon(usize),
    /// Nothing before the colon.
    #[error("entry {0} has no organization before its last colon")]
    NoOrganization(usize),
    /// Not a hash.
    #[error("entry {0} must end in the SHA-256 of the key, as 64 hexadecimal digits")]
    NoHash(usize),
}

/// Reads `org:sha256hex,…`. Split at the last colon: an organization may have colons.
pub fn parse_keys(list: &str) -> Result<Vec<ListedKey>, ParseKeysError> {
    let entries = list.split(',').map(str::trim).enumerate();
    entries
        .filter(|(_, entry)| !entry.is_empty())
        .map(|(index, entry)| {
            let number = index + 1;
            let (organization_id, hash) = entry
                .rsplit_once(':')
                .ok_or(ParseKeysError::NoColon(number))?;
            if organization_id.is_empty() {
                return Err(ParseKeysError::NoOrganization(number));
            }
            let hash = KeyHash::from_hex(hash).ok_or(ParseKeysError::NoHash(number))?;
            Ok(ListedKey {
                organization_id: organization_id.to_owned(),
                hash,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{KeyHash, ParseKeysError, parse_keys};

    const HASH: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    #[test]
    fn a_list_of_keys_is_split_at_the_last_colon() {
        let keys = parse_keys(&format!(" urn:shop:7:{HASH} ,org-1:{HASH},")).unwrap();
        let organizations: Vec<_> = keys
            .iter()
            .map(|key| key.organization_id.as_str())
            .collect();
        assert_eq!(organizations, ["urn:shop:7", "org-1"]);
        assert_eq!(keys[0].hash.0, KeyHash::of("secret").0);
        assert_eq!(keys[0].hash.to_hex(), HASH);
        assert!(parse_keys("").unwrap().is_empty());
    }

    #[test]
    fn a_bad_entry_is_named_by_its_place_and_not_shown() {
        let error = |list: &str| parse_keys(list).unwrap_err();
        assert_eq!(
            error(&format!("a:{HASH},secret")),
            ParseKeysError::NoColon(2)
        );
        assert_eq!(
            error(&format!(":{HASH}")),
            ParseKeysError::NoOrganization(1)
        );
        assert_eq!(error("org:plain-key"), ParseKeysError::NoHash(1));
        assert_eq!(
            error(&format!("org:{}", "ü".repeat(32))),
            ParseKeysError::NoHash(1)
        );
    }

    #[test]
    fn debug_output_shows_no_hash() {
        let keys = parse_keys(&format!("org:{HASH}")).unwrap();
        insta::assert_snapshot!(format!("{keys:?}"), @r#"[ListedKey { organization_id: "org", hash: KeyHash(…) }]"#);
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;
    use crate::fuzz::fuzz;

    fn hex(bytes: [u8; 32], is_upper: bool) -> String {
        let digits = |byte: u8| {
            if is_upper {
                format!("{byte:02X}")
            } else {
                format!("{byte:02x}")
            }
        };
        bytes.into_iter().map(digits).collect()
    }

    #[test]
    fn a_list_of_keys_is_read_as_it_was_written() {
        fuzz!(|source| {
            let mut list = String::new();
            let mut written = Vec::new();
            for _ in 0..source.below(4) {
                let organization = source.text(&["org", "-", "urn", ":", "7"]).replace(',', "");
                let organization = organization.trim().to_owned();
                let hash: [u8; 32] = source.bytes();
                let (before, after) =
                    (source.pick(&["", " ", "\n"]), source.pick(&["", "\t", ","]));
                let hash_text = hex(hash, source.flag());
                list.extend([before, &organization, ":", &hash_text, after, ","]);
                written.push((organization, hash));
            }
            let read = parse_keys(&list).map(|keys| -> Vec<_> {
                let pair = |key: ListedKey| (key.organization_id, key.hash.0);
                keys.into_iter().map(pair).collect()
            });
            if written
                .iter()
                .all(|(organization, _)| !organization.is_empty())
            {
                assert_eq!(read, Ok(written), "{list:?}");
            } else {
                assert!(
                    matches!(read, Err(ParseKeysError::NoOrganization(_))),
                    "{list:?}"
                );
            }
        });
    }

    #[test]
    fn what_is_no_list_of_keys_is_refused_and_not_repeated() {
        fuzz!(|source| {
            let hash = hex(source.bytes(), false);
            let text = source.text(&["s3cr3t", ":", ",", "org", &hash[..32], &hash]);
            let Err(error) = parse_keys(&text) else {
                let entries = text.split(',').map(str::trim).filter(|it| !it.is_empty());
                for entry in entries {
                    let (organization, hash) = entry.split_at(entry.len() - 64);
                    assert!(
                        organization.len() > 1 && organization.ends_with(':'),
                        "{text:?}"
                    );
                    assert!(
                        hash.bytes().all(|byte| byte.is_ascii_hexdigit()),
                        "{text:?}"
                    );
                }
                return;
            };
            let shown = format!("{error} {error:?}");
            assert!(
                !shown.contains("s3cr3t") && !shown.contains(&hash),
                "{shown}"
            );
        });
    }
}
