//! Puts the admin listener together. Every route of it starts in [`app`].

use std::future::{Ready, ready};

use jobs::Queue;
use poem::{
    Endpoint, EndpointExt, Response, Result, Route,
    http::{HeaderValue, header},
    middleware::SetHeader,
};
use secrecy::SecretString;

use super::login::{self, Login};
use super::{LogStream, board, origin, ui};
use crate::clock::Clock;
use crate::http::client::TrustedProxies;

/// The board alone, its API and its log, behind a login when `password` is set.
pub fn app(
    queue: &Queue,
    logs: LogStream,
    password: Option<&SecretString>,
) -> impl Endpoint + use<> {
    with_pages(Route::new(), queue, logs, password)
}

/// Further pages beside the board, all behind the same login, which believes no proxy.
pub fn with_pages(
    pages: Route,
    queue: &Queue,
    logs: LogStream,
    password: Option<&SecretString>,
) -> impl Endpoint + use<> {
    let (proxies, clock) = (TrustedProxies::default(), Clock::system());
    let login = Login::new(password, proxies, &clock);
    with_login(pages, queue, logs, login)
}

/// The admin listener's endpoint: further pages beside the board, all behind the same login.
pub fn with_login(
    pages: Route,
    queue: &Queue,
    logs: LogStream,
    login: Login,
) -> impl Endpoint + use<> {
    let has_password = login.is_demanded();
    pages
        .nest("/api/v1", board::routes(queue, logs))
        .nest("/", ui::routes())
        .around(login::demand(login))
        .around(origin::own_pages_only(has_password))
        .after(with_policy())
        .with(security_headers())
}

/// Gives an answer the policy of the board, unless it has one of its own: what the board needs
/// and no more, which is its own files, its one inline script (by hash), WebAssembly, and the
/// `style` attributes it draws its bars with.
fn with_policy() -> impl Fn(Result<Response>) -> Ready<Result<Response>> {
    let policy = HeaderValue::from_str(&ui::content_security_policy())
        .expect("hashes and words make a header");
    move |answer| {
        ready(answer.map(|mut answer| {
            let headers = answer.headers_mut();
            headers
                .entry(header::CONTENT_SECURITY_POLICY)
                .or_insert_with(|| policy.clone());
            answer
        }))
    }
}

/// Headers of every answer.
fn security_headers() -> SetHeader {
    SetHeader::new()
        .overriding(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .overriding(header::X_FRAME_OPTIONS, "DENY")
        .overriding(header::REFERRER_POLICY, "no-referrer")
        .overriding("Cross-Origin-Resource-Policy", "same-origin")
        .overriding("Cross-Origin-Opener-Policy", "same-origin")
}
