//! A mock marketplace on a free port, and clients that know its credentials.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use marketplace_sync::clock::Clock;
use marketplace_sync::marketplace::connector::{Credentials, MockClient, http_client};
use marketplace_sync::marketplace::mock_api::MockMarketplaceApi;
use marketplace_sync::marketplace::model::Marketplace;
use poem::Route;
use poem_openapi::OpenApiService;
use reqwest::Url;

use super::server::TestServer;

/// Long enough for any answer on the loopback interface.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// When it is, in these tests.
pub(crate) fn noon() -> DateTime<Utc> {
    "2024-01-01T12:00:00.123Z".parse().unwrap()
}

/// A pair for each marketplace: `etsy_user` and `etsy:pass`, and so on.
pub(crate) fn credentials() -> HashMap<Marketplace, Credentials> {
    let pair = |name| Credentials::new(format!("{name}_user"), format!("{name}:pass"));
    Marketplace::ALL
        .map(|marketplace| (marketplace, pair(marketplace)))
        .into()
}

/// The mock marketplace alone, without the service around it.
pub(crate) async fn serve_mock_marketplace(
    credentials: HashMap<Marketplace, Credentials>,
) -> TestServer {
    let api = MockMarketplaceApi::new(credentials, Clock::manual(noon()));
    let service = OpenApiService::new(api, "mock marketplace", "1");
    TestServer::start(Route::new().nest("/", service)).await
}

/// A client with the pairs of [`credentials`].
pub(crate) fn client(base_url: &Url) -> MockClient {
    client_with_timeout(base_url, PATIENCE)
}

/// The same with less patience.
pub(crate) fn client_with_timeout(base_url: &Url, timeout: Duration) -> MockClient {
    let http = http_client(PATIENCE).unwrap();
    MockClient::new(
        http,
        base_url,
        credentials(),
        timeout,
        Clock::manual(noon()),
    )
}
