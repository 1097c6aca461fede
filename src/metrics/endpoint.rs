//! `GET /metrics`: on the admin listener behind its login, and on a listener of its own.

use std::sync::Arc;

use poem::endpoint::make;
use poem::http::header;
use poem::{Endpoint, EndpointExt, IntoEndpoint, Response, Route, get, middleware::SetHeader};
use poem_openapi::OpenApiService;
use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

use crate::App;
use crate::http::health::HealthApi;

/// Answers with everything.
pub fn endpoint(app: &Arc<App>) -> impl IntoEndpoint<Endpoint = impl Endpoint + use<>> + use<> {
    let app = app.clone();
    get(make(move |_| {
        let app = app.clone();
        async move {
            app.metrics.readings.fresh(&app).await;
            let response = Response::builder().header(header::CACHE_CONTROL, "no-store");
            response
                .content_type(CONTENT_TYPE)
                .body(app.metrics.encode())
        }
    }))
}

/// The listener of a process that has no other: what there is to scrape, and its health. No
/// login: it holds no secret and no id, and is on a loopback address unless somebody says so.
pub fn pages(app: &Arc<App>, health: HealthApi) -> impl Endpoint + use<> {
    let health = OpenApiService::new(health, "marketplace-sync", env!("CARGO_PKG_VERSION"));
    let pages = Route::new().at("/metrics", endpoint(app));
    pages.nest("/", health).with(
        SetHeader::new()
            .overriding(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
            .overriding(header::REFERRER_POLICY, "no-referrer"),
    )
}
