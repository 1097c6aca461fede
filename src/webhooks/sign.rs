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
        let hex: String = tag
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        headers.push(("x-webhook-signature", format!("sha256={hex}")));
        headers.push(("x-webhook-timestamp", envelope_timestamp.to_string()));
    }
    headers
}

fn hmac(key: &[u8], content: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), content)
}
