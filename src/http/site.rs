//! The public listener: an API, its document at `/openapi.json` and Swagger UI at `/docs`, which
//! needs nothing from the network.

use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem::web::{Html, Redirect};
use poem::{
    Endpoint, EndpointExt, IntoEndpoint, IntoResponse, Request, Response, Route,
    endpoint::make_sync, get,
};
use poem_openapi::{OpenApi, OpenApiService, Tags};
use serde_json::Value;

use super::routes::Routes;
use super::shell::{Shell, wrap};

/// The chapters of the API document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Tags)]
#[oai(rename_all = "lowercase")]
pub enum Tag {
    /// Marketplace stores and how their synchronization stands.
    Stores,
    /// Orders, imported by receipt exactly once.
    Orders,
    /// Webhooks: who hears of what, and where.
    Webhooks,
    /// Events for webhooks: who has which, and what to do about those that nobody took.
    Callbacks,
    /// Stock: products, what there is of them and where, what is reserved, and what marketplaces
    /// have been told.
    Stock,
    /// A marketplace to try things with. It plays somebody else's API: its errors are bare
    /// `{"error": …}` bodies.
    #[oai(rename = "mock marketplace")]
    Mock,
    /// Whether the service lives and can do its work.
    Health,
}

const DESCRIPTION: &str = "Registers marketplace stores, imports their orders exactly once, \
    and retries in the background.\n\n\
    A POST that changes something takes an `Idempotency-Key` of your choice: sent again, it has no \
    further effect, and for 24 hours the answer is the one from before, with \
    `Idempotency-Replayed: true`. While the first one runs the answer is 409 with `Retry-After`; \
    another request with the same key is answered with 422.\n\n\
    Who has too much at work at the same time is answered with 503 `overloaded` and `Retry-After`: \
    nothing was done, and the same request may be sent again.\n\n\
    Every error is `application/problem+json` (RFC 9457). Every answer carries `X-Request-Id`.";

/// The API with its document.
pub fn document<T: OpenApi>(api: T) -> OpenApiService<T, ()> {
    OpenApiService::new(api, "marketplace-sync", env!("CARGO_PKG_VERSION"))
        .description(DESCRIPTION)
        .server("/")
}

/// Everything the public listener serves, ready for `poem::Server`. It shows `document` as the
/// one of the API.
pub fn site<T: OpenApi + 'static>(
    api: T,
    document: &Value,
    shell: Shell,
) -> impl Endpoint<Output = Response> + use<T> {
    let routes = Routes::of_api::<T>()
        .with("/", Method::GET)
        .with("/docs", Method::GET)
        .with("/openapi.json", Method::GET);
    let service = self::document(api);
    let document = document.to_string();
    let swagger_ui = service
        .swagger_ui_html()
        .replace(&service.spec(), &document);
    let pages = Route::new()
        .at("/", get(make_sync(|_| Redirect::temporary("/docs"))))
        .at(
            "/openapi.json",
            get(make_sync(move |_| {
                document.clone().with_content_type("application/json")
            })),
        )
        .at("/docs", get(make_sync(move |_| Html(swagger_ui.clone()))));
    let site = Site {
        pages: pages.boxed(),
        api: service.into_endpoint(),
    };
    wrap(site, routes, shell)
}

/// The pages beside the API. Not one poem router: the API owns `/`, and nesting it there would
/// take the redirect's place.
struct Site {
    pages: BoxEndpoint<'static>,
    api: BoxEndpoint<'static>,
}

impl Endpoint for Site {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        match request.uri().path() {
            "/" | "/docs" | "/openapi.json" => self.pages.call(request).await,
            _ => self.api.call(request).await,
        }
    }
}
