//! The JSON body of a request: its media type, its size and its fields, in this order.
//!
//! The schema in the API document is that of `T`; the checks are those of its
//! [`FromFields`], because poem-openapi stops at the first fault and knows neither U+0000 nor
//! lengths in characters. Put the `Caller` before it in a route's arguments: they are read in
//! their order, and a stranger learns nothing about bodies.

use std::ops::Deref;
use std::sync::Arc;

use futures::StreamExt;
use poem::http::header;
use poem::{Body, Request, RequestBody};
use poem_openapi::payload::{ParsePayload, Payload};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde_json::Value;

use super::fields::{Fields, FromFields, code};
use super::idempotency::Keyed;
use super::kind::REQUEST_TIMEOUT;
use super::limits::Limits;
use super::problem::{Detail, Problem};

/// A JSON object, checked.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<T> Deref for JsonBody<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Type + FromFields> Payload for JsonBody<T> {
    const CONTENT_TYPE: &'static str = "application/json";

    fn check_content_type(content_type: &str) -> bool {
        is_json(content_type)
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Type + FromFields> ParsePayload for JsonBody<T> {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        let bytes = read(request, body).await?;
        if let Some(keyed) = request.data::<Arc<Keyed>>() {
            keyed.saw_body(&bytes);
        }
        Ok(Self(parse(&bytes)?))
    }
}

impl<'a, T: Type + FromFields> ApiExtractor<'a> for JsonBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <Self as Payload>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType {
                content_type: Self::CONTENT_TYPE,
                schema: <Self as Payload>::schema_ref(),
            }],
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        <Self as ParsePayload>::from_request(request, body).await
    }
}

/// Whether a media type is `application/json` or `…+json`; case and parameters do not matter.
fn is_json(content_type: &str) -> bool {
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match essence.split_once('/') {
        Some(("application", "json")) => true,
        Some((kind, subtype)) => {
            !kind.is_empty() && subtype.len() > "+json".len() && subtype.ends_with("+json")
        }
        None => false,
    }
}

/// The bytes of the body, once its media type and its size are known to be right.
async fn read(request: &Request, body: &mut RequestBody) -> Result<Vec<u8>, Problem> {
    let limits = request.data::<Limits>().copied().unwrap_or_default();
    let declared = request
        .header(header::CONTENT_LENGTH)
        .and_then(|length| length.parse::<u64>().ok());
    let chunked = request.header(header::TRANSFER_ENCODING).is_some();
    if !request.content_type().is_some_and(is_json) {
        let absent = declared.unwrap_or(0) == 0 && !chunked && request.content_type().is_none();
        return Err(if absent {
            missing_body()
        } else {
            Problem::unsupported_media_type()
        });
    }
    let Ok(body) = body.take() else {
        return Err(missing_body());
    };
    let waits_for_leave = request.header(header::EXPECT).is_some();
    let too_large = u64::try_from(limits.body_bytes).is_ok_and(|limit| declared > Some(limit));
    if too_large && waits_for_leave {
        return Err(Problem::payload_too_large(limits.body_bytes));
    }
    match tokio::time::timeout(limits.body_time, collect(body, limits.body_bytes)).await {
        Ok(Ok(bytes)) if bytes.is_empty() => Err(missing_body()),
        Ok(result) => result,
        Err(_) => Err(Problem::of(
            REQUEST_TIMEOUT,
            "The body did not arrive in time",
        )),
    }
}

/// Collects up to `limit` bytes. What comes after them is thrown away, up to eight times as
/// much: a client that is still sending would meet a closed connection instead of the answer.
async fn collect(body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let mut size = 0;
    let mut chunks = body.into_bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let Ok(chunk) = chunk else {
            return Err(fault(
                code::INVALID_JSON,
                "The body ended before its declared length",
            ));
        };
        size += chunk.len();
        if size <= limit {
            bytes.extend_from_slice(&chunk);
        } else if size > limit.saturating_mul(8) {
            break;
        } else {
            bytes = Vec::new();
        }
    }
    if size > limit {
        return Err(Problem::payload_too_large(limit));
    }
    Ok(bytes)
}

/// Reads the fields of a JSON object.
fn parse<T: FromFields>(bytes: &[u8]) -> Result<T, Problem> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Fields::of_object(&object).check(T::from_fields),
        Ok(_) => Err(fault(code::INVALID_TYPE, "Expected an object")),
        Err(error) => Err(fault(
            code::INVALID_JSON,
            &format!("Not valid JSON: {error}"),
        )),
    }
}

fn missing_body() -> Problem {
    fault(code::MISSING_BODY, "Expected a JSON object")
}

fn fault(code: &str, message: &str) -> Problem {
    Problem::validation(vec![Detail {
        path: Vec::new(),
        code: code.to_owned(),
        message: message.to_owned(),
    }])
}

#[cfg(test)]
mod tests {
    use super::is_json;

    #[test]
    fn json_media_types_are_told_from_others() {
        for yes in [
            "application/json",
            "APPLICATION/Json; charset=utf-8",
            "application/problem+json",
            "application/vnd.shop.v1+JSON ; v=1",
        ] {
            assert!(is_json(yes), "{yes}");
        }
        for no in [
            "",
            "json",
            "text/plain",
            "application/jsonp",
            "text/json",
            "application/+json",
            "application/x-www-form-urlencoded",
        ] {
            assert!(!is_json(no), "{no}");
        }
    }
}
