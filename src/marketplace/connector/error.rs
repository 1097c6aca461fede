//! Why a marketplace gave no verdict, in the exact words that are stored and answered.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// Why a marketplace gave no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectorError {
    /// Asked too often (429).
    #[error("Rate limit exceeded")]
    RateLimited {
        /// When to come back, if the marketplace said so; at most 24 hours.
        retry_after: Option<Duration>,
        /// What it sent.
        body: ReplyBody,
    },
    /// Not let in (401 or 403).
    #[error("Authentication failed")]
    Auth {
        /// The real status.
        status: u16,
        /// What it sent.
        body: ReplyBody,
    },
    /// Anything else: another status, no answer, or an answer that is none.
    #[error("{message}")]
    Marketplace {
        /// The status, if there was an answer.
        status: Option<u16>,
        /// What is wrong, for people.
        message: Cow<'static, str>,
        /// What it sent.
        body: ReplyBody,
    },
}

impl ConnectorError {
    /// What is stored as a row's `error_details`, and answered by an import.
    pub fn error_details(&self) -> Cow<'static, str> {
        match self {
            Self::RateLimited { .. } => "rate_limited".into(),
            Self::Auth { .. } => format!("AuthError: {self}").into(),
            Self::Marketplace { .. } => format!("MarketplaceError: {self}").into(),
        }
    }

    /// The status of the answer, if there was one.
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::RateLimited { .. } => Some(429),
            Self::Auth { status, .. } => Some(*status),
            Self::Marketplace { status, .. } => *status,
        }
    }

    /// What the marketplace sent; empty if nothing came.
    pub const fn body(&self) -> &ReplyBody {
        match self {
            Self::RateLimited { body, .. }
            | Self::Auth { body, .. }
            | Self::Marketplace { body, .. } => body,
        }
    }

    /// An answer that breaks the marketplace's own contract.
    pub(super) fn invalid_response(status: u16, body: ReplyBody) -> Self {
        Self::Marketplace {
            status: Some(status),
            message: "Invalid marketplace response".into(),
            body,
        }
    }

    /// No answer at all.
    pub(super) fn no_answer(error: &reqwest::Error) -> Self {
        Self::Marketplace {
            status: None,
            message: if error.is_timeout() {
                "Marketplace timeout".into()
            } else {
                "Marketplace unreachable".into()
            },
            body: ReplyBody::default(),
        }
    }
}

/// The beginning of what a marketplace sent, at most [`ReplyBody::LIMIT`] bytes of it.
///
/// It may repeat what we sent, credentials included, so it prints as its length: nothing that
/// logs an error can log a secret with it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ReplyBody(String);

impl ReplyBody {
    /// How much is kept: enough to recognise an error page.
    pub const LIMIT: usize = 4096;

    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let kept = &bytes[..bytes.len().min(Self::LIMIT)];
        Self(String::from_utf8_lossy(kept).into_owned())
    }

    /// The text, for a test or for a person who asked; not for a log.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ReplyBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ReplyBody({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> ReplyBody {
        ReplyBody::from_bytes(b"{\"echo\":\"Basic c2VjcmV0\"}")
    }

    #[test]
    fn the_stored_texts_are_wire_format() {
        let limited = ConnectorError::RateLimited {
            retry_after: None,
            body: body(),
        };
        let auth = ConnectorError::Auth {
            status: 403,
            body: body(),
        };
        let broken = ConnectorError::invalid_response(200, body());
        let texts = [&limited, &auth, &broken].map(|error| {
            let status = error.status().unwrap();
            format!("{status} {error} | {}", error.error_details())
        });
        insta::assert_snapshot!(texts.join("\n"), @r"
        429 Rate limit exceeded | rate_limited
        403 Authentication failed | AuthError: Authentication failed
        200 Invalid marketplace response | MarketplaceError: Invalid marketplace response
        ");
    }

    #[test]
    fn a_printed_error_shows_nothing_of_the_body() {
        let error = ConnectorError::invalid_response(200, body());
        let printed = format!("{error} {error:?} {}", error.error_details());
        assert!(!printed.contains("c2VjcmV0"), "{printed}");
        assert!(error.body().as_str().contains("c2VjcmV0"));
    }

    #[test]
    fn a_long_body_is_cut_even_inside_a_character() {
        let long = "a".repeat(ReplyBody::LIMIT - 1) + "€€€";
        let body = ReplyBody::from_bytes(long.as_bytes());
        assert!(body.as_str().len() < ReplyBody::LIMIT + 3);
        assert!(body.as_str().starts_with("aaa"));
    }
}
