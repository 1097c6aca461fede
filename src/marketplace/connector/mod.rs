//! The way out to a marketplace: one question, "is this receipt an order?".
//!
//! A connector asks once. It does not retry, wait, store or count: that is the jobs' business,
//! and [`ConnectorError`] tells them what they need for it. Whatever a marketplace sends is
//! checked before it becomes a [`Verdict`]: sizes are capped, shapes and ranges are enforced.
//!
//! [`MockClient`] is the connector of the mock marketplace. Tests script their own behind the
//! same trait, to count calls and to hold them in flight.

mod error;
mod http_client;
mod mock;
mod reply;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use secrecy::SecretString;

pub use self::error::{ConnectorError, ReplyBody};
pub use self::http_client::http_client;
pub use self::mock::{Credentials, MockClient};
use super::model::Marketplace;
use super::money::Money;

/// Asks marketplaces about receipts.
pub trait Connector: Send + Sync {
    /// Asks once whether the receipt is an order.
    fn validate<'a>(
        &'a self,
        request: ReceiptRequest<'a>,
    ) -> BoxFuture<'a, Result<Verdict, ConnectorError>>;
}

/// The question.
#[derive(Clone, Debug)]
pub struct ReceiptRequest<'a> {
    /// Whom to ask.
    pub marketplace: Marketplace,
    /// What to ask about.
    pub receipt: &'a str,
    /// The currency of the store, if it has one.
    pub currency: Option<&'a str>,
    /// The store's own token at the marketplace; the mock marketplace needs none.
    pub access_token: Option<&'a SecretString>,
    /// Used instead of the configured credentials, so that a test can send wrong ones.
    pub credentials_override: Option<Credentials>,
}

impl<'a> ReceiptRequest<'a> {
    /// A question with nothing but what it is about.
    pub const fn new(marketplace: Marketplace, receipt: &'a str) -> Self {
        Self {
            marketplace,
            receipt,
            currency: None,
            access_token: None,
            credentials_override: None,
        }
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The receipt is an order.
    Valid {
        /// The marketplace's id of it, 1 to 255 characters.
        order_id: String,
        /// What was paid.
        money: Money,
        /// When the marketplace says it was imported, in whole milliseconds.
        imported_at: DateTime<Utc>,
    },
    /// The marketplace knows no such order.
    Invalid,
}
