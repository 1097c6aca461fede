//! One POST to an endpoint, and what came of it: no retries, no rows.

use std::error::Error;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response};

use super::guard::{Guard, GuardError, http_client};

/// Bytes of a reply that are read and kept.
const EXCERPT: usize = 4096;

/// The way out to endpoints; one a process.
#[derive(Clone, Debug)]
pub struct Sender {
    /// Says where it may lead.
    pub guard: Guard,
    client: Client,
}

/// What came of a POST.
#[derive(Debug)]
pub struct Sent {
    /// From the start to the end of what is read of the reply.
    pub duration: Duration,
    /// What was replied, or why nothing was.
    pub reply: Result<Reply, SendError>,
}

impl Sent {
    /// Nothing is sent that cannot be signed.
    pub(super) fn unsigned() -> Self {
        Self {
            duration: Duration::ZERO,
            reply: Err(SendError::SecretUnreadable),
        }
    }

    /// One word for what came of it, for metrics.
    pub fn result(&self) -> &'static str {
        match &self.reply {
            Ok(reply) if reply.is_success() => "success",
            Ok(_) => "http_error",
            Err(SendError::Timeout) => "timeout",
            Err(SendError::AddressRefused) => "address_refused",
            Err(SendError::ConnectionFailed) => "connection_failed",
            Err(SendError::TransportFailed) => "transport_failed",
            Err(SendError::SecretUnreadable) => "signing_secret_unreadable",
        }
    }
}

/// What an endpoint replied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The `Retry-After` header, as it was sent.
    pub retry_after: Option<String>,
    /// The first 4 KiB of the body, with U+FFFD for what is no text.
    pub excerpt: String,
}

impl Reply {
    /// Whether the event counts as delivered: 200 and 201, nothing else.
    pub fn is_success(&self) -> bool {
        matches!(self.status, 200 | 201)
    }
}

/// Why there is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Not in time.
    #[error("timeout")]
    Timeout,
    /// The guard refused the URL, or an address of its name.
    #[error("address_refused")]
    AddressRefused,
    /// No connection: the name is unknown, nobody listens, TLS failed.
    #[error("connection_failed")]
    ConnectionFailed,
    /// Nothing was sent: the secret to sign it with cannot be read.
    #[error("signing_secret_unreadable")]
    SecretUnreadable,
    /// The connection broke, or what came was not HTTP.
    #[error("transport_failed")]
    TransportFailed,
}

impl Sender {
    /// A way out that takes at most `timeout` a POST.
    pub fn new(guard: Guard, timeout: Duration) -> reqwest::Result<Self> {
        let client = http_client(&guard, timeout)?;
        Ok(Self { guard, client })
    }

    /// Posts JSON. The bytes are sent as they are: they are what was signed.
    pub async fn post(
        &self,
        target_url: &str,
        headers: impl IntoIterator<Item = (&'static str, String)>,
        body: Vec<u8>,
    ) -> Sent {
        let started = Instant::now();
        let reply = self.exchange(target_url, headers, body).await;
        Sent {
            duration: started.elapsed(),
            reply,
        }
    }

    async fn exchange(
        &self,
        target_url: &str,
        headers: impl IntoIterator<Item = (&'static str, String)>,
        body: Vec<u8>,
    ) -> Result<Reply, SendError> {
        let url = self
            .guard
            .check_url(target_url)
            .map_err(|_| SendError::AddressRefused)?;
        let mut request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = request
            .body(body)
            .send()
            .await
            .map_err(|error| SendError::from(&error))?;
        let retry_after = response.headers().get(RETRY_AFTER);
        Ok(Reply {
            status: response.status().as_u16(),
            retry_after: retry_after.and_then(|value| Some(value.to_str().ok()?.to_owned())),
            excerpt: excerpt(response).await,
        })
    }
}

/// The beginning of a body, as far as it comes: the status says enough.
async fn excerpt(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < EXCERPT
        && let Ok(Some(chunk)) = response.chunk().await
    {
        bytes.extend_from_slice(&chunk);
    }
    bytes.truncate(EXCERPT);
    // PostgreSQL stores no U+0000.
    String::from_utf8_lossy(&bytes).replace('\0', "\u{fffd}")
}

impl From<&reqwest::Error> for SendError {
    fn from(error: &reqwest::Error) -> Self {
        let mut source: Option<&(dyn Error + 'static)> = error.source();
        while let Some(cause) = source {
            if cause.is::<GuardError>() {
                return Self::AddressRefused;
            }
            source = cause.source();
        }
        if error.is_timeout() {
            Self::Timeout
        } else if error.is_connect() {
            Self::ConnectionFailed
        } else {
            Self::TransportFailed
        }
    }
}
