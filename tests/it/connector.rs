//! The client of the mock marketplace (A-18), and the scripted connector that tests use.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use marketplace_sync::clock::Clock;
use marketplace_sync::marketplace::connector::{
    Connector, ConnectorError, Credentials, MockClient, ReceiptRequest, ReplyBody, Verdict,
    http_client,
};
use marketplace_sync::marketplace::model::Marketplace;
use marketplace_sync::marketplace::money::{Currency, Money};
use poem::endpoint::{make, make_sync};
use poem::http::StatusCode;
use poem::{IntoEndpoint, Response};
use secrecy::SecretString;

use crate::support::marketplace::{
    PATIENCE, client, client_with_timeout, credentials, noon, serve_mock_marketplace,
};
use crate::support::scripted_connector::{
    ScriptedConnector, broken, invalid, rate_limited, unauthorized, valid,
};
use crate::support::server::TestServer;

const TEST1: ReceiptRequest<'_> = ReceiptRequest::new(Marketplace::Etsy, "test1");

/// What the client makes of a marketplace that gives this answer to everything.
async fn error_from(endpoint: impl IntoEndpoint<Endpoint: 'static>) -> ConnectorError {
    let server = TestServer::start(endpoint).await;
    let error = client(server.base_url()).validate(TEST1).await;
    error.expect_err("a broken marketplace gives no verdict")
}

async fn error_from_reply(status: u16, body: impl Into<String>) -> ConnectorError {
    let body = body.into();
    let status = StatusCode::from_u16(status).unwrap();
    error_from(make_sync(move |_| {
        Response::builder().status(status).body(body.clone())
    }))
    .await
}

/// A-18
#[tokio::test]
async fn every_marketplace_gives_its_verdicts() {
    let server = serve_mock_marketplace(credentials()).await;
    let client = client(server.base_url());
    for marketplace in Marketplace::ALL {
        let ask = |receipt| client.validate(ReceiptRequest::new(marketplace, receipt));
        let order = Verdict::Valid {
            order_id: "06924ddf-d249bbe-13b6e99d-1a49377c-000020db855b".into(),
            money: Money::new(50_700, Currency::parse("USD").unwrap()),
            imported_at: noon(),
        };
        assert_eq!(ask("test1").await, Ok(order));
        assert_eq!(ask("test2").await, Ok(Verdict::Invalid));
        let limited = ask("test24").await.unwrap_err();
        assert_eq!(limited.status(), Some(429));
        assert_eq!(limited.error_details(), "rate_limited");
        assert_eq!(limited.body().as_str(), r#"{"error":"rate_limited"}"#);
    }
}

#[tokio::test]
async fn the_currency_of_the_store_is_asked_for() {
    let server = serve_mock_marketplace(credentials()).await;
    let request = ReceiptRequest {
        currency: Some("JPY"),
        access_token: Some(&SecretString::from("ignored")),
        ..TEST1
    };
    let verdict = client(server.base_url()).validate(request).await;
    let Ok(Verdict::Valid { money, .. }) = verdict else {
        panic!("{verdict:?}");
    };
    assert_eq!(money, Money::new(507, Currency::parse("JPY").unwrap()));
}

/// A-18
#[tokio::test]
async fn wrong_credentials_by_override_are_an_auth_error() {
    let server = serve_mock_marketplace(credentials()).await;
    let client = client(server.base_url());
    let with = |user, password| ReceiptRequest {
        credentials_override: Some(Credentials::new(user, password)),
        ..TEST1
    };
    let error = client
        .validate(with("etsy_user", "wrong"))
        .await
        .unwrap_err();
    assert_eq!(error.status(), Some(401));
    assert_eq!(error.error_details(), "AuthError: Authentication failed");
    assert!(
        client
            .validate(with("etsy_user", "etsy:pass"))
            .await
            .is_ok()
    );
}

/// D-25
#[tokio::test]
async fn a_403_keeps_its_status() {
    let error = error_from_reply(403, "no").await;
    assert!(matches!(error, ConnectorError::Auth { status: 403, .. }));
    assert_eq!(error.body().as_str(), "no");
}

/// D-18
#[tokio::test]
async fn without_credentials_nothing_is_sent() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let server = TestServer::start(make_sync(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
    }))
    .await;
    let half = [(Marketplace::Shopify, Credentials::new("", "pass"))];
    for known in [HashMap::new(), half.into()] {
        let http = http_client(PATIENCE).unwrap();
        let clock = Clock::manual(noon());
        let client = MockClient::new(http, server.base_url(), known, PATIENCE, clock);
        let request = ReceiptRequest::new(Marketplace::Shopify, "test1");
        let error = client.validate(request).await.unwrap_err();
        let expected = "MarketplaceError: Marketplace credentials not configured for shopify";
        assert_eq!(error.error_details(), expected);
        assert_eq!(error.status(), None);
    }
    assert_eq!(requests.load(Ordering::SeqCst), 0);
}

