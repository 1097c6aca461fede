//! Keeps pages of other sites, open in the operator's browser, from using the admin listener.
//!
//! A browser sends the password by itself, whoever makes it ask. So a request that may change
//! something must come from our own pages: browsers say so in `Sec-Fetch-Site`, or name the page's
//! origin. What says neither is no browser, and is let pass. Without a password there is nothing
//! that another name for this machine's address would not have, so then the listener answers to
//! addresses and to `localhost` only (DNS rebinding).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures::future::BoxFuture;
use poem::http::{HeaderMap, Method, Uri, header};
use poem::{Endpoint, IntoResponse, Request, Response, Result};

use crate::http::kind::FORBIDDEN;
use crate::http::problem::Problem;

const FETCH_SITE: &str = "sec-fetch-site";

/// A middleware for [`poem::EndpointExt::around`] that refuses what another site has sent.
pub(super) fn own_pages_only<E>(
    has_password: bool,
) -> impl Fn(Arc<E>, Request) -> BoxFuture<'static, Result<Response>> + Send + Sync
where
    E: Endpoint + 'static,
{
    move |endpoint, request| {
        let refusal = refusal(&request, has_password);
        Box::pin(async move {
            match refusal {
                Some(refusal) => Ok(Problem::of(FORBIDDEN, refusal).into_response()),
                None => endpoint
                    .call(request)
                    .await
                    .map(IntoResponse::into_response),
            }
        })
    }
}

fn refusal(request: &Request, has_password: bool) -> Option<&'static str> {
    // HTTP/2 has the host in the address.
    let in_address = request.uri().authority().map(ToString::to_string);
    let in_header = request.header(header::HOST).map(str::to_owned);
    let host = in_address.or(in_header);
    if !has_password && !host.as_deref().is_none_or(is_no_name) {
        return Some(
            "Without ADMIN_PASSWORD this listener answers to an address or localhost only",
        );
    }
    let changes = !matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    let is_foreign = !is_own(request.headers(), host.as_deref());
    (changes && is_foreign).then_some("The request comes from a page of another site")
}

/// Whether a host, maybe with a port, is an address or a name of this machine itself.
fn is_no_name(host: &str) -> bool {
    if host.starts_with('[') || host.parse::<SocketAddr>().is_ok() {
        return true;
    }
    let name = host.split_once(':').map_or(host, |(name, _port)| name);
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok()
}

/// Whether our own page sent this, or no browser.
fn is_own(headers: &HeaderMap, host: Option<&str>) -> bool {
    if let Some(site) = headers.get(FETCH_SITE) {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let origin = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.parse::<Uri>().ok());
    let authority = origin.as_ref().and_then(Uri::authority);
    match (authority, host) {
        (Some(authority), Some(host)) => authority.as_str().eq_ignore_ascii_case(host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(method: Method, headers: &[(&'static str, &str)], has_password: bool) -> bool {
        let mut request = Request::builder().method(method).uri_str("/admin/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        refusal(&request.finish(), has_password).is_some()
    }

    #[test]
    fn what_another_site_sends_is_refused() {
        let host = ("host", "admin.example:3001");
        for foreign in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "Same-Origin"),
            ("origin", "null"),
            ("origin", "http://admin.example"),
            ("origin", "http://admin.example:3000"),
            ("origin", "http://evil.example"),
            ("origin", "http://admin.example:3001.evil.example"),
            ("origin", "http://admin.example:3001@evil.example"),
            ("origin", ""),
        ] {
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                assert!(is_refused(method, &[host, foreign], true), "{foreign:?}");
            }
            assert!(
                !is_refused(Method::GET, &[host, foreign], true),
                "{foreign:?}"
            );
        }
        let both = [
            host,
            ("origin", "http://admin.example:3001"),
            ("sec-fetch-site", "cross-site"),
        ];
        assert!(is_refused(Method::POST, &both, true));
        assert!(
            is_refused(Method::POST, &[("origin", "http://a")], true),
            "no host"
        );
    }

    #[test]
    fn our_own_page_and_no_browser_are_let_pass() {
        let host = ("host", "admin.example:3001");
        for own in [
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
            ("origin", "http://admin.example:3001"),
            ("origin", "https://ADMIN.example:3001"),
            ("accept", "*/*"),
        ] {
            assert!(!is_refused(Method::POST, &[host, own], true), "{own:?}");
        }
    }

    #[test]
    fn without_a_password_only_an_address_or_localhost_is_answered_to() {
        for host in [
            "127.0.0.1:3001",
            "127.0.0.1",
            "[::1]:3001",
            "[::1]",
            "localhost",
            "LocalHost:3001",
            "localhost.",
            "app.localhost:80",
            "192.168.1.7:3001",
        ] {
            assert!(!is_refused(Method::GET, &[("host", host)], false), "{host}");
        }
        for host in [
            "evil.example:3001",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil",
            "",
        ] {
            assert!(is_refused(Method::GET, &[("host", host)], false), "{host}");
            assert!(!is_refused(Method::GET, &[("host", host)], true), "{host}");
        }
        assert!(!is_refused(Method::GET, &[], false));
    }
}
