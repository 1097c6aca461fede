//! Who may use the admin listener, and from which pages.

use std::time::Duration;

use marketplace_sync::admin::{self, LogStream, Login};
use marketplace_sync::clock::Clock;
use poem::endpoint::make_sync;
use poem::{Route, post};
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::SecretString;

use crate::support::marketplace::noon;
use crate::support::queues::{TestQueue, Transport};
use crate::support::server::TestServer;

struct Admin {
    server: TestServer,
    http: reqwest::Client,
    clock: Clock,
    _queue: TestQueue,
}

/// The listener, with a page that changes something.
async fn admin(password: Option<&str>) -> Admin {
    let queue = TestQueue::open(Transport::Sqlite).await;
    let clock = Clock::manual(noon());
    let password = password.map(SecretString::from);
    let proxies = "127.0.0.1".parse().unwrap();
    let login = Login::new(password.as_ref(), proxies, &clock);
    let pages = Route::new().at("/admin/change", post(make_sync(|_| "changed")));
    let endpoint = admin::with_login(pages, &queue.queue, LogStream::new(), login);
    Admin {
        server: TestServer::start(endpoint).await,
        http: marketplace_sync::marketplace::connector::http_client(Duration::from_secs(30))
            .unwrap(),
        clock,
        _queue: queue,
    }
}

impl Admin {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.server.url(path))
    }

    async fn try_password(&self, address: &str, password: &str) -> (StatusCode, String) {
        let request = self.request(Method::GET, "/api/v1/queues");
        let request = request.header("x-forwarded-for", address);
        let answer = request
            .basic_auth("admin", Some(password))
            .send()
            .await
            .unwrap();
        let wait = answer.headers().get("retry-after");
        let wait = wait.map_or("", |wait| wait.to_str().unwrap());
        (answer.status(), wait.to_owned())
    }
}

#[tokio::test]
async fn whoever_guesses_the_password_has_to_wait() {
    let admin = admin(Some("hunter2")).await;
    let (wrong, right) = (
        (StatusCode::UNAUTHORIZED, String::new()),
        (StatusCode::OK, String::new()),
    );
    let wait = |seconds: &str| (StatusCode::TOO_MANY_REQUESTS, seconds.to_owned());
    for guess in 0..9 {
        assert_eq!(
            admin
                .try_password("192.0.2.1", &format!("guess-{guess}"))
                .await,
            wrong
        );
        assert_eq!(admin.try_password("192.0.2.1", "hunter2").await, right);
    }
    // A tab that was left open with the password of yesterday.
    for _ in 0..50 {
        assert_eq!(admin.try_password("192.0.2.1", "yesterday").await.0, 401);
        admin.clock.advance(Duration::from_secs(6));
    }
    for guess in 10..20 {
        assert_eq!(
            admin
                .try_password("192.0.2.1", &format!("guess-{guess}"))
                .await,
            wrong
        );
    }
    assert_eq!(admin.try_password("192.0.2.1", "guess-20").await, wait("6"));
    assert_eq!(admin.try_password("192.0.2.1", "hunter2").await, wait("6"));
    assert_eq!(admin.try_password("192.0.2.2", "hunter2").await, right);
    admin.clock.advance(Duration::from_secs(6));
    assert_eq!(admin.try_password("192.0.2.1", "hunter2").await, right);
}

/// The browser sends the password by itself, also for a page of another site.
#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    let admin = admin(Some("hunter2")).await;
    let own = admin.server.base_url().origin().ascii_serialization();
    let own: &str = &own;
    for (headers, status) in [
        (&[("origin", "https://evil.example")][..], 403),
        (&[("origin", "null")], 403),
        (&[("sec-fetch-site", "cross-site")], 403),
        (&[("origin", own), ("sec-fetch-site", "same-site")], 403),
        (&[("origin", own)], 200),
        (&[("origin", own), ("sec-fetch-site", "same-origin")], 200),
        (&[], 200),
    ] {
        let mut request = admin.request(Method::POST, "/admin/change");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.basic_auth("admin", Some("hunter2"));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{headers:?}");
        assert_eq!(answer.headers()["x-frame-options"], "DENY");
    }
    let stranger = admin
        .request(Method::POST, "/admin/change")
        .send()
        .await
        .unwrap();
    assert_eq!(stranger.status(), 401);
}

#[tokio::test]
async fn without_a_password_the_listener_has_no_name() {
    for (password, status) in [(None, 403), (Some("hunter2"), 200)] {
        let admin = admin(password).await;
        let ask = async |host: Option<&str>| {
            let mut request = admin.request(Method::GET, "/api/v1/queues");
            if let Some(host) = host {
                request = request.header("host", host);
            }
            let request = request.basic_auth("admin", Some("hunter2"));
            request.send().await.unwrap().status()
        };
        assert_eq!(ask(Some("evil.example:3001")).await, status);
        assert_eq!(ask(Some("localhost:3001")).await, 200);
        assert_eq!(ask(None).await, 200, "by its address");
    }
}