/// A-18
#[tokio::test]
async fn another_status_is_named_by_its_reason() {
    for (status, reason) in [
        (500, "Internal Server Error"),
        (503, "Service Unavailable"),
        (404, "Not Found"),
        (302, "Found"),
        (599, "Unknown status"),
    ] {
        let error = error_from_reply(status, "oops").await;
        let expected = format!("MarketplaceError: Marketplace API error: {reason}");
        assert_eq!(error.error_details(), expected);
        assert_eq!(error.status(), Some(status));
        assert_eq!(error.body().as_str(), "oops");
    }
}

/// A-18
#[tokio::test]
async fn a_reply_that_breaks_the_contract_is_invalid() {
    let oversized = format!(
        r#"{{"status":false,"padding":"{}"}}"#,
        "x".repeat(64 * 1024)
    );
    for body in ["<html>", "", "{}", r#"{"status":true}"#, &oversized] {
        let error = error_from_reply(200, body).await;
        let expected = "MarketplaceError: Invalid marketplace response";
        assert_eq!(error.error_details(), expected);
        assert_eq!(error.status(), Some(200));
        assert!(error.body().as_str().len() <= ReplyBody::LIMIT);
    }
}

#[tokio::test]
async fn a_reply_that_just_fits_is_read() {
    let body =
        |padding: usize| format!(r#"{{"status":false,"padding":"{}"}}"#, "x".repeat(padding));
    let fitting = body(64 * 1024 - body(0).len());
    let server = TestServer::start(make_sync(move |_| fitting.clone())).await;
    let verdict = client(server.base_url()).validate(TEST1).await;
    assert_eq!(verdict, Ok(Verdict::Invalid));
}

/// The whole of an endless error page is nobody's business.
#[tokio::test]
async fn an_oversized_429_is_still_a_rate_limit() {
    let error = error_from_reply(429, "x".repeat(1024 * 1024)).await;
    assert_eq!(error.error_details(), "rate_limited");
    assert_eq!(error.body().as_str().len(), ReplyBody::LIMIT);
}

#[tokio::test]
async fn retry_after_is_read_against_the_clock() {
    for (header, expected) in [
        ("120", Some(120)),
        ("Mon, 01 Jan 2024 12:01:00 GMT", Some(59)),
        ("1000000", Some(86_400)),
        ("tomorrow", None),
    ] {
        let limit = make_sync(move |_| {
            let response = Response::builder().status(StatusCode::TOO_MANY_REQUESTS);
            response.header("retry-after", header).finish()
        });
        let error = error_from(limit).await;
        let ConnectorError::RateLimited { retry_after, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(
            retry_after.map(|delay| delay.as_secs()),
            expected,
            "{header}"
        );
    }
}

/// A-18
#[tokio::test]
async fn a_marketplace_that_never_answers_is_a_timeout() {
    let server = TestServer::start(make(|_| std::future::pending::<poem::Result<()>>())).await;
    let client = client_with_timeout(server.base_url(), Duration::from_millis(50));
    let error = client.validate(TEST1).await.unwrap_err();
    assert_eq!(
        error.error_details(),
        "MarketplaceError: Marketplace timeout"
    );
    assert_eq!(error.status(), None);
}

/// A-18
#[tokio::test]
async fn a_closed_port_is_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = client(&base_url.parse().unwrap());
    let error = client.validate(TEST1).await.unwrap_err();
    assert_eq!(
        error.error_details(),
        "MarketplaceError: Marketplace unreachable"
    );
    assert_eq!(error.status(), None);
}

/// The status was good, but half a reply is no reply.
#[tokio::test]
async fn a_connection_lost_half_way_is_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let marketplace = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            let mut byte = [0];
            connection.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        let half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"status\":";
        connection.write_all(half).unwrap();
        String::from_utf8(request).unwrap()
    });
    let client = client(&base_url.parse().unwrap());
    let error = client.validate(TEST1).await.unwrap_err();
    assert_eq!(
        error.error_details(),
        "MarketplaceError: Marketplace unreachable"
    );
    let request = marketplace.join().unwrap().to_lowercase();
    assert!(
        request.starts_with("post /mock/etsy/validate http/1.1\r\n"),
        "{request}"
    );
    assert!(
        request.contains("content-type: application/json"),
        "{request}"
    );
    assert!(
        request.ends_with("\r\n\r\n{\"receipt\":\"test1\"}"),
        "{request}"
    );
}

