//! What a request may cost: bytes of address, headers and body, and time.

use std::time::Duration;

use poem::Request;

use super::kind::{HEADERS_TOO_LARGE, URI_TOO_LONG};
use super::problem::Problem;

/// The largest body, in bytes, unless [`Limits`] say otherwise.
pub const BODY_BYTES: usize = 2 * 1024 * 1024;

/// The limits of one listener.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest body; larger ones are answered with 413.
    pub body_bytes: usize,
    /// How long a body may take to arrive (408).
    pub body_time: Duration,
    /// All header names and values together (431).
    pub header_bytes: usize,
    /// Path and query (414).
    pub uri_bytes: usize,
    /// From the head of the request to the head of the answer (503).
    pub request_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: BODY_BYTES,
            body_time: Duration::from_secs(15),
            header_bytes: 16 * 1024,
            uri_bytes: 8 * 1024,
            request_time: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// Checks what is known before the body is read.
    pub(super) fn check(&self, request: &Request) -> Result<(), Problem> {
        let uri = request
            .uri()
            .path_and_query()
            .map_or(0, |uri| uri.as_str().len());
        if uri > self.uri_bytes {
            let detail = format!("The address may have {} bytes", self.uri_bytes);
            return Err(Problem::of(URI_TOO_LONG, detail));
        }
        let headers: usize = request
            .headers()
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if headers > self.header_bytes {
            let detail = format!("The headers may have {} bytes", self.header_bytes);
            return Err(Problem::of(HEADERS_TOO_LARGE, detail));
        }
        Ok(())
    }
}
