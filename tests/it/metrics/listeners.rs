//! Where metrics are served, and what they are called.

use marketplace_sync::admin::{self, LogStream};
use marketplace_sync::metrics;
use poem::Route;
use reqwest::StatusCode;
use rstest::rstest;
use secrecy::SecretString;

use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::app::TestApp;
use crate::support::process::{Process, environment};
use crate::support::scrape::Scrape;
use crate::support::server::TestServer;

/// Dashboards and alerts hold on to names and labels.
#[rstest]
#[tokio::test]
async fn metrics_keep_their_names_and_labels(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::busy(on).await;
    insta::assert_snapshot!("metrics", app.scrape().await.catalogue());
}

/// On the admin listener they are behind its login; on the public one they are not at all.
#[rstest]
#[tokio::test]
async fn metrics_are_behind_the_login_of_the_admin_listener(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::watched(on, &[]).await;
    let pages = Route::new().at("/metrics", metrics::endpoint(&app.app));
    let password = Some(SecretString::from("hunter2"));
    let board = admin::with_pages(pages, &app.app.queue, LogStream::new(), password.as_ref());
    let server = TestServer::start(board).await;
    let url = server.url("/metrics");
    let refused = app.http.get(url.clone()).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let wrong = app.http.get(url.clone()).basic_auth("a", Some("hunter3"));
    assert_eq!(
        wrong.send().await.unwrap().status(),
        StatusCode::UNAUTHORIZED
    );
    let answer = app.http.get(url.clone()).basic_auth("a", Some("hunter2"));
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let content_type = answer.headers()["content-type"].to_str().unwrap();
    assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
    Scrape::parse(&answer.text().await.unwrap()).value("sync_backlog_total", &[]);
    let posted = app.http.post(url).basic_auth("a", Some("hunter2"));
    assert_eq!(
        posted.send().await.unwrap().status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert_eq!(app.get("/metrics").await.0, StatusCode::NOT_FOUND);
}

/// A worker has no admin listener.
#[tokio::test]
async fn a_process_without_the_api_has_a_listener_for_metrics() {
    let settings = environment(&[("METRICS_PORT", "0"), ("LOG_FORMAT", "json")]);
    let process = Process::start(&["serve", "--roles", "worker,scheduler"], &settings);
    let address = process.address("metrics").await;
    assert!(address.ip().is_loopback());
    assert_eq!(process.events("listening").len(), 1);
    let http =
        marketplace_sync::marketplace::connector::http_client(std::time::Duration::from_secs(30))
            .unwrap();
    let answer = http
        .get(format!("http://{address}/metrics"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let scrape = Scrape::parse(&answer.text().await.unwrap());
    assert!(scrape.value("dependency_up", &[("dependency", "database")]) > 0.5);
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    assert!(scrape.value("marketplace_sync_build_info", &version) > 0.5);
    for path in ["live", "ready"] {
        let url = format!("http://{address}/health/{path}");
        assert_eq!(
            http.get(url).send().await.unwrap().status(),
            StatusCode::OK,
            "{path}"
        );
    }
    for path in ["/", "/stores/register", "/api/v1/queues"] {
        let answer = http
            .get(format!("http://{address}{path}"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
}
