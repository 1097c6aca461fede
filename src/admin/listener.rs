//! Puts the admin listener together. Every route of it starts in [`app`].

use jobs::Queue;
use poem::{Endpoint, EndpointExt, Route, http::header, middleware::SetHeader};
use secrecy::SecretString;

use super::login::{self, Login};
use super::{LogStream, board, origin, ui};
use crate::clock::Clock;
use crate::http::client::TrustedProxies;

/// The board alone, its API and its log, behind a login when `password` is set.
pub fn app(
    queue: &Queue,
    logs: LogStream,
    password: Option<SecretString>,
) -> impl Endpoint + use<> {
    let login = Login::new(
        password.as_ref(),
        TrustedProxies::default(),
        &Clock::system(),
    );
    with_pages(Route::new(), queue, logs, login)
}

/// The admin listener's endpoint: further pages beside the board, all behind the same login.
pub fn with_pages(
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
        .with(security_headers())
}

/// Headers of every answer. The policy allows what the board needs and no more: its own
/// files, its one inline script (by hash), WebAssembly, and the `style` attributes it draws
/// its bars with.
fn security_headers() -> SetHeader {
    SetHeader::new()
        .overriding(
            header::CONTENT_SECURITY_POLICY,
            ui::content_security_policy(),
        )
        .overriding(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .overriding(header::X_FRAME_OPTIONS, "DENY")
        .overriding(header::REFERRER_POLICY, "no-referrer")
        .overriding("Cross-Origin-Resource-Policy", "same-origin")
        .overriding("Cross-Origin-Opener-Policy", "same-origin")
}
