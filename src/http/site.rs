//! The public listener: an API, its document at `/openapi.json` and Swagger UI at `/docs`, which
//! needs nothing from the network.

use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem::web::Redirect;
use poem::{
    Endpoint, EndpointExt, IntoEndpoint, Request, Response, Route, endpoint::make_sync, get,
};
use poem_openapi::{OpenApi, OpenApiService, Tags};

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
    /// A marketplace to try things with. It plays somebody else's API: its errors are bare
    /// `{"error": …}` bodies.
    #[oai(rename = "mock marketplace")]
    Mock,
    /// Whether the service lives and can do its work.
    Health,
}

const DESCRIPTION: &str = "Registers marketplace stores, imports their orders exactly once, \
    and retries in the background.\n\n\
    Every error is `application/problem+json` (RFC 9457). Every answer carries `X-Request-Id`.";

/// The API with its document.
pub fn document<T: OpenApi>(api: T) -> OpenApiService<T, ()> {
    OpenApiService::new(api, "marketplace-sync", env!("CARGO_PKG_VERSION"))
        .description(DESCRIPTION)
        .server("/")
}

/// Everything the public listener serves, ready for `poem::Server`.
pub fn site<T: OpenApi + 'static>(api: T, shell: Shell) -> impl Endpoint<Output = Response> {
    let routes = Routes::of_api::<T>()
        .with("/", Method::GET)
        .with("/docs", Method::GET)
        .with("/openapi.json", Method::GET);
    let service = document(api);
    let pages = Route::new()
        .at("/", get(make_sync(|_| Redirect::temporary("/docs"))))
        .at("/openapi.json", get(service.spec_endpoint()))
        .nest("/docs", get(service.swagger_ui()));
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
            path if path.starts_with("/docs/") => self.pages.call(request).await,
            _ => self.api.call(request).await,
        }
    }
}
