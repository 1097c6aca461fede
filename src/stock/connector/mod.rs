//! The way out to a marketplace, for quantities: send them, ask what became of them, read them
//! back.
//!
//! An adapter speaks one marketplace's protocol and nothing else. It does not retry, wait, store
//! or count: it says what came of one call ([`SendOutcome`], [`PollOutcome`], [`ReadOutcome`]) and
//! what it sent and got ([`Exchange`], without credentials), and the domain decides. Whatever a
//! marketplace sends is checked: sizes are capped, shapes are enforced.
//!
//! | file | what |
//! |---|---|
//! | [`adapters`] | the adapter of each marketplace |
//! | [`call`], [`answer`] | one HTTP call, what it leaves in the log, and what a status means everywhere |
//! | [`reply`] | reading what a marketplace sends, row by row |
//! | [`body`] | the hash of what is sent |
//! | [`trendyol`], [`hepsiburada`] | take quantities and say later what became of them |
//! | [`shopify`], [`amazon`], [`etsy`] | say it at once |
//! | [`trendyol_reply`], [`hepsiburada_reply`], [`shopify_reply`], [`etsy_inventory`] | what they send |

mod adapters;
mod amazon;
mod answer;
mod body;
mod call;
mod etsy;
mod etsy_inventory;
mod hepsiburada;
mod hepsiburada_reply;
mod reply;
mod shopify;
mod shopify_reply;
#[cfg(test)]
mod testing;
mod trendyol;
mod trendyol_reply;

use std::fmt::Debug;
use std::time::Duration;

use chrono::TimeDelta;
use futures::future::BoxFuture;
use jobs::{PushId, StoreId};
use secrecy::SecretString;

pub use self::adapters::Adapters;
use super::model::{ApiLogType, ListingTier, MarketplaceEnv, ProductId, Provider};
use crate::marketplace::model::Marketplace;

/// A store, as its marketplace knows it.
#[derive(Clone, Debug)]
pub struct Shop {
    /// The store.
    pub store_id: StoreId,
    /// Where it is.
    pub marketplace: Marketplace,
    /// The seller or merchant, or the name of the shop.
    pub external_store_id: String,
    /// Which environment of the marketplace.
    pub environment: MarketplaceEnv,
    /// Who calls.
    pub integrator_name: String,
    /// Which storefront, where a marketplace has several.
    pub storefront_code: Option<String>,
    /// How many listings it may have.
    pub tier: ListingTier,
    /// How many it has.
    pub listing_count: Option<i64>,
    /// Its credentials, where the marketplace has a pair of them.
    pub api_key: Option<SecretString>,
    /// The other half.
    pub api_secret: Option<SecretString>,
    /// Its credential, where the marketplace has one.
    pub access_token: SecretString,
}

/// A product, by all the names it has in a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// What the merchant calls it.
    pub sku: Option<String>,
    /// What scanners call it.
    pub barcode: Option<String>,
    /// What the marketplace calls it.
    pub external_sku: Option<String>,
    /// The same.
    pub external_barcode: Option<String>,
    /// The same.
    pub external_listing_id: Option<String>,
    /// Where it lies.
    pub external_location_id: Option<String>,
}

/// A quantity to tell, with the names it is sent by ([`Adapter::names`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The product.
    pub product_id: ProductId,
    /// Its names, as they are sent: only those that the marketplace is told, and all of them
    /// external ones, so that they can be stored and asked about later.
    pub names: Names,
    /// How many there are, within the cap.
    pub quantity: i64,
}

/// What goes to a marketplace in one push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The text that is sent; of an adapter with a call an item, all of them as a JSON array.
    pub text: String,
    /// SHA-256 of the canonical form, in hex: the same quantities of the same items have the same
    /// hash, whatever their order.
    pub sha256: String,
}

/// A call, for the log; without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// What it was for.
    pub kind: ApiLogType,
    /// `GET`, `POST`, …
    pub method: &'static str,
    /// Where it went.
    pub url: String,
    /// What was sent, if anything.
    pub request: Option<String>,
    /// What came back, if anything; at most [`MAX_REPLY`] bytes of it.
    pub response: Option<String>,
    /// The status, if there was an answer.
    pub status: Option<u16>,
    /// Why there was none, or why it was no good.
    pub error: Option<String>,
    /// How long it took.
    pub duration: Duration,
    /// The marketplace's name of the call.
    pub correlation_id: Option<String>,
}

/// Bytes of a reply that are read; a longer one is an error of the protocol.
pub const MAX_REPLY: usize = 16 * 1024 * 1024;

/// A call and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called<T> {
    /// The calls, in order.
    pub exchanges: Vec<Exchange>,
    /// What came of them.
    pub outcome: T,
}

/// What came of sending quantities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The marketplace took them and says later what became of them; ask under this id.
    Accepted {
        /// The marketplace's name of the push.
        batch_id: String,
    },
    /// The marketplace said what became of each, in the order they were sent.
    Done(Vec<ItemOutcome>),
    /// They were refused, or never arrived, or nobody knows.
    Failed(CallFailure),
}

impl SendOutcome {
    /// What came of a push whose items are a call each, when one of them came to nothing: what was
    /// done before counts, and the rest is sent again.
    fn broken_off(mut done: Vec<ItemOutcome>, items: usize, failure: CallFailure) -> Self {
        if done.is_empty() {
            return Self::Failed(failure);
        }
        done.resize(items, ItemOutcome::Unknown);
        Self::Done(done)
    }
}

/// What came of asking for results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PollOutcome {
    /// Not all are there yet.
    Pending,
    /// What became of each, in the order they were sent.
    Done(Vec<ItemOutcome>),
    /// The marketplace does not know the push (any more).
    Gone,
    /// The marketplace could not be asked.
    Failed(CallFailure),
}

