//! Puts the admin listener together. Every route of it starts in [`app`].

use jobs::Queue;
use poem::{Endpoint, EndpointExt, Route, http::header, middleware::SetHeader};
use secrecy::SecretString;

use super::{LogStream, board, login, ui};

/// The board alone, its API and its log, behind a login when `password` is set.
pub fn app(
    queue: &Queue,
    logs: LogStream,
    password: Option<SecretString>,
) -> impl Endpoint + use<> {
    with_pages(Route::new(), queue, logs, password)
}

/// The admin listener's endpoint: further pages beside the board, all behind the same login.
pub fn with_pages(
    pages: Route,
    queue: &Queue,
    logs: LogStream,
    password: Option<SecretString>,
) -> impl Endpoint + use<> {
    pages
        .nest("/api/v1", board::routes(queue, logs))
        .nest("/", ui::routes())
        .around(login::demand(password))
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
