//! The one error answer of every route: `application/problem+json` (RFC 9457) that also carries
//! the members of the reference API (`error`, `details`, `message`, …).
//!
//! It promises that a caller never sees internals (causes go to the log, once) and that every
//! problem names its request. Which error of a domain becomes which problem is said in the
//! domain's `api.rs`.

use std::error::Error;

use poem::http::{HeaderName, HeaderValue, header};
use poem::{IntoResponse, Response};
use poem_openapi::Object;
use poem_openapi::types::ToJSON;
use serde_json::{Map, Value};
use tracing::{error, warn};

use super::fields::code;
use super::kind::{
    CONFLICT, FORBIDDEN, INTERNAL_SERVER_ERROR, KINDS, Kind, NOT_FOUND, OVERLOADED,
    PAYLOAD_TOO_LARGE, RATE_LIMITED, SERVICE_UNAVAILABLE, UNAUTHORIZED, UNSUPPORTED_MEDIA_TYPE,
    VALIDATION_ERROR,
};
use super::request_id;
use crate::db::Trouble;

/// The content type of every error.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// One thing that is wrong with a request: where, a stable code, words for people.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename = "ProblemDetail")]
pub struct Detail {
    /// Names of fields, and places in lists, from the outside in; empty for the whole body.
    pub path: Vec<Value>,
    /// For example `required`, `invalid_type`, `too_long`.
    pub code: String,
    /// For people; may change.
    pub message: String,
}

/// An error answer.
#[derive(Debug)]
pub struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: Kind,
    error: &'static str,
    detail: String,
    details: Vec<Detail>,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of a kind; `error` is the kind's code.
    pub fn of(kind: Kind, detail: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            kind,
            error: kind.code,
            detail: detail.into(),
            details: Vec::new(),
            members: Map::new(),
            headers: Vec::new(),
        }))
    }

    /// 400 `Validation error`: what is wrong, field by field. `details` is never empty on the
    /// wire.
    pub fn validation(details: Vec<Detail>) -> Self {
        let detail = match details.first() {
            Some(first) => format!("{} of the request: {}", place(&first.path), first.message),
            None => "The request could not be understood".to_owned(),
        };
        let mut problem = Self::of(VALIDATION_ERROR, detail).error("Validation error");
        problem.0.details = details;
        if problem.0.details.is_empty() {
            problem.0.details.push(Detail {
                path: Vec::new(),
                code: code::INVALID_REQUEST.to_owned(),
                message: problem.0.detail.clone(),
            });
        }
        problem
    }

    /// 401: no key.
    pub fn unauthorized() -> Self {
        Self::of(
            UNAUTHORIZED,
            "Send a valid key in X-API-Key, or as a bearer token",
        )
        .challenge("Bearer realm=\"marketplace-sync\"")
    }

    /// 401: a key that nobody knows, or that is over; which of them it is, is not told.
    pub fn unknown_key() -> Self {
        Self::of(UNAUTHORIZED, "The key is not valid")
            .challenge("Bearer realm=\"marketplace-sync\", error=\"invalid_token\"")
    }

    /// 403: a known key, for another organization.
    pub fn forbidden() -> Self {
        Self::of(FORBIDDEN, "The key belongs to another organization")
    }

    /// 403: a known key whose scope is `read`, on a request that may change something.
    pub fn read_only_key() -> Self {
        Self::of(FORBIDDEN, "The key may only read: its scope is `read`").challenge(
            "Bearer realm=\"marketplace-sync\", error=\"insufficient_scope\", scope=\"write\"",
        )
    }

    /// What to send instead (RFC 6750).
    fn challenge(self, text: &'static str) -> Self {
        self.header(header::WWW_AUTHENTICATE, HeaderValue::from_static(text))
    }

    /// 404 with the words of the reference: `Store not found`, `Webhook not found`.
    pub fn not_found(error: &'static str) -> Self {
        Self::of(NOT_FOUND, error).error(error)
    }

    /// 409. `error` is the code of a listed kind, or the general `conflict` carries it.
    pub fn conflict(error: &'static str, detail: impl Into<String>) -> Self {
        let listed = KINDS
            .iter()
            .find(|kind| kind.code == error && kind.status == CONFLICT.status);
        Self::of(*listed.unwrap_or(&CONFLICT), detail).error(error)
    }

    /// 413: the body is larger than `limit` bytes.
    pub fn payload_too_large(limit: usize) -> Self {
        Self::of(
            PAYLOAD_TOO_LARGE,
            format!("The body may have {limit} bytes"),
        )
        .with("limit", limit)
    }

    /// 415: a body that does not say it is JSON.
    pub fn unsupported_media_type() -> Self {
        Self::of(
            UNSUPPORTED_MEDIA_TYPE,
            "Send Content-Type: application/json",
        )
    }

    /// 429: come back in `retry_after` seconds.
    pub fn rate_limited(retry_after: u64) -> Self {
        Self::of(RATE_LIMITED, "Too many requests").retry_after(retry_after)
    }

    /// 500, or 503 when the database is away, busy or full. Logs the cause with its sources, here
    /// and nowhere else; answers without them.
    pub fn internal(cause: &(dyn Error + 'static)) -> Self {
        let mut chain = cause.to_string();
        let mut trouble = trouble_of(cause);
        let mut source = cause.source();
        while let Some(error) = source {
            chain = format!("{chain}: {error}");
            trouble = trouble.or_else(|| trouble_of(error));
            source = error.source();
        }
        if let Some(trouble) = trouble {
            warn!(event = "database_unavailable", error = %chain, "the database cannot serve a request: {chain}");
            return Self::unavailable(patience_with(trouble));
        }
        error!(event = "internal_server_error", error = %chain, "failed to answer: {chain}");
        Self::unexpected()
    }

    /// 500 whose cause is logged already (a panic, by the panic hook).
    pub fn unexpected() -> Self {
        Self::of(
            INTERNAL_SERVER_ERROR,
            "The request failed; its id is in the log",
        )
        .with("message", "Internal server error")
    }

    /// 503: come back in `retry_after` seconds.
    pub fn unavailable(retry_after: u64) -> Self {
        Self::of(SERVICE_UNAVAILABLE, "Try again later").retry_after(retry_after)
    }

    /// 503: so many requests are at work that this one would wait for long.
    pub fn overloaded() -> Self {
        Self::of(
            OVERLOADED,
            "Too many requests are at work; nothing was done",
        )
        .retry_after(1)
    }

    /// Replaces the `error` member by the words of the reference.
    #[must_use]
    pub fn error(mut self, error: &'static str) -> Self {
        self.0.error = error;
        self
    }

    /// Replaces the words for people.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = detail.into();
        self
    }

    /// Adds a member, for example `success: false`. The members every problem has stay theirs.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Adds `Retry-After` in seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(header::RETRY_AFTER, seconds.into())
    }

    /// The kind of this problem.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The body, and what else the answer is made of.
    pub(super) fn into_body(self) -> (Value, Kind, Vec<(HeaderName, HeaderValue)>) {
        let parts = *self.0;
        let shape = Shape {
            kind: format!("/problems/{}", parts.kind.code),
            title: parts.kind.title.to_owned(),
            status: parts.kind.status.as_u16(),
            detail: parts.detail,
            code: parts.kind.code.to_owned(),
            request_id: request_id::current(),
            error: parts.error.to_owned(),
            details: Some(parts.details).filter(|details| !details.is_empty()),
        };
        let mut body = parts.members;
        if let Some(Value::Object(own)) = shape.to_json() {
            body.extend(own);
        }
        (Value::Object(body), parts.kind, parts.headers)
    }
}