#[tokio::test]
async fn the_base_url_may_have_a_path() {
    let paths = make_sync(|request: poem::Request| {
        let found = request.uri().path() == "/proxy/mock/amazon/validate";
        let status = if found {
            StatusCode::OK
        } else {
            StatusCode::NOT_FOUND
        };
        Response::builder()
            .status(status)
            .body(r#"{"status":false}"#)
    });
    let server = TestServer::start(paths).await;
    for base in ["/proxy", "/proxy/"] {
        let request = ReceiptRequest::new(Marketplace::Amazon, "test1");
        let verdict = client(&server.url(base)).validate(request).await;
        assert_eq!(verdict, Ok(Verdict::Invalid));
    }
}

#[tokio::test]
async fn a_script_is_followed_and_its_last_reply_stays() {
    let connector = ScriptedConnector::default();
    connector.reply("a", [rate_limited(None), unauthorized(), invalid()]);
    connector.reply_with(|call| match call.receipt.as_str() {
        "b" => broken("Marketplace timeout"),
        other => valid(other),
    });
    let ask = |receipt| connector.validate(ReceiptRequest::new(Marketplace::Etsy, receipt));
    assert_eq!(ask("a").await, rate_limited(None));
    assert_eq!(ask("a").await, unauthorized());
    assert_eq!(ask("a").await, invalid());
    assert_eq!(ask("a").await, invalid());
    assert_eq!(ask("b").await, broken("Marketplace timeout"));
    assert_eq!(ask("c").await, valid("c"));
    assert_eq!((connector.calls_of("a"), connector.calls().len()), (4, 6));
}

#[tokio::test]
async fn held_calls_stay_in_flight_until_they_are_let_go() {
    let connector = ScriptedConnector::default();
    connector.hold();
    let calls = ["a", "b", "c"].map(|receipt| {
        let connector = connector.clone();
        tokio::spawn(async move {
            let request = ReceiptRequest::new(Marketplace::Etsy, receipt);
            connector.validate(request).await
        })
    });
    connector.in_flight(3).await;
    assert!(calls.iter().all(|call| !call.is_finished()));
    connector.release();
    for call in join_all(calls).await {
        assert!(call.unwrap().is_ok());
    }
    assert_eq!(connector.most_in_flight(), 3);
}
