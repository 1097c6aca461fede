//! The pages: static files that are part of the binary; what they show comes from the API.

use poem::http::header;
use poem::{Response, handler};

/// No inline code, nothing from elsewhere.
pub(super) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

#[handler]
pub(super) fn show_page() -> Response {
    html(include_str!("page/index.html"))
}

#[handler]
pub(super) fn show_stock_page() -> Response {
    html(include_str!("page/stock.html"))
}

#[handler]
pub(super) fn show_style() -> Response {
    let text = include_str!("page/operators.css");
    file("text/css; charset=utf-8", text)
}

#[handler]
pub(super) fn show_common() -> Response {
    script(include_str!("page/common.js"))
}

#[handler]
pub(super) fn show_script() -> Response {
    script(include_str!("page/operators.js"))
}

#[handler]
pub(super) fn show_stock_script() -> Response {
    script(include_str!("page/stock.js"))
}

fn html(text: &'static str) -> Response {
    file("text/html; charset=utf-8", text)
}

fn script(text: &'static str) -> Response {
    file("text/javascript; charset=utf-8", text)
}

fn file(content_type: &'static str, text: &'static str) -> Response {
    Response::builder()
        .content_type(content_type)
        .header(header::CACHE_CONTROL, "no-cache")
        .header(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY)
        .body(text)
}
