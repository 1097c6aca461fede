//! HTTP Basic login of the admin listener: any user name, one password.
//!
//! Browsers remember the answer for the page's own requests and for its event stream, so
//! the board needs no login page. The password is compared in constant time, as a hash, so
//! that its length does not show either. Whoever is wrong too often has to wait.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use futures::future::BoxFuture;
use poem::{
    Endpoint, IntoResponse, Request, Response, Result,
    http::{StatusCode, header},
};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::clock::Clock;
use crate::http::auth::KeyHash;
use crate::http::client::TrustedProxies;
use crate::http::rates::{Failures, too_often};

const CHALLENGE: &str = "Basic realm=\"marketplace-sync admin\", charset=\"UTF-8\"";
/// So many wrong passwords of an address at once, and one more each [`FAILURE_EVERY`].
const FAILURES: NonZeroU32 = NonZeroU32::new(10).unwrap();
const FAILURE_EVERY: Duration = Duration::from_secs(6);

/// Who may pass.
pub struct Login {
    expected: Option<KeyHash>,
    failures: Failures,
    proxies: TrustedProxies,
}

impl Login {
    /// Everybody when there is no password, else whoever has it.
    pub fn new(password: Option<&SecretString>, proxies: TrustedProxies, clock: &Clock) -> Self {
        Self {
            expected: password.map(|password| KeyHash::of(password.expose_secret())),
            failures: Failures::new(FAILURE_EVERY, FAILURES, clock),
            proxies,
        }
    }

    /// Whether there is a password.
    pub(super) fn is_demanded(&self) -> bool {
        self.expected.is_some()
    }

    /// What keeps a request from passing; none when it may.
    fn refusal(&self, request: &Request) -> Option<Response> {
        let expected = self.expected?;
        let network = self.proxies.client(request);
        let waits = network.map(|network| self.failures.check(network));
        if let Some(Err(wait)) = waits {
            return Some(too_often(wait).into_response());
        }
        let given = given_password(request).map(|given| KeyHash::of_bytes(&given));
        match given {
            Some(given) if bool::from(given.ct_eq(&expected)) => None,
            given => {
                if let (Some(given), Some(network)) = (given, network) {
                    self.failures.note(network, given);
                }
                Some(challenge())
            }
        }
    }
}

/// A middleware for [`poem::EndpointExt::around`] that lets a request pass when it may.
pub(super) fn demand<E>(
    login: Login,
) -> impl Fn(Arc<E>, Request) -> BoxFuture<'static, Result<Response>> + Send + Sync
where
    E: Endpoint + 'static,
{
    move |endpoint, request| {
        let refusal = login.refusal(&request);
        Box::pin(async move {
            if let Some(refusal) = refusal {
                return Ok(refusal);
            }
            let answer = endpoint.call(request).await;
            answer.map(IntoResponse::into_response)
        })
    }
}

fn challenge() -> Response {
    Response::builder()
        .status(StatusCode::UNAUTHORIZED)
        .header(header::WWW_AUTHENTICATE, CHALLENGE)
        .header(header::CACHE_CONTROL, "no-store")
        .content_type("text/plain; charset=utf-8")
        .body("The admin password is needed; the user name does not matter.\n")
}

/// The password of `Authorization: Basic base64(user:password)`; a user name has no colon.
fn given_password(request: &Request) -> Option<Vec<u8>> {
    let (scheme, credentials) = request.header(header::AUTHORIZATION)?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let credentials = STANDARD.decode(credentials.trim()).ok()?;
    let colon = credentials.iter().position(|byte| *byte == b':')?;
    Some(credentials[colon + 1..].to_vec())
}
