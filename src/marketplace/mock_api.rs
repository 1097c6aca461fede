//! The mock marketplace: plays Etsy, Shopify and Amazon for demos and tests.
//!
//! It is somebody else's API. Its errors are bare `{"error": …}` bodies, never problems, and it
//! answers in the order that its clients know: marketplace, receipt, configuration, credentials,
//! and only then the verdict of [`mock_rules`]. It needs no database.

use std::collections::HashMap;

use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::connector::Credentials;
use super::mock_request::{BasicPair, MarketplaceName, Receipt, ReceiptBody};
use super::mock_rules::{self, MockVerdict};
use super::model::Marketplace;
use crate::clock::Clock;
use crate::http::Tag;
use crate::timestamp::{self, Timestamp};

/// The currency of an order whose receipt came without one.
const DEFAULT_CURRENCY: &str = "USD";

/// The routes of the mock marketplace.
#[derive(Debug)]
pub struct MockMarketplaceApi {
    credentials: HashMap<Marketplace, Credentials>,
    clock: Clock,
}

impl MockMarketplaceApi {
    /// Each marketplace lets in its own pair; one without a complete pair answers 500.
    pub fn new(credentials: HashMap<Marketplace, Credentials>, clock: Clock) -> Self {
        Self { credentials, clock }
    }
}

/// A verdict: an order, or `status: false` and nothing else.
#[derive(Debug, Default, Object)]
#[oai(
    rename = "MockVerdict",
    rename_all = "camelCase",
    skip_serializing_if_is_none,
    example
)]
struct VerdictView {
    /// Whether the receipt is an order; the other members are there only if it is.
    status: bool,
    /// The same for the same receipt.
    order_id: Option<String>,
    /// Whole major units, 10 to 1009; the same for the same receipt.
    amount: Option<u32>,
    /// As it was asked for, else USD.
    currency: Option<String>,
    /// Now.
    #[oai(rename = "importedAtUTC")]
    imported_at: Option<Timestamp>,
}

impl Example for VerdictView {
    fn example() -> Self {
        Self {
            status: true,
            order_id: Some("06924ddf-d249bbe-13b6e99d-1a49377c-000020db855b".into()),
            amount: Some(507),
            currency: Some("EUR".into()),
            imported_at: timestamp::parse("2024-01-01T12:00:00Z")
                .ok()
                .map(Into::into),
        }
    }
}

/// What is wrong, in the marketplace's words.
#[derive(Debug, Object)]
#[oai(rename = "MockError", example)]
struct ErrorView {
    /// A stable text.
    error: String,
}

impl Example for ErrorView {
    fn example() -> Self {
        Self {
            error: "rate_limited".into(),
        }
    }
}

#[derive(ApiResponse)]
enum Answer {
    /// The marketplace has looked: an order, or `{"status": false}`.
    #[oai(status = 200)]
    Verdict(Json<VerdictView>),
    /// `Invalid marketplace` or `receipt is required`.
    #[oai(status = 400)]
    BadRequest(Json<ErrorView>),
    /// `Unauthorized`: no credentials, malformed ones, or another marketplace's.
    #[oai(status = 401)]
    Unauthorized(Json<ErrorView>),
    /// `rate_limited`: the receipt ends in two digits whose sum is a multiple of six.
    #[oai(status = 429)]
    RateLimited(Json<ErrorView>),
    /// `Marketplace credentials not configured`.
    #[oai(status = 500)]
    NotConfigured(Json<ErrorView>),
}

fn error(text: &str) -> Json<ErrorView> {
    Json(ErrorView { error: text.into() })
}

#[expect(clippy::unused_async, reason = "poem-openapi wants async operations")]
#[OpenApi(tag = "Tag::Mock")]
impl MockMarketplaceApi {
    /// Validate a receipt
    ///
    /// The end of the receipt decides: two digits whose sum is a multiple of six are
    /// rate-limited (`test24`), else an odd last digit is an order (`test1`), and everything
    /// else is none (`test2`, `testa`).
    #[oai(
        path = "/mock/:marketplace/validate",
        method = "post",
        operation_id = "validate_receipt"
    )]
    async fn validate(
        &self,
        /// Who is played.
        marketplace: Path<MarketplaceName>,
        credentials: BasicPair,
        body: ReceiptBody,
    ) -> Answer {
        let Path(MarketplaceName(Some(marketplace))) = marketplace else {
            return Answer::BadRequest(error("Invalid marketplace"));
        };
        let ReceiptBody(Some(Receipt { receipt, currency })) = body else {
            return Answer::BadRequest(error("receipt is required"));
        };
        let expected = self.credentials.get(&marketplace);
        let Some(expected) = expected.filter(|expected| expected.is_complete()) else {
            return Answer::NotConfigured(error("Marketplace credentials not configured"));
        };
        if !credentials.matches(expected) {
            return Answer::Unauthorized(error("Unauthorized"));
        }
        match mock_rules::verdict(&receipt) {
            MockVerdict::RateLimited => Answer::RateLimited(error("rate_limited")),
            MockVerdict::Invalid => Answer::Verdict(Json(VerdictView::default())),
            MockVerdict::Valid { amount, order_id } => Answer::Verdict(Json(VerdictView {
                status: true,
                order_id: Some(order_id),
                amount: Some(amount),
                currency: Some(currency.unwrap_or_else(|| DEFAULT_CURRENCY.into())),
                imported_at: Some(self.clock.now().into()),
            })),
        }
    }
}