/// What came of reading quantities back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// What the marketplace shows of each, in the order they were asked for.
    Read(Vec<Reading>),
    /// The marketplace could not be asked.
    Failed(CallFailure),
    /// The marketplace cannot be asked for quantities.
    Unsupported,
}

/// What a marketplace shows of an item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// How many; none when it does not know the item.
    pub quantity: Option<i64>,
    /// The marketplace holds the goods, and counts them itself.
    pub is_fulfilled_by_marketplace: bool,
    /// Why the listing is locked, if it is.
    pub lock_reasons: Vec<String>,
}

/// What became of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemOutcome {
    /// The marketplace shows it.
    Confirmed,
    /// It does not.
    Rejected(Rejection),
    /// Nobody said; it has to be sent again.
    Unknown,
}

/// Why an item was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The marketplace's code, or `REJECTED` where it has none.
    pub code: String,
    /// Its words.
    pub message: String,
    /// What is done about it.
    pub class: RejectionClass,
}

/// What is done about a refused item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectionClass {
    /// It is tried again, a few times.
    Retryable,
    /// It is blocked at once.
    Permanent,
    /// It is tried again after so long, and told of.
    Deferred(TimeDelta),
    /// A defect of ours; tried again, and loud.
    Internal,
}

/// Why a call came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallFailure {
    /// What it means.
    pub kind: FailureKind,
    /// In words, for the push and the operator.
    pub message: String,
}

/// What a failed call means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// A time-out, a reset, 500, 502, 503: it may have been applied.
    Ambiguous,
    /// 504: the same, and the next request is to be smaller.
    TooSlow,
    /// 429 or a quota: not applied. How long to wait, if the marketplace says so.
    RateLimited {
        /// As the marketplace says.
        retry_after: Option<TimeDelta>,
        /// Whether every store that calls from here is meant.
        is_for_address: bool,
    },
    /// Too many requests are outstanding: not applied.
    TooManyOutstanding,
    /// The marketplace's upload limit: not applied.
    UploadLimit,
    /// Nothing more today: not applied.
    DailyLimit,
    /// The same request was sent within the window.
    Identical,
    /// Another 400: not applied; an item of it is bad.
    BadRequest,
    /// 401, 403: the credentials, or who calls.
    Unauthorized,
    /// An answer that nobody expects. Whether it may have been applied.
    Protocol {
        /// A 2xx that could not be read.
        may_be_applied: bool,
    },
    /// The marketplace asks to send the same request again, with the same idempotency key.
    RetryUnchanged,
}

/// A request rate, shared by all processes. One use of an adapter ([`Adapter::send`],
/// [`Adapter::poll`], [`Adapter::read_back`]) spends one; where that is several calls, the capacity
/// counts uses.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    /// Whose, and for what.
    pub key: String,
    /// How many uses it holds, by what the marketplace publishes.
    pub capacity: u32,
    /// In how long they come back.
    pub per: Duration,
}

/// What a call is for, as rates distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Sending quantities.
    Send,
    /// Asking for results.
    Poll,
    /// Reading quantities back.
    ReadBack,
}

/// How a marketplace wants to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manners {
    /// Items a push.
    pub max_items: usize,
    /// Items that can be asked for at once.
    pub max_read_items: usize,
    /// No more can be told.
    pub quantity_cap: i64,
    /// How long results can be asked for; none: they come at once.
    pub results_for: Option<TimeDelta>,
    /// Whether it refuses a request that it had within `TRENDYOL_IDENTICAL_WINDOW_SECONDS`.
    pub refuses_identical: bool,
    /// Pushes without results that it takes.
    pub max_outstanding: Option<u32>,
    /// The least time between two requests.
    pub spacing: Option<TimeDelta>,
    /// Updates a day, as a multiple of the number of listings.
    pub daily_updates_per_listing: Option<i64>,
    /// The offset of its days from UTC, in seconds.
    pub day_offset: i32,
}

/// Speaks one marketplace's protocol.
pub trait Adapter: Send + Sync + Debug {
    /// What the log calls it.
    fn provider(&self) -> Provider;

    /// How it wants to be treated.
    fn manners(&self) -> Manners;

    /// The names that an item is sent by, normalized; none when it has no name there. Only external
    /// names come back, and who gives them again gets the same.
    fn names(&self, names: &Names) -> Option<Names>;

    /// Whether the shop has the credentials it takes.
    fn has_credentials(&self, shop: &Shop) -> bool;

    /// The rates that a call spends of.
    fn buckets(&self, shop: &Shop, operation: Operation) -> Vec<Bucket>;

    /// What would be sent.
    fn build(&self, shop: &Shop, push_id: PushId, items: &[Item]) -> Body;

    /// Sends quantities, once. Where an item is a call and one of the later ones comes to nothing,
    /// the items from there on are [`ItemOutcome::Unknown`]: what was done before counts.
    fn send<'a>(
        &'a self,
        shop: &'a Shop,
        push_id: PushId,
        items: &'a [Item],
        body: &'a Body,
    ) -> BoxFuture<'a, Called<SendOutcome>>;

    /// Asks what became of a push, once.
    fn poll<'a>(
        &'a self,
        shop: &'a Shop,
        batch_id: &'a str,
        items: &'a [Item],
    ) -> BoxFuture<'a, Called<PollOutcome>>;

    /// Asks what the marketplace shows of at most [`Manners::max_read_items`] items, once.
    fn read_back<'a>(
        &'a self,
        shop: &'a Shop,
        items: &'a [Item],
    ) -> BoxFuture<'a, Called<ReadOutcome>>;
}
