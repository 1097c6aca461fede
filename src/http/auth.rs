//! Who is calling: an API key in `X-API-Key`, or as a bearer token, acts for one organization.
//!
//! Keys are known by their SHA-256 only (they are random, so a slow hash would add nothing) and
//! compared in constant time. A route takes [`Caller`] as its first argument, before the body,
//! and asks [`Caller::may_act_for`] once it knows the organization.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use poem::http::header;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::problem::Problem;

/// The header of a key.
pub const KEY_HEADER: &str = "x-api-key";

/// The SHA-256 of a key. Debug output does not show it.
#[derive(Clone, Copy)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    /// The hash of a key as the caller sends it.
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    fn from_hex(text: &str) -> Option<Self> {
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

/// Finds the organization of a stored key by its hash; an error is answered with 500.
pub type Lookup =
    Arc<dyn Fn(KeyHash) -> BoxFuture<'static, Result<Option<String>, LookupError>> + Send + Sync>;

/// Why stored keys could not be read.
pub type LookupError = Box<dyn std::error::Error + Send + Sync>;

/// Who may call.
#[derive(Clone)]
pub enum Access {
    /// Anybody, for any organization (a loopback listener without keys).
    Anonymous,
    /// Holders of a key.
    Keys {
        /// Keys of the settings.
        listed: Arc<[ListedKey]>,
        /// Keys kept elsewhere, asked when no listed key fits.
        stored: Option<Lookup>,
    },
}

impl fmt::Debug for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => formatter.write_str("Anonymous"),
            Self::Keys { listed, stored } => formatter
                .debug_struct("Keys")
                .field("listed", &listed.len())
                .field("stored", &stored.is_some())
                .finish(),
        }
    }
}

impl Access {
    /// Access by the keys of the settings alone.
    pub fn listed(keys: Vec<ListedKey>) -> Self {
        Self::Keys {
            listed: keys.into(),
            stored: None,
        }
    }

    /// Access by the keys of the settings and by stored ones.
    pub fn listed_or_stored(keys: Vec<ListedKey>, stored: Lookup) -> Self {
        Self::Keys {
            listed: keys.into(),
            stored: Some(stored),
        }
    }

    async fn caller(&self, request: &Request) -> Result<Caller, Problem> {
        let Self::Keys { listed, stored } = self else {
            return Ok(Caller(None));
        };
        let hash = KeyHash::of(presented_key(request).ok_or_else(Problem::unauthorized)?);
        // All are compared, whichever fits: the time tells nothing about the place in the list.
        let mut found = None;
        for key in listed.iter() {
            if bool::from(key.hash.0.ct_eq(&hash.0)) {
                found = Some(key.organization_id.clone());
            }
        }
        if found.is_none()
            && let Some(stored) = stored
        {
            found = stored(hash)
                .await
                .map_err(|error| Problem::internal(error.as_ref()))?;
        }
        found
            .map(|organization| Caller(Some(organization)))
            .ok_or_else(Problem::unauthorized)
    }
}

/// The key of a request: `X-API-Key`, else the bearer token.
fn presented_key(request: &Request) -> Option<&str> {
    let key = request.header(KEY_HEADER).or_else(|| {
        let (scheme, token) = request.header(header::AUTHORIZATION)?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    })?;
    (!key.is_empty()).then_some(key)
}

/// Who is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(Option<String>);

impl Caller {
    /// The organization the caller's key acts for; `None` when access is anonymous.
    pub fn organization_id(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Whether the caller may read and change what belongs to an organization; 403 if not.
    pub fn may_act_for(&self, organization_id: &str) -> Result<(), Problem> {
        match &self.0 {
            Some(own) if own != organization_id => Err(Problem::forbidden()),
            _ => Ok(()),
        }
    }
}

const SCHEMES: [&str; 2] = ["ApiKey", "Bearer"];

impl<'a> ApiExtractor<'a> for Caller {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        let scheme = MetaSecurityScheme {
            ty: "apiKey",
            description: Some("A key made with `marketplace-sync keys create`."),
            name: Some("X-API-Key"),
            key_in: Some("header"),
            scheme: None,
            bearer_format: None,
            flows: None,
            openid_connect_url: None,
        };
        let bearer = MetaSecurityScheme {
            ty: "http",
            description: Some("The same key as a bearer token."),
            name: None,
            key_in: None,
            scheme: Some("bearer"),
            bearer_format: None,
            flows: None,
            openid_connect_url: None,
        };
        registry.create_security_scheme(SCHEMES[0], scheme);
        registry.create_security_scheme(SCHEMES[1], bearer);
    }

    fn security_schemes() -> Vec<&'static str> {
        SCHEMES.to_vec()
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        match request.data::<Access>() {
            Some(access) => Ok(access.caller(request).await?),
            // A listener that was not told who may call lets nobody in.
            None => Err(Problem::unauthorized().into()),
        }
    }
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
                let (before, after) = (source.pick(&["", " ", "\n"]), source.pick(&["", "\t", ","]));
                list += &format!("{before}{organization}:{}{after},", hex(hash, source.flag()));
                written.push((organization, hash));
            }
            let read = parse_keys(&list).map(|keys| -> Vec<_> {
                let pair = |key: ListedKey| (key.organization_id, key.hash.0);
                keys.into_iter().map(pair).collect()
            });
            if written.iter().all(|(organization, _)| !organization.is_empty()) {
                assert_eq!(read, Ok(written), "{list:?}");
            } else {
                assert!(matches!(read, Err(ParseKeysError::NoOrganization(_))), "{list:?}");
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
                    assert!(organization.len() > 1 && organization.ends_with(':'), "{text:?}");
                    assert!(hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text:?}");
                }
                return;
            };
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("s3cr3t") && !shown.contains(&hash), "{shown}");
        });
    }
}
