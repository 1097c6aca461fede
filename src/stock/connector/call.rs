//! One HTTP call to a marketplace: how it is made, and what it leaves in the log.
//!
//! The log never has a credential: headers are not in it, and a reply that repeats a secret is
//! logged without it.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jobs::PushId;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};

use super::answer::{Answer, End, failure};
use super::reply::{id, storable};
use super::{Exchange, FailureKind, MAX_REPLY};
use crate::stock::model::ApiLogType;
use crate::traces;

/// What marketplaces call a call, the most telling first.
const CORRELATION_HEADERS: [&str; 4] = [
    "x-correlation-id",
    "x-correlationid",
    "x-amzn-requestid",
    "x-request-id",
];

/// Makes calls over one pooled client.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    http: reqwest::Client,
    timeout: Duration,
}

/// A call to be made.
pub(super) struct Call {
    kind: ApiLogType,
    method: &'static str,
    url: Url,
    headers: Vec<(&'static str, String)>,
    body: Option<String>,
    secrets: Vec<String>,
}

impl Caller {
    pub(super) fn new(http: reqwest::Client, timeout: Duration) -> Self {
        Self { http, timeout }
    }

    /// When calls that begin now have to be done, together.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Makes a call, once.
    pub(super) async fn call(&self, call: Call, deadline: Instant) -> Answer {
        let started = Instant::now();
        let mut answer = Answer {
            exchange: Exchange {
                kind: call.kind,
                method: call.method,
                url: call.url.to_string(),
                request: call.body.as_deref().map(storable),
                response: None,
                status: None,
                error: None,
                duration: Duration::ZERO,
                correlation_id: None,
            },
            headers: HeaderMap::new(),
            body: Vec::new(),
            end: End::Whole,
        };
        match headers(&call.headers) {
            Ok(headers) => self.ask(&call, headers, deadline, &mut answer).await,
            Err(name) => {
                let why = format!("no header `{name}` can have its value");
                answer.end = End::NotSent(failure(FailureKind::Unauthorized, &why));
            }
        }
        answer.exchange.duration = started.elapsed();
        answer
    }

    async fn ask(&self, call: &Call, headers: HeaderMap, deadline: Instant, answer: &mut Answer) {
        let method = Method::from_bytes(call.method.as_bytes()).expect("it is a method");
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let kind = FailureKind::Ambiguous;
            answer.end = End::NotSent(failure(kind, "there was no time left for this call"));
            return;
        }
        let mut request = self
            .http
            .request(method, call.url.clone())
            .headers(headers)
            .timeout(left);
        if let Some(body) = &call.body {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                answer.end = End::Lost(loss(&error));
                return;
            }
        };
        answer.exchange.status = Some(response.status().as_u16());
        answer.headers = std::mem::take(response.headers_mut());
        answer.exchange.correlation_id = correlation(&answer.headers);
        (answer.body, answer.end) = read(response).await;
        let mut text = String::from_utf8_lossy(&answer.body).into_owned();
        for secret in &call.secrets {
            text = text.replace(secret, "***");
        }
        answer.exchange.response = Some(storable(&text));
    }
}

/// The headers, or the name of the one that cannot be written. None is ever logged.
fn headers(pairs: &[(&'static str, String)]) -> Result<HeaderMap, &'static str> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(value) = traces::traceparent().and_then(|value| value.parse().ok()) {
        headers.insert(traces::HEADER, value);
    }
    for (name, value) in pairs {
        let mut value = HeaderValue::from_str(value).map_err(|_| *name)?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(headers)
}

/// Reads up to the limit.
async fn read(mut response: reqwest::Response) -> (Vec<u8>, End) {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() > MAX_REPLY => {
                bytes.extend_from_slice(&chunk[..MAX_REPLY - bytes.len()]);
                return (bytes, End::TooLong);
            }
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return (bytes, End::Whole),
            Err(error) => return (bytes, End::Lost(loss(&error))),
        }
    }
}

/// What is said of a lost connection: no address and no header, as the error itself would.
fn loss(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "the marketplace did not answer in time"
    } else if error.is_connect() {
        "the marketplace cannot be reached"
    } else {
        "the connection to the marketplace was lost"
    }
}

fn correlation(headers: &HeaderMap) -> Option<String> {
    let value = |name: &&str| id(headers.get(*name)?.to_str().ok().map(str::to_owned));
    CORRELATION_HEADERS.iter().find_map(value)
}

impl Call {
    /// A question.
    pub(super) fn get(kind: ApiLogType, url: Url) -> Self {
        Self::new(kind, "GET", url, None)
    }

    /// A call with a JSON body.
    pub(super) fn with_body(
        kind: ApiLogType,
        method: &'static str,
        url: Url,
        body: String,
    ) -> Self {
        Self::new(kind, method, url, Some(body))
    }

    fn new(kind: ApiLogType, method: &'static str, url: Url, body: Option<String>) -> Self {
        Self {
            kind,
            method,
            url,
            headers: Vec::new(),
            body,
            secrets: Vec::new(),
        }
    }

    /// With a header that anybody may see. Its name is in lower case.
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With a header that has one secret or several, and perhaps something else.
    pub(super) fn secret(self, name: &'static str, value: String, secrets: &[&str]) -> Self {
        let mut call = self.header(name, value);
        // What is as short as that is no secret, and in every text.
        let secrets = secrets.iter().filter(|secret| secret.len() >= 4);
        call.secrets
            .extend(secrets.map(|secret| (*secret).to_owned()));
        call
    }

    /// With a pair of Basic credentials, whose user is a secret, too.
    pub(super) fn basic(self, user: &str, password: &str) -> Self {
        let pair = STANDARD.encode(format!("{user}:{password}"));
        self.secret(
            "authorization",
            format!("Basic {pair}"),
            &[&pair, password, user],
        )
    }

    /// With the name of the push, by which both sides find the call again.
    pub(super) fn of_push(self, push_id: PushId) -> Self {
        self.header("x-correlationid", push_id.to_string())
    }
}

/// A path below the address of a marketplace.
pub(super) fn address(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    // Settings only take addresses that have a path.
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}