fn trouble_of(error: &(dyn Error + 'static)) -> Option<Trouble> {
    error.downcast_ref().and_then(Trouble::of)
}

/// When it is worth trying again, in seconds.
fn patience_with(trouble: Trouble) -> u64 {
    match trouble {
        Trouble::Locked | Trouble::Away => 1,
        Trouble::Standby => 5,
        // Somebody must make room.
        Trouble::Full | Trouble::ReadOnly => 30,
    }
}

/// Says a path in words.
fn place(path: &[Value]) -> String {
    if path.is_empty() {
        return "The body".to_owned();
    }
    let parts = path.iter().map(|part| match part {
        Value::String(name) => name.clone(),
        other => other.to_string(),
    });
    format!("Field {}", parts.collect::<Vec<_>>().join("."))
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (body, kind, headers) = self.into_body();
        let mut response = Response::builder()
            .status(kind.status)
            .content_type(CONTENT_TYPE)
            .body(body.to_string());
        response.headers_mut().extend(headers);
        response
    }
}

impl From<Problem> for poem::Error {
    fn from(problem: Problem) -> Self {
        let message = problem.0.detail.clone();
        let mut error = poem::Error::from_response(problem.into_response());
        error.set_error_message(message);
        error
    }
}

/// An error answer (RFC 9457). Some problems carry further members, for example `message`,
/// `success` or `limit`.
#[derive(Object)]
#[oai(rename = "Problem", rename_all = "camelCase")]
pub(super) struct Shape {
    /// `/problems/{code}`.
    #[oai(rename = "type")]
    kind: String,
    /// The same words for every problem of this type.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What went wrong this time, for people.
    detail: String,
    /// The stable code of the type.
    code: String,
    /// Find the log lines of the request by it; also in the header X-Request-Id.
    #[oai(skip_serializing_if_is_none)]
    request_id: Option<String>,
    /// What went wrong, in a few fixed words; for some problems the code again.
    error: String,
    /// What is wrong with which field; only and always with `Validation error`.
    #[oai(skip_serializing_if_is_none)]
    details: Option<Vec<Detail>>,
}
