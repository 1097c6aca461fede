//! The pooled HTTP client that connectors share.

use std::time::Duration;

use crate::tls;

/// A pooled client for marketplaces; make one a process.
///
/// - A request takes at most `timeout`, from the start of connecting to the last byte.
/// - Redirects are not followed: credentials go where the operator said, or nowhere.
/// - Proxies named by the environment are not used, for the same reason, and because the mock
///   marketplace is on the loopback interface. Settings are read in one place, and a proxy is
///   none of them.
/// - The TLS provider is installed for the whole process, unless one is installed already.
pub fn http_client(timeout: Duration) -> reqwest::Result<reqwest::Client> {
    tls::install_provider();
    reqwest::Client::builder()
        .timeout(timeout)
        .connect_timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("marketplace-sync/", env!("CARGO_PKG_VERSION")))
        .build()
}
