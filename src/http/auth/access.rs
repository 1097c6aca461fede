//! Which keys there are, and what each may do.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::BoxFuture;
use poem::http::Method;
use serde::Serialize;
use subtle::ConstantTimeEq;
use tracing::warn;

use super::listed::{KeyHash, ListedKey};
use crate::http::problem::Problem;

/// What a key may do.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, sqlx::Type, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "TEXT", rename_all = "snake_case")]
pub enum Scope {
    /// Look at what there is.
    Read,
    /// Look, change and trigger.
    Write,
}

impl Scope {
    /// What a request with this method needs. A method nobody has heard of may change things.
    pub(super) fn needed_by(method: &Method) -> Self {
        match *method {
            Method::GET | Method::HEAD | Method::OPTIONS => Self::Read,
            _ => Self::Write,
        }
    }
}

/// What the holder of a key may do, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The organization the key acts for, and no other.
    pub organization_id: String,
    /// What it may do there.
    pub scope: Scope,
    /// How the log names the key; nothing that opens anything.
    pub key_name: String,
}

/// Keys that are kept elsewhere. An error is answered as it is.
pub trait StoredKeys: Send + Sync {
    /// What the holder of this key may do; `None` if nothing: nobody made it, or it is over.
    fn grant<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Grant>, Problem>>;

    /// Whether a key was ever made.
    fn exist(&self) -> BoxFuture<'_, Result<bool, Problem>>;
}

/// Who may call.
#[derive(Clone)]
pub struct Access {
    anonymous: Anonymous,
    listed: Arc<[ListedKey]>,
    stored: Option<Arc<dyn StoredKeys>>,
}

/// Whether a key is needed at all.
#[derive(Clone, Debug)]
enum Anonymous {
    Always,
    Never,
    /// Until one is made; then never again in this process.
    WhileNoKeyExists {
        is_over: Arc<AtomicBool>,
    },
}

impl fmt::Debug for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Access")
            .field("anonymous", &self.anonymous)
            .field("listed", &self.listed.len())
            .field("stored", &self.stored.is_some())
            .finish()
    }
}

impl Access {
    /// Anybody may act for any organization.
    pub fn anonymous() -> Self {
        Self {
            anonymous: Anonymous::Always,
            listed: Arc::new([]),
            stored: None,
        }
    }

    /// By a key: one of the settings, or a stored one.
    pub fn by_key(listed: Vec<ListedKey>, stored: Option<Arc<dyn StoredKeys>>) -> Self {
        Self {
            anonymous: Anonymous::Never,
            listed: listed.into(),
            stored,
        }
    }

    /// Anybody while there is no key, then by a key; the first one counts at once. `is_over` is
    /// true as soon as one was seen.
    pub fn anonymous_until_a_key_exists(
        stored: Arc<dyn StoredKeys>,
        is_over: Arc<AtomicBool>,
    ) -> Self {
        Self {
            anonymous: Anonymous::WhileNoKeyExists { is_over },
            listed: Arc::new([]),
            stored: Some(stored),
        }
    }

    /// Whether, as far as is known, no key is needed; for the document of the API.
    pub fn may_be_anonymous(&self) -> bool {
        match &self.anonymous {
            Anonymous::Always => true,
            Anonymous::Never => false,
            Anonymous::WhileNoKeyExists { is_over } => !is_over.load(Ordering::Relaxed),
        }
    }

    /// Whether no key is needed.
    pub async fn is_anonymous(&self) -> Result<bool, Problem> {
        let is_over = match &self.anonymous {
            Anonymous::Always => return Ok(true),
            Anonymous::Never => return Ok(false),
            Anonymous::WhileNoKeyExists { is_over } => is_over,
        };
        if is_over.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let exist = match &self.stored {
            Some(stored) => stored.exist().await?,
            None => false,
        };
        if exist && !is_over.swap(true, Ordering::Relaxed) {
            warn!(
                event = "key_needed",
                "an API key exists: nobody may call without one any more"
            );
        }
        Ok(!exist)
    }

    /// What the holder of a key may do; `None` if nobody knows it.
    pub(super) async fn grant(&self, key: &str) -> Result<Option<Grant>, Problem> {
        let hash = KeyHash::of(key);
        // All are compared, whichever fits: the time tells nothing about the place in the list.
        let mut found = None;
        for listed in self.listed.iter() {
            if bool::from(listed.hash.ct_eq(&hash)) {
                found = Some(listed);
            }
        }
        match (found, &self.stored) {
            (Some(listed), _) => Ok(Some(Grant {
                organization_id: listed.organization_id.clone(),
                scope: Scope::Write,
                key_name: listed.name(),
            })),
            (None, Some(stored)) => stored.grant(key).await,
            (None, None) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_includes_read_and_whatever_is_no_look_needs_write() {
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert_eq!(Scope::needed_by(&method.parse().unwrap()), Scope::Read);
        }
        for method in [
            "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "get", "PURGE",
        ] {
            assert_eq!(Scope::needed_by(&method.parse().unwrap()), Scope::Write);
        }
        assert!(Scope::Write > Scope::Read);
    }
}
