//! Reading a request to the mock marketplace: whatever is sent, nothing is an error here.
//!
//! The marketplace that is played answers in an order of its own (see
//! [`mock_api`](super::mock_api)), so the parts of a request are read without refusing anything,
//! and what could not be read is absent. The API document still shows what belongs there.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use poem::http::header::AUTHORIZATION;
use poem::{Request, RequestBody, Result};
use poem_openapi::payload::Json;
use poem_openapi::registry::{MetaRequest, MetaSchemaRef, MetaSecurityScheme, Registry};
use poem_openapi::types::{Example, ParseFromParameter, ParseResult, Type};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions, Object};
use secrecy::ExposeSecret;
use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::connector::Credentials;
use super::model::Marketplace;

/// A longer body counts as none.
const BODY_LIMIT: usize = 64 * 1024;

/// The `{marketplace}` of the path; `None` if there is none of that name.
#[derive(Debug)]
pub(super) struct MarketplaceName(pub(super) Option<Marketplace>);

impl Type for MarketplaceName {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        Marketplace::name()
    }

    fn schema_ref() -> MetaSchemaRef {
        Marketplace::schema_ref()
    }

    fn register(registry: &mut Registry) {
        Marketplace::register(registry);
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromParameter for MarketplaceName {
    fn parse_from_parameter(text: &str) -> ParseResult<Self> {
        Ok(Self(text.parse().ok()))
    }
}

/// The receipt to validate.
#[derive(Debug, PartialEq, Eq, Object)]
#[oai(rename = "MockReceipt", example)]
pub(super) struct Receipt {
    /// The last two characters decide the outcome.
    #[oai(validator(min_length = 1))]
    pub(super) receipt: String,
    /// The currency of the order; USD if absent.
    pub(super) currency: Option<String>,
}

impl Example for Receipt {
    fn example() -> Self {
        Self {
            receipt: "test1".into(),
            currency: Some("EUR".into()),
        }
    }
}

impl Receipt {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let body: Value = serde_json::from_slice(bytes).ok()?;
        let text = |member| {
            let text = body.get(member)?.as_str()?;
            (!text.is_empty()).then(|| text.to_owned())
        };
        Some(Self {
            receipt: text("receipt")?,
            currency: text("currency"),
        })
    }
}

/// The body; `None` if it is absent, too long, not JSON, or has no receipt.
pub(super) struct ReceiptBody(pub(super) Option<Receipt>);

impl<'a> ApiExtractor<'a> for ReceiptBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        Receipt::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        <Json<Receipt> as ApiExtractor>::request_meta()
    }

    async fn from_request(
        _request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        let Ok(body) = body.take() else {
            return Ok(Self(None));
        };
        let bytes = body.into_bytes_limit(BODY_LIMIT).await;
        Ok(Self(bytes.ok().and_then(|bytes| Receipt::parse(&bytes))))
    }
}

/// The user and password of a Basic `Authorization` header; `None` if there is no such header.
pub(super) struct BasicPair(Option<(Vec<u8>, Vec<u8>)>);

impl BasicPair {
    /// The scheme's case does not matter, the first colon separates.
    fn parse(header: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let at = header.iter().position(|byte| *byte == b' ')?;
        let (scheme, encoded) = header.split_at(at);
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return None;
        }
        let decoded = BASE64_STANDARD.decode(encoded.trim_ascii()).ok()?;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        Some((decoded[..colon].to_vec(), decoded[colon + 1..].to_vec()))
    }

    /// Whether it is the expected pair. Takes the same time for every wrong pair: hashes are
    /// compared, so that not even the lengths show.
    pub(super) fn matches(&self, expected: &Credentials) -> bool {
        let Some((username, password)) = &self.0 else {
            return false;
        };
        let is_same = |given: &[u8], expected: &str| {
            Sha256::digest(given).ct_eq(&Sha256::digest(expected.as_bytes()))
        };
        let same_user = is_same(username, &expected.username);
        let same_password = is_same(password, expected.password.expose_secret());
        (same_user & same_password).into()
    }
}

const BASIC_SCHEME: &str = "MockMarketplaceBasic";

impl<'a> ApiExtractor<'a> for BasicPair {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        registry.create_security_scheme(
            BASIC_SCHEME,
            MetaSecurityScheme {
                ty: "http",
                description: Some("The Basic Auth pair of the marketplace in the path."),
                name: None,
                key_in: None,
                scheme: Some("basic"),
                bearer_format: None,
                flows: None,
                openid_connect_url: None,
            },
        );
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![BASIC_SCHEME]
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        let header = request.headers().get(AUTHORIZATION);
        Ok(Self(
            header.and_then(|header| Self::parse(header.as_bytes())),
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_let_in(header: &str) -> bool {
        let pair = BasicPair(BasicPair::parse(header.as_bytes()));
        pair.matches(&Credentials::new("etsy_user", "a:b"))
    }

    fn basic(scheme: &str, pair: &str) -> String {
        format!("{scheme} {}", BASE64_STANDARD.encode(pair))
    }

    #[test]
    fn only_the_exact_pair_is_let_in() {
        for scheme in ["Basic", "basic", "BASIC", "Basic  "] {
            assert!(is_let_in(&basic(scheme, "etsy_user:a:b")), "{scheme}");
        }
        for pair in [
            "etsy_user:a",
            "etsy_user:a:b ",
            "etsy_user",
            "",
            ":",
            "etsy_user:a:b:",
            "x:a:b",
        ] {
            assert!(!is_let_in(&basic("Basic", pair)), "{pair}");
        }
        for header in [
            "",
            "Basic",
            "Basic ",
            "Basic !!!",
            "Bearer abc",
            "etsy_user:a:b",
        ] {
            assert!(!is_let_in(header), "{header}");
        }
        assert!(!is_let_in(&basic("Bearer", "etsy_user:a:b")));
    }

    #[test]
    fn a_receipt_is_a_text_that_is_not_empty() {
        let parse = |text: &str| Receipt::parse(text.as_bytes());
        assert_eq!(
            parse(r#"{"receipt":"test1","currency":"EUR"}"#),
            Some(Receipt::example())
        );
        for currency in [
            "",
            r#","currency":"""#,
            r#","currency":null"#,
            r#","currency":7"#,
        ] {
            let receipt = parse(&format!(r#"{{"receipt":"1"{currency}}}"#)).unwrap();
            assert_eq!(receipt.currency, None);
        }
        for bad in [
            "",
            "null",
            "[]",
            "\"receipt\"",
            "{}",
            "{",
            r#"{"receipt":""}"#,
            r#"{"receipt":1}"#,
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(Receipt::parse(b"{\"receipt\":\"\xff\"}"), None);
    }

    proptest! {
        #[test]
        fn a_pair_is_let_in_where_it_is_the_expected_one(
            user in "[a-c:]{0,3}", password in "[a-c:ü]{0,3}",
            expected_user in "[a-c]{0,2}", expected_password in "[a-c:ü]{0,2}",
        ) {
            let header = basic("Basic", &format!("{user}:{password}"));
            let pair = BasicPair(BasicPair::parse(header.as_bytes()));
            let is_same = format!("{user}:{password}") == format!("{expected_user}:{expected_password}");
            let expected = Credentials::new(expected_user, expected_password);
            prop_assert_eq!(pair.matches(&expected), is_same);
        }

        #[test]
        fn no_header_and_no_body_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            BasicPair::parse(&bytes);
            BasicPair::parse(&[b"Basic ".as_slice(), &bytes].concat());
            Receipt::parse(&bytes);
        }
    }
}
