//! Signatures: how a receiver knows that an event is ours and unchanged.
//!
//! Two schemes at once. [`standard_headers`]: Standard Webhooks, with secrets of the endpoint;
//! every secret that is still valid signs, so that a rotation breaks nobody. And
//! [`reference_headers`]: one secret of the whole service, as the reference has it.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use jobs::OutboxId;
use ring::hmac;
use secrecy::{ExposeSecret, SecretSlice, SecretString};

use crate::timestamp::Timestamp;

/// Before every secret, so that people and scanners know one when they see it.
const PREFIX: &str = "whsec_";
/// Random bytes of a new secret.
const NEW_BYTES: usize = 24;

/// What an endpoint's events are signed with. Debug output does not show it.
#[derive(Clone)]
pub struct SigningSecret(SecretSlice<u8>);

impl SigningSecret {
    /// A new one, from the operating system's random bits.
    ///
    /// # Panics
    /// If there are none, which is so only before the system has started.
    pub fn generate() -> Self {
        let mut bytes = vec![0; NEW_BYTES];
        getrandom::fill(&mut bytes)
            .expect("the operating system gives random bits once it has started");
        Self(bytes.into())
    }

    /// As people copy it: `whsec_…`.
    pub fn to_text(&self) -> SecretString {
        format!("{PREFIX}{}", STANDARD.encode(self.0.expose_secret())).into()
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SigningSecret(redacted)")
    }
}

/// The text is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signing secret is `whsec_` and base64 of 24 to 64 bytes")]
pub struct NoSigningSecret;

impl FromStr for SigningSecret {
    type Err = NoSigningSecret;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let encoded = text.strip_prefix(PREFIX).ok_or(NoSigningSecret)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| NoSigningSecret)?;
        if !(24..=64).contains(&bytes.len()) {
            return Err(NoSigningSecret);
        }
        Ok(Self(bytes.into()))
    }
}

/// The headers of Standard Webhooks. The id is that of the event, the same on every attempt; the
/// time is that of the attempt.
pub fn standard_headers(
    id: OutboxId,
    at: DateTime<Utc>,
    body: &[u8],
    secrets: &[SigningSecret],
) -> [(&'static str, String); 3] {
    let id = id.to_string();
    let timestamp = at.timestamp().to_string();
    let signatures: Vec<String> = secrets
        .iter()
        .map(|secret| signature(secret, &id, &timestamp, body))
        .collect();
    [
        ("webhook-id", id),
        ("webhook-timestamp", timestamp),
        ("webhook-signature", signatures.join(" ")),
    ]
}

fn signature(secret: &SigningSecret, id: &str, timestamp: &str, body: &[u8]) -> String {
    let content = [id.as_bytes(), timestamp.as_bytes(), body];
    let tag = hmac(secret.0.expose_secret(), content.join(&b'.').as_slice());
    format!("v1,{}", STANDARD.encode(tag))
}

/// The headers of the reference: the event's id always; with a secret of the whole service also
/// a signature over the body, and the time that stands in it.
pub fn reference_headers(
    id: OutboxId,
    envelope_timestamp: Timestamp,
    body: &[u8],
    secret: Option<&SecretString>,
) -> Vec<(&'static str, String)> {
    let mut headers = vec![("x-event-id", id.to_string())];
    let secret = secret.map(ExposeSecret::expose_secret);
    if let Some(secret) = secret.filter(|secret| !secret.is_empty()) {
        let tag = hmac(secret.as_bytes(), body);
        headers.push((
            "x-webhook-signature",
            format!("sha256={}", hex(tag.as_ref())),
        ));
        headers.push(("x-webhook-timestamp", envelope_timestamp.to_string()));
    }
    headers
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
    let digits = bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]);
    digits.collect()
}

fn hmac(key: &[u8], content: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), content)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published with the specification, its libraries and their documentation.
    #[test]
    fn the_published_vectors_have_the_published_signatures() {
        for (secret, id, timestamp, body, expected) in [
            (
                "whsec_plJ3nmyCDGBKInavdOK15jsl",
                "msg_loFOjxBNrRLzqYUf",
                "1731705121",
                r#"{"event_type":"ping","data":{"success":true}}"#,
                "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
            ),
            (
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                "1614265330",
                r#"{"test": 2432232314}"#,
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
            (
                "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
                "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
                "1649367553",
                r#"{"email":"test@example.com","username":"test_user"}"#,
                "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
            ),
        ] {
            // The first one is shorter than what the specification asks for now.
            let secret = STANDARD.decode(&secret[PREFIX.len()..]).unwrap();
            let secret = SigningSecret(secret.into());
            assert_eq!(signature(&secret, id, timestamp, body.as_bytes()), expected);
        }
    }

    #[test]
    fn a_secret_reads_back_as_it_was_shown_and_is_never_printed() {
        let secret = SigningSecret::generate();
        let text = secret.to_text();
        let text = text.expose_secret();
        assert_eq!((&text[..6], text.len()), ("whsec_", 38));
        let back: SigningSecret = text.parse().unwrap();
        assert_eq!(back.to_text().expose_secret(), text);
        assert_ne!(SigningSecret::generate().to_text().expose_secret(), text);
        assert_eq!(format!("{secret:?}"), "SigningSecret(redacted)");
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        let of_bytes = |count| format!("whsec_{}", STANDARD.encode(vec![7; count]));
        for good in [24, 25, 64] {
            assert!(of_bytes(good).parse::<SigningSecret>().is_ok(), "{good}");
        }
        for bad in [of_bytes(23), of_bytes(65), String::new(), "whsec_".into()] {
            assert!(bad.parse::<SigningSecret>().is_err(), "{bad}");
        }
        let bare = STANDARD.encode([7; 24]);
        assert!(bare.parse::<SigningSecret>().is_err());
        assert!(
            format!("whsec_{}!", &bare[1..])
                .parse::<SigningSecret>()
                .is_err()
        );
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;
    use crate::fuzz::fuzz;

    /// The official library has the last word on what a secret is worth.
    #[test]
    fn a_secret_is_read_as_receivers_read_it_and_written_as_it_was_read() {
        fuzz!(|source| {
            let bytes: [u8; 80] = source.bytes();
            let encoded = STANDARD.encode(&bytes[..source.below(81)]);
            let text = format!("{PREFIX}{encoded}");
            let text = source.nearly(&text);
            let official = standardwebhooks::Webhook::new(&text);
            let Ok(secret) = text.parse::<SigningSecret>() else {
                let letters = text.strip_prefix(PREFIX).unwrap_or_default();
                let padding = letters.bytes().filter(|byte| *byte == b'=').count();
                let length = (letters.len() / 4 * 3).saturating_sub(padding);
                assert!(
                    !(24..=64).contains(&length) || official.is_err(),
                    "{text:?}"
                );
                return;
            };
            assert_eq!(secret.to_text().expose_secret(), text);
            let (id, body) = (OutboxId(uuid::Uuid::from_bytes(source.bytes())), b"{}");
            let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
            let [.., (_, signature)] = standard_headers(id, at, body, &[secret]);
            let expected = official.unwrap().sign(&id.to_string(), 1_700_000_000, body);
            assert_eq!(signature, expected.unwrap());
        });
    }
}
