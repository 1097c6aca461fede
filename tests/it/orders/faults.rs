//! Requests that are refused: the documented problem, never a 500, and nothing stored (API-3).

use std::time::Duration;

use reqwest::{Body, RequestBuilder, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, TestStore, store_body};

const ROUTES: [&str; 3] = ["/stores/register", "/orders/import", "/orders/import/batch"];

/// A body that the route takes.
fn good(route: &str, store: TestStore) -> Value {
    match route {
        "/stores/register" => store_body("another"),
        "/orders/import" => json!({ "syncToken": store.token, "receipt": "r1" }),
        _ => json!({ "syncToken": store.token, "receipts": ["r1", "r2"] }),
    }
}

/// An error answer, once it is seen to have all that problems have.
async fn problem(request: RequestBuilder, status: u16) -> Value {
    let answer = request.send().await.unwrap();
    let headers = answer.headers().clone();
    let got = answer.status();
    let text = answer.text().await.unwrap();
    assert_eq!(got.as_u16(), status, "{text}");
    assert_eq!(
        headers["content-type"], "application/problem+json",
        "{text}"
    );
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body["status"], status, "{text}");
    assert_eq!(body["requestId"], headers["x-request-id"].to_str().unwrap());
    for member in ["type", "title", "detail", "error"] {
        assert!(
            !body[member].as_str().unwrap().is_empty(),
            "{member}: {text}"
        );
    }
    body
}

/// `path code` of each detail of a 400.
async fn faults(app: &TestApp, route: &str, body: impl Into<Body>) -> Vec<String> {
    let request = app.http.post(app.server.url(route));
    let request = request
        .header("content-type", "application/json")
        .body(body);
    let body = problem(request, 400).await;
    assert_eq!(body["error"], "Validation error");
    let details = body["details"].as_array().unwrap();
    let fault = |detail: &Value| {
        assert!(!detail["message"].as_str().unwrap().is_empty());
        let path = detail["path"].as_array().unwrap().iter();
        let path = path.map(|part| {
            part.as_str()
                .map_or_else(|| part.to_string(), str::to_owned)
        });
        format!(
            "{} {}",
            path.collect::<Vec<_>>().join("."),
            detail["code"].as_str().unwrap()
        )
    };
    details.iter().map(fault).collect()
}

/// Nothing but the store of the test is stored, and nobody was asked.
async fn assert_untouched(app: &TestApp) {
    assert_eq!(app.count("SELECT COUNT(*) FROM stores").await, 1);
    assert_eq!(app.count("SELECT COUNT(*) FROM sync_logs").await, 0);
    assert!(app.marketplace.calls().is_empty());
}

/// A-21
#[rstest]
#[tokio::test]
async fn each_bad_field_is_named(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let long = "x".repeat(256);
    let register = [
        ("organizationId", json!(null), "invalid_type"),
        ("organizationId", json!(""), "too_short"),
        ("organizationId", json!(long), "too_long"),
        ("organizationId", json!("a\0b"), "invalid_string"),
        ("marketplace", json!("invalid"), "invalid_enum_value"),
        ("marketplace", json!("Etsy"), "invalid_enum_value"),
        ("marketplace", json!(["etsy"]), "invalid_type"),
        ("externalStoreId", json!(long), "too_long"),
        ("externalStoreId", json!("\0"), "invalid_string"),
        ("storeName", json!(""), "too_short"),
        ("storeName", json!(long), "too_long"),
        ("storeName", json!("\0"), "invalid_string"),
        ("accessToken", json!(""), "too_short"),
        ("accessToken", json!("x".repeat(8193)), "too_long"),
        ("accessToken", json!("\0"), "invalid_string"),
        ("currency", json!("US"), "too_short"),
        ("currency", json!("USDX"), "too_long"),
        ("currency", json!("U\0D"), "invalid_string"),
        ("currency", json!(7), "invalid_type"),
    ];
    let token = store.token;
    let import = [
        ("syncToken", json!("not-a-uuid"), "invalid_uuid"),
        ("syncToken", json!(format!("{{{token}}}")), "invalid_uuid"),
        (
            "syncToken",
            json!(token.simple().to_string()),
            "invalid_uuid",
        ),
        ("syncToken", json!(1), "invalid_type"),
        ("receipt", json!(""), "too_short"),
        ("receipt", json!(long), "too_long"),
        ("receipt", json!("r\0"), "invalid_string"),
        ("receipt", json!({}), "invalid_type"),
    ];
    let cases = register.into_iter().map(|case| (ROUTES[0], case));
    for (route, (field, value, code)) in cases.chain(import.map(|case| (ROUTES[1], case))) {
        let mut body = good(route, store);
        body[field] = value;
        assert_eq!(
            faults(&app, route, body.to_string()).await,
            [format!("{field} {code}")]
        );
    }
    assert_untouched(&app).await;
}

