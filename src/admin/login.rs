//! HTTP Basic login of the admin listener: any user name, one password. The name goes into the log
//! with what is done.
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
    Endpoint, IntoResponse, Request, Response,
    http::{StatusCode, header},
};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::clock::Clock;
use crate::http::auth::{ANONYMOUS, KeyHash};
use crate::http::client::TrustedProxies;
use crate::http::rates::{Failures, too_often};

const CHALLENGE: &str = "Basic realm=\"marketplace-sync admin\", charset=\"UTF-8\"";
/// So many wrong passwords of an address at once, and one more each [`FAILURE_EVERY`].
const FAILURES: NonZeroU32 = NonZeroU32::new(10).unwrap();
const FAILURE_EVERY: Duration = Duration::from_secs(6);

/// Letters of a user name that are shown.
const SHOWN: usize = 64;

/// Who passed, as the log names them. Who is let in by a password that many may know can say that
/// they are anybody; it helps those who want to be told apart.
#[derive(Clone, Debug)]
pub(super) struct Operator(String);

impl Operator {
    /// The one of a request that has passed.
    pub(super) fn of(request: &Request) -> &str {
        let operator = request.data::<Self>();
        operator.map_or(ANONYMOUS, |operator| &operator.0)
    }

    /// By a user name; none if there is no name, or it is the password once more.
    fn named(name: &[u8], expected: KeyHash) -> Option<Self> {
        let is_password = bool::from(KeyHash::of_bytes(name).ct_eq(&expected));
        let name = String::from_utf8_lossy(name);
        let letters = name.trim().chars().filter(|letter| !letter.is_control());
        let shown: String = letters.take(SHOWN).collect();
        (!shown.is_empty() && !is_password).then_some(Self(shown))
    }
}

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

    /// Who may pass with a request; an answer if nobody may.
    fn admit(&self, request: &Request) -> Result<Option<Operator>, Box<Response>> {
        let Some(expected) = self.expected else {
            return Ok(None);
        };
        let network = self.proxies.client(request);
        let waits = network.map(|network| self.failures.check(network));
        if let Some(Err(wait)) = waits {
            return Err(Box::new(too_often(wait).into_response()));
        }
        let Some((name, password)) = given_credentials(request) else {
            return Err(Box::new(challenge()));
        };
        let given = KeyHash::of_bytes(&password);
        if bool::from(given.ct_eq(&expected)) {
            return Ok(Operator::named(&name, expected));
        }
        if let Some(network) = network {
            self.failures.note(network, given);
        }
        Err(Box::new(challenge()))
    }
}

/// A middleware for [`poem::EndpointExt::around`] that lets a request pass when it may.
pub(super) fn demand<E>(
    login: Login,
) -> impl Fn(Arc<E>, Request) -> BoxFuture<'static, poem::Result<Response>> + Send + Sync
where
    E: Endpoint + 'static,
{
    move |endpoint, mut request| {
        let admitted = login.admit(&request);
        Box::pin(async move {
            match admitted {
                Ok(Some(operator)) => {
                    request.set_data(operator);
                }
                Ok(None) => {}
                Err(refusal) => return Ok(*refusal),
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

/// Of `Authorization: Basic base64(user:password)`; a user name has no colon.
fn given_credentials(request: &Request) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, credentials) = request.header(header::AUTHORIZATION)?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let credentials = STANDARD.decode(credentials.trim()).ok()?;
    let colon = credentials.iter().position(|byte| *byte == b':')?;
    let (name, password) = (&credentials[..colon], &credentials[colon + 1..]);
    Some((name.to_vec(), password.to_vec()))
}
