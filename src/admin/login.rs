//! HTTP Basic login of the admin listener: any user name, one password.
//!
//! Browsers remember the answer for the page's own requests and for its event stream, so
//! the board needs no login page. The password is compared in constant time, as a hash, so
//! that its length does not show either.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use futures::future::BoxFuture;
use poem::{
    Endpoint, IntoResponse, Request, Response, Result,
    http::{StatusCode, header},
};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const CHALLENGE: &str = "Basic realm=\"marketplace-sync admin\", charset=\"UTF-8\"";

/// A middleware for [`poem::EndpointExt::around`] that lets a request pass when no password
/// is set or when it carries this one.
pub(super) fn demand<E>(
    password: Option<SecretString>,
) -> impl Fn(Arc<E>, Request) -> BoxFuture<'static, Result<Response>> + Send + Sync
where
    E: Endpoint + 'static,
{
    let expected = password.map(|password| digest(password.expose_secret().as_bytes()));
    move |endpoint, request| {
        let may_pass = expected.is_none_or(|expected| {
            given_password(&request)
                .is_some_and(|given| bool::from(digest(&given).ct_eq(&expected)))
        });
        Box::pin(async move {
            if !may_pass {
                return Ok(challenge());
            }
            endpoint
                .call(request)
                .await
                .map(IntoResponse::into_response)
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

fn digest(password: &[u8]) -> [u8; 32] {
    Sha256::digest(password).into()
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