#[rstest]
#[tokio::test]
async fn each_bad_receipt_of_a_batch_is_named(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let long = "x".repeat(256);
    let cases = [
        (json!([]), vec!["receipts too_short"]),
        (json!(vec!["r"; 1001]), vec!["receipts too_long"]),
        (json!("r1"), vec!["receipts invalid_type"]),
        (json!(null), vec!["receipts invalid_type"]),
        (
            json!(["good", "", 7, "also good", "a\0", long, null]),
            vec![
                "receipts.1 too_short",
                "receipts.2 invalid_type",
                "receipts.4 invalid_string",
                "receipts.5 too_long",
                "receipts.6 invalid_type",
            ],
        ),
    ];
    for (receipts, expected) in cases {
        let mut body = good(ROUTES[2], store);
        body["receipts"] = receipts;
        assert_eq!(faults(&app, ROUTES[2], body.to_string()).await, expected);
    }
    assert_untouched(&app).await;
}

#[rstest]
#[tokio::test]
async fn a_body_without_fields_names_all_of_them(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    app.register("shop").await;
    let expected: [(&str, &[&str]); 3] = [
        (
            ROUTES[0],
            &[
                "organizationId required",
                "marketplace required",
                "externalStoreId required",
                "storeName required",
                "accessToken required",
                "currency required",
            ],
        ),
        (ROUTES[1], &["syncToken required", "receipt required"]),
        (ROUTES[2], &["syncToken required", "receipts required"]),
    ];
    for (route, fields) in expected {
        assert_eq!(faults(&app, route, "{}").await, fields);
    }
    assert_untouched(&app).await;
}

/// A-21
#[rstest]
#[tokio::test]
async fn what_is_not_a_json_object_is_a_400(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    for route in ROUTES {
        let good = good(route, store).to_string();
        let half = &good[..good.len() / 2];
        for (body, code) in [
            (half.as_bytes(), "invalid_json"),
            (b"", "missing_body"),
            (b"{", "invalid_json"),
            (b"\xff\xfe{}", "invalid_json"),
            (b"\0", "invalid_json"),
            (b"{\"receipt\":\"\\ud800\"}", "invalid_json"),
            (b"{}{}", "invalid_json"),
            (b"[]", "invalid_type"),
            (b"null", "invalid_type"),
            (b"\"text\"", "invalid_type"),
        ] {
            let found = faults(&app, route, body.to_vec()).await;
            assert_eq!(found, [format!(" {code}")], "{route}");
        }
        let nested = "[".repeat(100_000);
        assert_eq!(faults(&app, route, nested).await, [" invalid_json"]);
    }
    assert_untouched(&app).await;
}

#[rstest]
#[tokio::test]
async fn bodies_of_another_kind_or_size_are_refused(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    for route in ROUTES {
        let post = || app.http.post(app.server.url(route));
        let body = good(route, store).to_string();
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonp",
        ] {
            let request = post().header("content-type", kind).body(body.clone());
            let answer = problem(request, 415).await;
            assert_eq!(answer["error"], "unsupported_media_type");
        }
        problem(post().body(body), 415).await;
        let mut large = good(route, store);
        large["more"] = json!("x".repeat(10_000_000));
        let answer = problem(post().json(&large), 413).await;
        assert_eq!(answer["error"], "payload_too_large");
    }
    assert_untouched(&app).await;
}

#[rstest]
#[tokio::test]
async fn a_method_that_a_route_lacks_is_a_405(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    app.register("shop").await;
    for route in ROUTES {
        let answer = problem(app.http.get(app.server.url(route)), 405).await;
        assert_eq!(answer["error"], "method_not_allowed");
    }
    problem(app.http.post(app.server.url("/stores/sync-status")), 405).await;
    problem(app.http.post(app.server.url("/orders")), 404).await;
    assert_untouched(&app).await;
}

#[rstest]
#[tokio::test]
async fn unknown_fields_are_ignored(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    for route in ROUTES {
        let mut body = good(route, store);
        body["surprise"] = json!({ "deep": ["\0", null, 1e300] });
        body["syncStatus"] = json!("success");
        body["id"] = json!("00000000-0000-0000-0000-000000000000");
        let (status, answer) = app.post(route, &body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    let nil = "00000000-0000-0000-0000-000000000000";
    let (_, answer) = app.post(ROUTES[0], &good(ROUTES[0], store)).await;
    assert_ne!(answer["storeId"], nil);
}

#[rstest]
#[tokio::test]
async fn half_a_body_imports_nothing(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let address = app.server.base_url().socket_addrs(|| None).unwrap()[0];
    for route in ROUTES {
        let body = good(route, store).to_string();
        let head = format!(
            "POST {route} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len() + 1
        );
        let mut connection = TcpStream::connect(address).await.unwrap();
        // All of the JSON is there, but not all of the body.
        connection
            .write_all((head + &body).as_bytes())
            .await
            .unwrap();
        connection.shutdown().await.unwrap();
        let mut answer = String::new();
        let read = connection.read_to_string(&mut answer);
        tokio::time::timeout(Duration::from_secs(10), read)
            .await
            .unwrap()
            .ok();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
            "{answer}"
        );
    }
    assert_untouched(&app).await;
}
