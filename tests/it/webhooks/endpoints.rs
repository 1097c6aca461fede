//! Endpoints: registered, listed, changed, deleted, tried out.

use std::time::Duration;

use futures::future::join_all;
use poem::Response;
use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};

use super::{ORGANIZATION, register, registered};
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, on};
use crate::support::receiver::Receiver;
use crate::support::server::TestServer;

const EVENT: &str = "sync.completed";

async fn list(app: &TestApp, organization: &str) -> Vec<Value> {
    let path = format!("/webhooks?organizationId={organization}");
    let (status, body) = app.get(&path).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body.as_array().unwrap().clone()
}

/// A request about one endpoint of the organization.
async fn ask(
    app: &TestApp,
    method: Method,
    id: &Value,
    action: &str,
    body: Option<Value>,
) -> (StatusCode, Value) {
    let id = id.as_str().unwrap();
    let path = format!("/webhooks/{id}{action}?organizationId={ORGANIZATION}");
    let mut request = app.http.request(method, app.server.url(&path));
    if let Some(body) = body {
        request = request.json(&body);
    }
    app.send(request).await
}

///
#[rstest]
#[tokio::test]
async fn a_repeated_registration_is_the_same_endpoint_without_its_secret(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let url = "http://127.0.0.1:4000/webhook";
    let (status, first) = register(&app, EVENT, url).await;
    assert_eq!(status, StatusCode::OK, "{first}");
    let secret = first["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_") && secret.len() == 38);
    let five = json!({
        "id": first["id"],
        "organizationId": ORGANIZATION,
        "event": EVENT,
        "targetUrl": url,
        "isActive": true,
    });
    let mut without_secret = first.clone();
    without_secret.as_object_mut().unwrap().remove("secret");
    assert_eq!(without_secret, five);

    ask(
        &app,
        Method::PATCH,
        &first["id"],
        "",
        Some(json!({ "isActive": false })),
    )
    .await;
    for seconds in 1..=2 {
        app.clock.advance(Duration::from_secs(1));
        let (status, again) = register(&app, EVENT, url).await;
        assert_eq!((status, again), (StatusCode::OK, five.clone()));
        let (_, details) = ask(&app, Method::GET, &first["id"], "", None).await;
        let updated_at = format!("2024-01-01T12:00:0{seconds}.123Z");
        assert_eq!(details["updatedAt"], updated_at);
        assert_eq!(details["createdAt"], "2024-01-01T12:00:00.123Z");
    }
}

///
#[rstest]
#[tokio::test]
async fn what_is_wrong_with_a_registration_is_said_field_by_field(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let good = json!({ "organizationId": "org-1", "event": EVENT, "targetUrl": "http://h/" });
    for (field, value) in [
        ("organizationId", json!("")),
        ("organizationId", json!("x".repeat(256))),
        ("event", json!("sync.paused")),
        ("event", json!("webhook.test")),
        ("event", json!(null)),
        ("targetUrl", json!("ftp://x")),
        ("targetUrl", json!("not a url")),
        ("targetUrl", json!("/webhook")),
        ("targetUrl", json!("http://")),
        ("targetUrl", json!("http://user@host/")),
        ("targetUrl", json!("http://user:hunter2@host/")),
        ("targetUrl", json!("http:host")),
        ("targetUrl", json!("http://ho st/")),
        ("targetUrl", json!(format!("http://h/{}", "x".repeat(2040)))),
        ("targetUrl", json!(7)),
    ] {
        let mut body = good.clone();
        body[field] = value.clone();
        let (status, answer) = app.post("/webhooks/register", &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{field}: {value}");
        assert_eq!(answer["error"], "Validation error");
        assert_eq!(answer["details"][0]["path"], json!([field]), "{value}");
        assert!(!answer.to_string().contains("hunter2"), "{answer}");
    }
    assert_eq!(app.count("SELECT COUNT(*) FROM webhook_endpoints").await, 0);
    // As it was given, up to the last character.
    let longest = format!("HTTP://Host:80/{}", "ü".repeat(2033));
    let mut body = good;
    body["targetUrl"] = json!(longest);
    let (status, answer) = app.post("/webhooks/register", &body).await;
    assert_eq!(
        (status, &answer["targetUrl"]),
        (StatusCode::OK, &json!(longest))
    );
}

///
#[rstest]
#[tokio::test]
async fn the_fourth_active_endpoint_is_one_too_many(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let first = registered(&app, "sync.started", "http://127.0.0.1/1").await;
    registered(&app, "sync.completed", "http://127.0.0.1/1").await;
    registered(&app, "sync.completed", "http://127.0.0.1/2").await;
    let (status, problem) = register(&app, "sync.failed", "http://127.0.0.1/1").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(problem["error"], "webhook_limit_reached");
    assert_eq!(problem["limit"], 3);
    // One that is there already counts once.
    let (status, _) = register(&app, "sync.started", "http://127.0.0.1/1").await;
    assert_eq!(status, StatusCode::OK);
    // Another organization has its own.
    let other =
        json!({ "organizationId": "other", "event": EVENT, "targetUrl": "http://127.0.0.1/1" });
    assert_eq!(
        app.post("/webhooks/register", &other).await.0,
        StatusCode::OK
    );

    let (status, _) = ask(&app, Method::DELETE, &first["id"], "", None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    registered(&app, "sync.failed", "http://127.0.0.1/1").await;
    // The deleted one may only come back when there is room.
    let (status, _) = register(&app, "sync.started", "http://127.0.0.1/1").await;
    assert_eq!(status, StatusCode::CONFLICT);
}

///
#[rstest]
#[tokio::test]
async fn ten_registrations_at_once_leave_three(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let other = app.other_process().await;
    let other = TestServer::start(marketplace_sync::service::site(&other)).await;
    let urls: Vec<String> = (0..10).map(|n| format!("http://127.0.0.1/{n}")).collect();
    let answers = join_all(urls.iter().enumerate().map(|(n, url)| {
        let server = if n % 2 == 0 { &app.server } else { &other };
        let body = json!({ "organizationId": ORGANIZATION, "event": EVENT, "targetUrl": url });
        app.send(app.http.post(server.url("/webhooks/register")).json(&body))
    }))
    .await;
    let count = |wanted| {
        answers
            .iter()
            .filter(|(status, _)| *status == wanted)
            .count()
    };
    assert_eq!(count(StatusCode::OK), 3, "{answers:?}");
    assert_eq!(count(StatusCode::CONFLICT), 7, "{answers:?}");
    assert_eq!(list(&app, ORGANIZATION).await.len(), 3);

    let again = join_all((0..10).map(|_| register(&app, EVENT, "http://127.0.0.1/same"))).await;
    assert!(
        again
            .iter()
            .all(|(status, _)| *status == StatusCode::CONFLICT)
    );
}

///
#[rstest]
#[tokio::test]
async fn one_registration_sent_ten_times_at_once_is_one_endpoint_with_one_secret(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let answers = join_all((0..10).map(|_| registered(&app, EVENT, "http://127.0.0.1/"))).await;
    assert!(
        answers
            .iter()
            .all(|answer| answer["id"] == answers[0]["id"])
    );
    let secrets = answers
        .iter()
        .filter(|answer| answer.get("secret").is_some());
    assert_eq!(secrets.count(), 1);
    assert_eq!(app.count("SELECT COUNT(*) FROM webhook_secrets").await, 1);
}

///
#[rstest]
#[tokio::test]
async fn a_list_is_in_order_and_shows_no_other_organization_and_no_secret(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let mut expected = Vec::new();
    // The clock stands still for two of them.
    for (event, url) in [("sync.started", "http://b/"), ("sync.failed", "http://a/")] {
        expected.push(registered(&app, event, url).await);
    }
    app.clock.advance(Duration::from_secs(1));
    expected.push(registered(&app, "sync.completed", "http://c/").await);
    ask(&app, Method::DELETE, &expected[1]["id"], "", None).await;
    expected[1]["isActive"] = json!(false);
    for endpoint in &mut expected {
        endpoint.as_object_mut().unwrap().remove("secret");
    }
    assert_eq!(list(&app, ORGANIZATION).await, expected);
    assert_eq!(list(&app, "other").await, Vec::<Value>::new());
    for path in ["/webhooks", "/webhooks?organizationId="] {
        let (status, problem) = app.get(path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(problem["details"][0]["path"], json!(["organizationId"]));
    }
}

#[rstest]
#[tokio::test]
async fn an_endpoint_is_shown_and_changed_in_parts(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let endpoint = registered(&app, EVENT, "http://127.0.0.1/").await;
    let id = &endpoint["id"];
    let (status, fresh) = ask(&app, Method::GET, id, "", None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        fresh,
        json!({
            "id": id,
            "organizationId": ORGANIZATION,
            "event": EVENT,
            "targetUrl": "http://127.0.0.1/",
            "isActive": true,
            "ordered": false,
            "createdAt": "2024-01-01T12:00:00.123Z",
            "updatedAt": "2024-01-01T12:00:00.123Z",
        })
    );
    let mut expected = fresh;
    for (second, change) in [
        json!({ "description": "ERP" }),
        json!({ "ordered": true }),
        json!({ "isActive": false }),
        json!({ "isActive": true, "ordered": false }),
        json!({}),
    ]
    .into_iter()
    .enumerate()
    {
        app.clock.advance(Duration::from_secs(1));
        for (name, value) in change.as_object().unwrap() {
            expected[name] = value.clone();
        }
        expected["updatedAt"] = json!(format!("2024-01-01T12:00:0{}.123Z", second + 1));
        let (status, answer) = ask(&app, Method::PATCH, id, "", Some(change)).await;
        assert_eq!((status, &answer), (StatusCode::OK, &expected));
        assert_eq!(ask(&app, Method::GET, id, "", None).await.1, expected);
    }
    // An empty description is none.
    let (_, answer) = ask(
        &app,
        Method::PATCH,
        id,
        "",
        Some(json!({ "description": "" })),
    )
    .await;
    assert_eq!(answer.get("description"), None);
    for change in [
        json!({ "isActive": "yes" }),
        json!({ "ordered": 1 }),
        json!({ "description": "x".repeat(1001) }),
    ] {
        let (status, _) = ask(&app, Method::PATCH, id, "", Some(change)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
}

#[rstest]
#[tokio::test]
async fn a_deleted_endpoint_stays_deleted_and_comes_back_as_itself(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let endpoint = registered(&app, EVENT, "http://127.0.0.1/").await;
    let id = &endpoint["id"];
    for _ in 0..2 {
        let (status, body) = ask(&app, Method::DELETE, id, "", None).await;
        assert_eq!((status, body), (StatusCode::NO_CONTENT, json!("")));
        app.clock.advance(Duration::from_secs(1));
    }
    for (method, path, body) in [
        (Method::GET, "", None),
        (Method::PATCH, "", Some(json!({ "isActive": true }))),
        (Method::POST, "/rotate-secret", None),
        (Method::POST, "/test", None),
    ] {
        let (status, _) = ask(&app, method, id, path, body).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    let again = registered(&app, EVENT, "http://127.0.0.1/").await;
    assert_eq!((&again["id"], &again["isActive"]), (id, &json!(true)));
    assert_eq!(again.get("secret"), None);
    let (status, details) = ask(&app, Method::GET, id, "", None).await;
    assert_eq!(
        (status, &details["isActive"]),
        (StatusCode::OK, &json!(true))
    );
}

/// What only the deleted endpoint was owed is settled; what another is owed stays.
#[rstest]
#[tokio::test]
async fn deleting_an_endpoint_cancels_what_it_is_owed(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let [gone, stays] =
        ["http://127.0.0.1/1", "http://127.0.0.1/2"].map(|url| registered(&app, EVENT, url));
    let (gone, stays) = (gone.await, stays.await);
    let id = |endpoint: &Value| -> uuid::Uuid { endpoint["id"].as_str().unwrap().parse().unwrap() };
    let now = app.clock.now();
    for (event, owed) in [
        (1, vec![(id(&gone), "pending")]),
        (2, vec![(id(&gone), "pending"), (id(&stays), "failed")]),
        (3, vec![(id(&gone), "pending"), (id(&stays), "pending")]),
        (4, vec![(id(&gone), "success"), (id(&stays), "pending")]),
    ] {
        let event = uuid::Uuid::from_u128(event);
        on!(&app.app.db, pool => sqlx::query(
            "INSERT INTO callback_outbox (id, organization_id, store_id, event, payload, status,
                 attempt, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, 'pending', 0, $6, $6)")
            .bind(event).bind(ORGANIZATION).bind(store.id).bind(EVENT)
            .bind(sqlx::types::Json(json!({}))).bind(now).execute(pool).await.map(|_| ()).unwrap());
        for (endpoint, status) in owed {
            on!(&app.app.db, pool => sqlx::query(
                "INSERT INTO callback_deliveries (id, outbox_id, endpoint_id, status, attempt,
                     created_at, updated_at)
                 VALUES ($1, $2, $3, $4, 0, $5, $5)")
                .bind(app.app.ids.new_id(now)).bind(event).bind(endpoint).bind(status).bind(now)
                .execute(pool).await.map(|_| ()).unwrap());
        }
    }
    let (status, _) = ask(&app, Method::DELETE, &gone["id"], "", None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let statuses: Vec<String> = on!(&app.app.db, pool => sqlx::query_scalar(
        "SELECT status FROM callback_outbox ORDER BY id").fetch_all(pool).await.unwrap());
    assert_eq!(statuses, ["success", "failed", "pending", "pending"]);
    let left: Vec<(uuid::Uuid, String)> = on!(&app.app.db, pool => sqlx::query_as(
        "SELECT endpoint_id, status FROM callback_deliveries ORDER BY outbox_id, status")
        .fetch_all(pool).await.unwrap());
    let expected = [
        (id(&stays), "failed"),
        (id(&stays), "pending"),
        (id(&stays), "pending"),
        (id(&gone), "success"),
    ]
    .map(|(id, status)| (id, status.to_owned()));
    assert_eq!(left, expected);
}

///
#[rstest]
#[tokio::test]
async fn nobody_reaches_an_endpoint_of_another_organization(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let endpoint = registered(&app, EVENT, "http://127.0.0.1/").await;
    let id = endpoint["id"].as_str().unwrap();
    let unknown = "00000000-0000-0000-0000-000000000000";
    for (method, action) in [
        (Method::GET, ""),
        (Method::PATCH, ""),
        (Method::DELETE, ""),
        (Method::POST, "/rotate-secret"),
        (Method::POST, "/test"),
    ] {
        let ask = async |id: &str, query: &str| {
            let url = app.server.url(&format!("/webhooks/{id}{action}{query}"));
            let request = app.http.request(method.clone(), url).json(&json!({}));
            app.send(request).await
        };
        for (id, organization) in [(id, "other"), (unknown, ORGANIZATION)] {
            let (status, problem) = ask(id, &format!("?organizationId={organization}")).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{method} {action}");
            assert_eq!(problem["error"], "Webhook not found");
        }
        for (id, query) in [(id, ""), ("7", "?organizationId=org-manual")] {
            let (status, problem) = ask(id, query).await;
            assert_eq!(
                status,
                StatusCode::BAD_REQUEST,
                "{method} {action}: {problem}"
            );
        }
    }
    assert_eq!(list(&app, ORGANIZATION).await[0]["isActive"], true);
}

#[rstest]
#[tokio::test]
async fn a_test_tells_what_the_endpoint_answered_or_why_it_did_not(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let teapot = || {
        Response::builder()
            .status(StatusCode::IM_A_TEAPOT)
            .body("x\0".repeat(5000))
    };
    let receiver = Receiver::answering(teapot).await;
    let endpoint = registered(&app, EVENT, &receiver.url()).await;
    let (status, answer) = ask(&app, Method::POST, &endpoint["id"], "/test", None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&answer["success"], &answer["status"]),
        (&json!(false), &json!(418))
    );
    assert_eq!(
        answer["response"].as_str().unwrap(),
        "x\u{fffd}".repeat(2048)
    );
    assert!(answer["latencyMs"].is_u64() && answer.get("error").is_none());

    // Nobody listens there.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let endpoint = registered(&app, EVENT, &format!("http://{address}/")).await;
    let (status, answer) = ask(&app, Method::POST, &endpoint["id"], "/test", None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&answer["success"], &answer["error"]),
        (&json!(false), &json!("connection_failed"))
    );
    assert!(answer.get("status").is_none() && answer.get("response").is_none());
    assert_eq!(app.count("SELECT COUNT(*) FROM callback_attempts").await, 0);
}
