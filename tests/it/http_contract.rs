//! What every route promises before a domain has said a word: errors, fields, bodies, ids, logs
//! and keys. Spoken to a small API that is here only for it, in memory where that is enough and
//! over a socket where it is not.
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of tests may panic as tests do"
)]
#![expect(clippy::unused_async, reason = "poem-openapi awaits every route")]

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use marketplace_sync::http::admission::Admission;
use marketplace_sync::http::auth::{Access, Caller, Grant, KeyHash, ListedKey, Scope, StoredKeys};
use marketplace_sync::http::body::JsonBody;
use marketplace_sync::http::fields::{self, Fields, FromFields};
use marketplace_sync::http::health::{Check, HealthApi};
use marketplace_sync::http::limits::Limits;
use marketplace_sync::http::problem::Problem;
use marketplace_sync::http::rates::Rates;
use marketplace_sync::http::shell::Shell;
use marketplace_sync::http::{Tag, document, site};
use marketplace_sync::traces::Traces;
use poem::http::{HeaderMap, Method, StatusCode};
use poem::listener::TcpAcceptor;
use poem::{Endpoint, Request, Response, Server};
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::support::log::Log;

/// A body with a field of each sort.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
struct Sample {
    organization_id: String,
    marketplace: String,
    sync_token: Uuid,
    receipts: Vec<String>,
    limit: Option<i64>,
}

impl FromFields for Sample {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let organization_id = fields.text("organizationId", 1..=255);
        let marketplace = fields.one_of("marketplace", &["etsy", "shopify"]);
        let sync_token = fields.uuid("syncToken");
        let receipts = fields.text_list("receipts", 1..=1000, 1..=255);
        let limit = fields.optional("limit", |fields, name| fields.integer(name, 1..=100));
        Some(Self {
            organization_id: organization_id?,
            marketplace: marketplace?.to_owned(),
            sync_token: sync_token?,
            receipts: receipts?,
            limit: limit?,
        })
    }
}

#[derive(Clone)]
struct SampleApi;

#[derive(Debug, thiserror::Error)]
#[error("near SELECT secret FROM vault")]
struct SqlError;

#[OpenApi(tag = "Tag::Stores")]
impl SampleApi {
    /// Take a sample
    #[oai(path = "/samples", method = "post", operation_id = "take_sample")]
    async fn take(&self, caller: Caller, body: JsonBody<Sample>) -> Result<Json<Value>, Problem> {
        caller.may_act_for(&body.organization_id)?;
        Ok(Json(json!({
            "organizationId": body.organization_id,
            "marketplace": body.marketplace,
            "syncToken": body.sync_token,
            "receipts": body.receipts.len(),
            "limit": body.limit,
        })))
    }

    /// Find a sample
    #[oai(path = "/samples", method = "get", operation_id = "find_sample")]
    async fn find(
        &self,
        #[oai(name = "syncToken")] token: Query<Option<String>>,
        limit: Query<Option<String>>,
    ) -> Result<Json<Value>, Problem> {
        let values = [
            ("syncToken", token.0.as_deref()),
            ("limit", limit.0.as_deref()),
        ];
        let (token, limit) = fields::check(&values, |fields| {
            let token = fields.uuid("syncToken");
            let limit = fields.optional("limit", |fields, name| fields.integer(name, 1..=100));
            Some((token?, limit?))
        })?;
        Ok(Json(json!({ "syncToken": token, "limit": limit })))
    }

    /// Fail in a way of its own
    #[oai(path = "/failures/:way", method = "get", operation_id = "fail")]
    async fn fail(&self, way: poem_openapi::param::Path<String>) -> Result<Json<Value>, Problem> {
        match way.0.as_str() {
            "panic" => panic!("on purpose"),
            "slow" => std::future::pending().await,
            "internal" => Err(Problem::internal(&SqlError)),
            "missing" => Err(Problem::not_found("Store not found")),
            "importing" => Err(Problem::conflict("import_in_progress", "Wait")
                .with("success", false)
                .retry_after(1)),
            "webhooks" => {
                Err(Problem::conflict("webhook_limit_reached", "Enough").with("limit", 3))
            }
            "busy" => Err(Problem::unavailable(7)),
            "limited" => Err(Problem::rate_limited(2)),
            _ => Ok(Json(json!({ "way": way.0 }))),
        }
    }

    /// Take a number
    #[oai(
        path = "/numbers/:number",
        method = "get",
        operation_id = "take_number"
    )]
    async fn number(&self, number: poem_openapi::param::Path<u8>, step: Query<u8>) -> Json<u16> {
        Json(u16::from(number.0) + u16::from(step.0))
    }
}

fn shell() -> Shell {
    let next = AtomicU64::new(1);
    Shell {
        new_id: Arc::new(move || Uuid::from_u128(next.fetch_add(1, Ordering::Relaxed).into())),
        access: Access::anonymous(),
        rates: Rates::unlimited(),
        admission: Admission::unlimited(),
        limits: Limits::default(),
        traces: Traces::default(),
        observer: None,
    }
}

fn sample_document() -> Value {
    let document = document((SampleApi, HealthApi::new(Vec::new())));
    serde_json::from_str(&document.spec()).unwrap()
}

fn app_with(shell: Shell) -> impl Endpoint<Output = Response> {
    let api = (SampleApi, HealthApi::new(Vec::new()));
    site(api, &sample_document(), shell)
}

fn app() -> impl Endpoint<Output = Response> {
    app_with(shell())
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The body, once it is seen to be a problem of this status with all that problems have.
    #[track_caller]
    fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let body = self.json();
        assert_eq!(body["status"], status);
        assert_eq!(
            body["type"],
            format!("/problems/{}", body["code"].as_str().unwrap())
        );
        for member in ["title", "detail", "error"] {
            assert!(
                !body[member].as_str().unwrap().is_empty(),
                "{member}: {body}"
            );
        }
        assert_eq!(body["requestId"], self.header("x-request-id"));
        let members = body.as_object().unwrap();
        assert!(!members.values().any(Value::is_null), "{body}");
        assert_eq!(members.contains_key("details"), status == 400, "{body}");
        body
    }

    /// `path code` of each detail of a 400.
    #[track_caller]
    fn faults(&self) -> Vec<String> {
        let body = self.problem(400);
        assert_eq!(body["error"], "Validation error");
        let details = body["details"].as_array().unwrap();
        assert!(!details.is_empty());
        let fault = |detail: &Value| {
            assert!(!detail["message"].as_str().unwrap().is_empty());
            format!("{} {}", detail["path"], detail["code"].as_str().unwrap())
        };
        details.iter().map(fault).collect()
    }
}

async fn send(app: &impl Endpoint<Output = Response>, request: Request) -> Answer {
    let response = app
        .call(request)
        .await
        .expect("the shell answers every request");
    let (parts, body) = response.into_parts();
    let text = body.into_string().await.unwrap();
    Answer {
        status: parts.status,
        headers: parts.headers,
        text,
    }
}

async fn get(app: &impl Endpoint<Output = Response>, path: &str) -> Answer {
    send(app, Request::builder().uri(path.parse().unwrap()).finish()).await
}

async fn post(body: impl Into<poem::Body>) -> Answer {
    let request = Request::builder().method(Method::POST).uri_str("/samples");
    send(&app(), request.content_type("application/json").body(body)).await
}

fn good() -> Value {
    json!({
        "organizationId": "org-1",
        "marketplace": "etsy",
        "syncToken": "00000000-0000-0000-0000-000000000000",
        "receipts": ["r-1"],
    })
}

/// The good body with one field replaced.
async fn post_with(name: &str, value: Value) -> Answer {
    let mut body = good();
    body[name] = value;
    post(body.to_string()).await
}

#[tokio::test]
async fn a_good_body_is_taken_verbatim_and_unknown_fields_are_ignored() {
    let mut body = good();
    body["organizationId"] = json!("  Örg\u{1}😀 ");
    body["surprise"] = json!({ "deep": [1, 2, 3] });
    body["limit"] = Value::Null;
    let answer = post(body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()["organizationId"], "  Örg\u{1}😀 ");
    assert_eq!(answer.json()["limit"], Value::Null);
}

#[tokio::test]
async fn all_faults_are_told_at_once() {
    let body = json!({
        "organizationId": "",
        "marketplace": "Etsy",
        "syncToken": 7,
        "limit": 101,
        "receipts": ["ok", "", 5, "x\u{0}y", "z".repeat(256)],
    });
    let answer = post(body.to_string()).await;
    insta::assert_snapshot!(answer.faults().join("\n"), @r#"
    ["organizationId"] too_short
    ["marketplace"] invalid_enum_value
    ["syncToken"] invalid_type
    ["receipts",1] too_short
    ["receipts",2] invalid_type
    ["receipts",3] invalid_string
    ["receipts",4] too_long
    ["limit"] out_of_range
    "#);
    let answer = post("{}").await;
    insta::assert_snapshot!(answer.faults().join("\n"), @r#"
    ["organizationId"] required
    ["marketplace"] required
    ["syncToken"] required
    ["receipts"] required
    "#);
}

#[tokio::test]
async fn a_validation_problem_keeps_this_shape() {
    let mut body = post_with("marketplace", json!("ebay")).await.problem(400);
    body["requestId"].take();
    insta::assert_json_snapshot!(body, @r#"
    {
      "code": "validation_error",
      "detail": "Field marketplace of the request: Expected one of etsy, shopify",
      "details": [
        {
          "code": "invalid_enum_value",
          "message": "Expected one of etsy, shopify",
          "path": [
            "marketplace"
          ]
        }
      ],
      "error": "Validation error",
      "requestId": null,
      "status": 400,
      "title": "The request is not valid",
      "type": "/problems/validation_error"
    }
    "#);
}

#[tokio::test]
async fn lengths_are_counted_in_characters() {
    assert_eq!(
        post_with("organizationId", json!("😀".repeat(255)))
            .await
            .status,
        200
    );
    let answer = post_with("organizationId", json!("😀".repeat(256))).await;
    assert_eq!(answer.faults(), [r#"["organizationId"] too_long"#]);
}

#[tokio::test]
async fn a_nul_byte_is_refused_in_every_string() {
    for (name, value) in [
        ("organizationId", json!("a\u{0}")),
        ("marketplace", json!("etsy\u{0}")),
        ("syncToken", json!("\u{0}")),
        ("receipts", json!(["\u{0}"])),
    ] {
        let faults = post_with(name, value).await.faults();
        assert_eq!(faults.len(), 1);
        assert!(faults[0].ends_with(" invalid_string"), "{faults:?}");
    }
}

#[tokio::test]
async fn only_hyphenated_uuids_are_taken_of_any_version() {
    for good in [
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "0193C5D0-7B1C-7B6E-9D0A-2F5D8C3E4A1B",
    ] {
        assert_eq!(
            post_with("syncToken", json!(good)).await.status,
            200,
            "{good}"
        );
    }
    for bad in [
        "",
        "0193c5d07b1c7b6e9d0a2f5d8c3e4a1b",
        "{0193c5d0-7b1c-7b6e-9d0a-2f5d8c3e4a1b}",
        "urn:uuid:0193c5d0-7b1c-7b6e-9d0a-2f5d8c3e4a1b",
        " 0193c5d0-7b1c-7b6e-9d0a-2f5d8c3e4a1b",
        "0193c5d0-7b1c-7b6e-9d0a-2f5d8c3e4a1g",
        "0193c5d0-7b1c-7b6e-9d0a-2f5d8c3e4aé",
        "0193c5d07-b1c-7b6e-9d0a-2f5d8c3e4a1b",
    ] {
        let answer = post_with("syncToken", json!(bad)).await;
        assert_eq!(answer.faults(), [r#"["syncToken"] invalid_uuid"#], "{bad}");
    }
}

#[tokio::test]
async fn a_list_has_1_to_1000_items() {
    assert_eq!(
        post_with("receipts", json!(vec!["r"; 1000])).await.status,
        200
    );
    let faults = post_with("receipts", json!(vec!["r"; 1001])).await.faults();
    assert_eq!(faults, [r#"["receipts"] too_long"#]);
    assert_eq!(
        post_with("receipts", json!([])).await.faults(),
        [r#"["receipts"] too_short"#]
    );
    assert_eq!(
        post_with("receipts", json!("r")).await.faults(),
        [r#"["receipts"] invalid_type"#]
    );
    assert_eq!(
        post_with("receipts", json!(vec![0; 1000]))
            .await
            .faults()
            .len(),
        100
    );
}

#[tokio::test]
async fn what_is_not_a_json_object_is_a_400_and_never_a_500() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (body, code) in [
        (Vec::new(), "missing_body"),
        (b"nonsense".to_vec(), "invalid_json"),
        (b"{\"organizationId\":\"o".to_vec(), "invalid_json"),
        (b"{\"organizationId\":\"\xff\"}".to_vec(), "invalid_json"),
        (b"{\"organizationId\":\"\\ud800\"}".to_vec(), "invalid_json"),
        (b"{\"limit\":1e999}".to_vec(), "invalid_json"),
        (b"{} {}".to_vec(), "invalid_json"),
        (deep.into_bytes(), "invalid_json"),
        (b"[]".to_vec(), "invalid_type"),
        (b"null".to_vec(), "invalid_type"),
        (b"\"text\"".to_vec(), "invalid_type"),
    ] {
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        assert_eq!(post(body).await.faults(), [format!("[] {code}")], "{shown}");
    }
}

#[tokio::test]
async fn the_last_of_two_equal_keys_counts() {
    let twice = good()
        .to_string()
        .replacen('{', r#"{"marketplace":"ebay","#, 1);
    assert_eq!(post(twice).await.status, 200);
}

#[tokio::test]
async fn a_body_that_is_not_called_json_is_a_415() {
    let app = app();
    let request = |content_type: &str| {
        let builder = Request::builder().method(Method::POST).uri_str("/samples");
        builder.content_type(content_type).body(good().to_string())
    };
    for wrong in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "json",
        "",
    ] {
        let answer = send(&app, request(wrong)).await;
        assert_eq!(
            answer.problem(415)["error"],
            "unsupported_media_type",
            "{wrong}"
        );
    }
    for right in [
        "Application/JSON; charset=UTF-8",
        "application/vnd.shop+json",
    ] {
        assert_eq!(send(&app, request(right)).await.status, 200, "{right}");
    }
    let nothing = Request::builder()
        .method(Method::POST)
        .uri_str("/samples")
        .finish();
    assert_eq!(send(&app, nothing).await.faults(), ["[] missing_body"]);
}

#[tokio::test]
async fn a_query_follows_the_rules_of_a_body() {
    let app = app();
    let found = get(
        &app,
        "/samples?syncToken=00000000-0000-0000-0000-000000000000&limit=7",
    )
    .await;
    assert_eq!(found.json()["limit"], 7);
    for (query, faults) in [
        ("", vec![r#"["syncToken"] required"#]),
        ("?syncToken=", vec![r#"["syncToken"] invalid_uuid"#]),
        (
            "?syncToken=a%00b&limit=0",
            vec![
                r#"["syncToken"] invalid_string"#,
                r#"["limit"] out_of_range"#,
            ],
        ),
        (
            "?syncToken=%ff%fe&limit=x",
            vec![r#"["syncToken"] invalid_uuid"#, r#"["limit"] invalid_type"#],
        ),
    ] {
        assert_eq!(
            get(&app, &format!("/samples{query}")).await.faults(),
            faults,
            "{query}"
        );
    }
}

#[tokio::test]
async fn parameters_that_poem_refuses_are_problems_too() {
    let app = app();
    assert_eq!(get(&app, "/numbers/7?step=1").await.json(), 8);
    assert_eq!(
        get(&app, "/numbers/7").await.faults(),
        [r#"["step"] invalid_string"#]
    );
    assert_eq!(get(&app, "/numbers/x?step=1").await.faults().len(), 1);
}

#[tokio::test]
async fn each_error_keeps_the_words_of_the_reference() {
    let app = app();
    let missing = get(&app, "/failures/missing").await;
    assert_eq!(missing.problem(404)["error"], "Store not found");

    let importing = get(&app, "/failures/importing").await;
    assert_eq!(importing.problem(409)["error"], "import_in_progress");
    assert_eq!(importing.json()["success"], false);
    assert_eq!(importing.json()["type"], "/problems/import_in_progress");
    assert_eq!(importing.header("retry-after"), "1");

    let webhooks = get(&app, "/failures/webhooks").await;
    assert_eq!(webhooks.problem(409)["error"], "webhook_limit_reached");
    assert_eq!(webhooks.json()["limit"], 3);

    let busy = get(&app, "/failures/busy").await;
    assert_eq!(busy.problem(503)["error"], "service_unavailable");
    assert_eq!(busy.header("retry-after"), "7");
    assert_eq!(
        get(&app, "/failures/limited").await.problem(429)["error"],
        "rate_limited"
    );
}

#[tokio::test]
async fn a_500_says_nothing_about_its_cause_but_the_log_does() {
    let log = Log::start("info,poem=warn");
    let answer = get(&app(), "/failures/internal").await;
    let body = answer.problem(500);
    assert_eq!(body["error"], "internal_server_error");
    assert_eq!(body["message"], "Internal server error");
    assert!(!answer.text.contains("SELECT"));
    let lines = log.lines();
    assert_eq!(lines[0]["event"], "internal_server_error");
    assert_eq!(lines[0]["error"], "near SELECT secret FROM vault");
    assert_eq!(lines[0]["requestId"], answer.header("x-request-id"));
    assert_eq!(lines.len(), 2, "the cause is logged once: {lines:?}");
}

#[tokio::test]
async fn a_panic_is_a_500_like_any_other() {
    let answer = get(&app(), "/failures/panic").await;
    assert_eq!(answer.problem(500)["message"], "Internal server error");
    assert!(!answer.text.contains("on purpose"));
}

#[tokio::test]
async fn an_unknown_path_is_a_404_and_a_missing_method_a_405_with_allow() {
    let app = app();
    for path in [
        "/nothing",
        "/samples/",
        "/samples/x",
        "//samples",
        "/docs/x",
        "/%00",
    ] {
        assert_eq!(
            get(&app, path).await.problem(404)["error"],
            "Not found",
            "{path}"
        );
    }
    let request =
        |method: Method, path: &str| Request::builder().method(method).uri_str(path).finish();
    for (path, allow) in [
        ("/samples", "GET, HEAD, OPTIONS, POST"),
        ("/failures/panic", "GET, HEAD, OPTIONS"),
        ("/", "GET, HEAD, OPTIONS"),
        ("/docs", "GET, HEAD, OPTIONS"),
        ("/openapi.json", "GET, HEAD, OPTIONS"),
    ] {
        let refused = send(&app, request(Method::DELETE, path)).await;
        assert_eq!(refused.problem(405)["error"], "method_not_allowed");
        assert_eq!(refused.header("allow"), allow);
        let asked = send(&app, request(Method::OPTIONS, path)).await;
        assert_eq!(
            (asked.status.as_u16(), asked.header("allow")),
            (204, allow),
            "{path}"
        );
    }
    let head = send(&app, request(Method::HEAD, "/health/live")).await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
}

#[tokio::test]
async fn a_request_id_is_taken_when_it_is_sound_and_made_when_not() {
    let app = app();
    let with = |id: &str| {
        Request::builder()
            .uri_str("/nothing")
            .header("X-Request-Id", id)
            .finish()
    };
    let taken = send(&app, with("shop-7/é".trim_end_matches('é'))).await;
    assert_eq!(taken.problem(404)["requestId"], "shop-7/");
    for unsound in ["", "two words", &"x".repeat(129)] {
        let made = send(&app, with(unsound)).await;
        made.problem(404);
        assert!(Uuid::try_parse(made.header("x-request-id")).is_ok());
    }
    assert!(
        !get(&app, "/health/live")
            .await
            .header("x-request-id")
            .is_empty()
    );
}

#[tokio::test]
async fn answers_are_not_to_be_cached_guessed_at_or_framed() {
    let app = app();
    for path in ["/health/live", "/nothing", "/docs"] {
        let answer = get(&app, path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
    }
}

#[tokio::test]
async fn a_request_is_one_log_line_without_its_query() {
    let log = Log::start("info,poem=warn");
    let app = app();
    let secret = "0193c5d0-7b1c-7b6e-9d0a-2f5d8c3e4a1b";
    get(&app, &format!("/samples?syncToken={secret}")).await;
    get(&app, &format!("/failures/busy?syncToken={secret}")).await;
    get(&app, &format!("/nothing?syncToken={secret}")).await;
    let mut lines = log.lines();
    for line in &mut lines {
        assert!(line["durationMs"].take().is_f64());
        assert!(line["timestamp"].take().is_string());
        assert!(!line.to_string().contains(secret));
    }
    let text: Vec<String> = lines.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(text.join("\n"), @r#"
    {"durationMs":null,"event":"http_request","level":"info","message":"answered GET /samples with 200","method":"GET","requestId":"00000000-0000-0000-0000-000000000001","route":"/samples","service":"marketplace-sync","status":200,"target":"marketplace_sync::http::shell","timestamp":null}
    {"durationMs":null,"event":"http_request","level":"info","message":"answered GET /failures/{way} with 503","method":"GET","requestId":"00000000-0000-0000-0000-000000000002","route":"/failures/{way}","service":"marketplace-sync","status":503,"target":"marketplace_sync::http::shell","timestamp":null}
    {"durationMs":null,"event":"http_request","level":"info","message":"answered GET /nothing with 404","method":"GET","requestId":"00000000-0000-0000-0000-000000000003","route":"/nothing","service":"marketplace-sync","status":404,"target":"marketplace_sync::http::shell","timestamp":null}
    "#);
}

#[tokio::test]
async fn a_client_that_leaves_is_logged_and_observed_as_499() {
    let log = Log::start("info,poem=warn");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut shell = shell();
    let sink = seen.clone();
    shell.observer = Some(Arc::new(move |served| {
        let route = served.route.map(str::to_owned);
        sink.lock()
            .unwrap()
            .push((served.method.clone(), route, served.status));
    }));
    let app = app_with(shell);
    let left = tokio::time::timeout(Duration::from_millis(5), get(&app, "/failures/slow")).await;
    assert!(left.is_err());
    get(&app, "/nothing").await;
    assert_eq!(log.lines()[0]["status"], 499);
    assert_eq!(
        log.lines()[0]["requestId"],
        "00000000-0000-0000-0000-000000000001"
    );
    let expected = [
        (Method::GET, Some("/failures/{way}".to_owned()), 499),
        (Method::GET, None, 404),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let mut shell = shell();
    shell.limits.request_time = Duration::from_millis(5);
    let answer = get(&app_with(shell), "/failures/slow").await;
    assert_eq!(answer.problem(503)["error"], "service_unavailable");
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn addresses_and_headers_have_limits() {
    let app = app();
    let answer = get(&app, &format!("/nothing?{}", "x".repeat(9000))).await;
    assert_eq!(answer.problem(414)["error"], "uri_too_long");
    let request = Request::builder()
        .uri_str("/health/live")
        .header("x-big", "x".repeat(17_000));
    let answer = send(&app, request.finish()).await;
    assert_eq!(answer.problem(431)["error"], "headers_too_large");
}

/// Keeps `key-2` and `read-2` of `org-2`, and fails over `key-broken`.
struct SomeKeys;

impl StoredKeys for SomeKeys {
    fn grant<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Grant>, Problem>> {
        let scope = match key {
            "key-2" => Ok(Some(Scope::Write)),
            "read-2" => Ok(Some(Scope::Read)),
            "key-broken" => Err(Problem::internal(&SqlError)),
            _ => Ok(None),
        };
        let grant = |scope| Grant {
            organization_id: "org-2".to_owned(),
            scope,
            key_name: "key".to_owned(),
        };
        let found = scope.map(|scope| scope.map(grant));
        async move { found }.boxed()
    }

    fn exist(&self) -> BoxFuture<'_, Result<bool, Problem>> {
        async { Ok(true) }.boxed()
    }
}

fn keyed() -> impl Endpoint<Output = Response> {
    let listed = ListedKey {
        organization_id: "org-1".to_owned(),
        hash: KeyHash::of("key-1"),
    };
    let mut shell = shell();
    shell.access = Access::by_key(vec![listed], Some(Arc::new(SomeKeys)));
    app_with(shell)
}

async fn post_as(headers: &[(&str, &str)], body: String) -> Answer {
    let mut request = Request::builder().method(Method::POST).uri_str("/samples");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(
        &keyed(),
        request.content_type("application/json").body(body),
    )
    .await
}

#[tokio::test]
async fn without_a_known_key_nothing_is_looked_at() {
    for headers in [
        &[][..],
        &[("X-API-Key", "wrong")],
        &[("X-API-Key", "")],
        &[("Authorization", "Bearer wrong")],
        &[("Authorization", "Basic key-1")],
        &[("Authorization", "Bearer")],
    ] {
        let answer = post_as(headers, "nonsense".to_owned()).await;
        assert_eq!(answer.problem(401)["error"], "unauthorized", "{headers:?}");
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
    }
    assert_eq!(get(&keyed(), "/health/live").await.status, 200);
}

#[tokio::test]
async fn a_key_acts_for_its_organization_only() {
    let own = good().to_string();
    assert_eq!(
        post_as(&[("x-api-key", "key-1")], own.clone()).await.status,
        200
    );
    assert_eq!(
        post_as(&[("authorization", "bearer key-1")], own.clone())
            .await
            .status,
        200
    );
    let other = post_as(&[("x-api-key", "key-2")], own.clone()).await;
    assert_eq!(other.problem(403)["error"], "forbidden");
    let invalid = post_as(&[("x-api-key", "key-2")], "{}".to_owned()).await;
    assert_eq!(invalid.faults().len(), 4);
    let broken = post_as(&[("x-api-key", "key-broken")], own).await;
    broken.problem(500);
}

#[tokio::test]
async fn a_key_that_may_only_read_is_refused_before_the_body_is_looked_at() {
    let answer = post_as(&[("x-api-key", "read-2")], "nonsense".to_owned()).await;
    let problem = answer.problem(403);
    assert_eq!(problem["code"], "forbidden");
    assert_eq!(
        problem["detail"],
        "The key may only read: its scope is `read`"
    );
    assert!(
        answer
            .header("www-authenticate")
            .contains("insufficient_scope")
    );
}

#[tokio::test]
async fn readiness_tells_which_part_is_not_ready() {
    let up = || Check::new("database", || async { Ok::<(), io::Error>(()) });
    let down = || {
        Check::new("queue", || async {
            Err(io::Error::other("password=hunter2"))
        })
    };
    let ready = site(HealthApi::new(vec![up()]), &json!({}), shell());
    assert_eq!(
        get(&ready, "/health/ready").await.json(),
        json!({"status": "ok", "parts": {"database": "ok"}})
    );
    let broken = site(HealthApi::new(vec![up(), down()]), &json!({}), shell());
    let answer = get(&broken, "/health/ready").await;
    assert_eq!(
        answer.problem(503)["parts"],
        json!({"database": "ok", "queue": "failed"})
    );
    assert!(!answer.text.contains("hunter2"));
    assert_eq!(
        get(&broken, "/health/live").await.json(),
        json!({"status": "ok"})
    );
}

#[tokio::test]
async fn a_part_that_does_not_answer_is_not_waited_for() {
    let hung = Check::new("database", std::future::pending::<Result<(), io::Error>>);
    let hung = hung.within(Duration::from_millis(5));
    let answer = get(
        &site(HealthApi::new(vec![hung]), &json!({}), shell()),
        "/health/ready",
    )
    .await;
    assert_eq!(
        answer.problem(503)["parts"],
        json!({"database": "timed_out"})
    );
}

#[tokio::test]
async fn swagger_needs_nothing_from_the_network() {
    let app = app();
    let root = get(&app, "/").await;
    assert_eq!(
        (root.status.as_u16(), root.header("location")),
        (307, "/docs")
    );
    let page = get(&app, "/docs").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.text.contains("SwaggerUIBundle") && page.text.contains("take_sample"));
    let head = page.text.split("<body>").next().unwrap();
    assert!(!head.contains("<script src") && !head.contains("<link"));
}

#[tokio::test]
async fn the_document_has_every_problem_with_an_example_and_the_keys() {
    let spec = get(&app(), "/openapi.json").await.json();
    assert_eq!(spec["info"]["title"], "marketplace-sync");
    assert_eq!(spec["servers"], json!([{ "url": "/" }]));
    let operation = &spec["paths"]["/samples"]["post"];
    assert_eq!(
        operation["security"],
        json!([{ "ApiKey": [] }, { "Bearer": [] }])
    );
    for (status, example) in [400, 401, 403, 404, 409, 413, 415, 429, 500, 503].map(|status| {
        let response = &operation["responses"][status.to_string()];
        (
            status,
            response["content"]["application/problem+json"]["schema"]["example"].clone(),
        )
    }) {
        assert_eq!(example["status"], status);
        assert!(example["error"].is_string());
    }
    let mut schemas = spec["components"]["schemas"].clone();
    insta::assert_json_snapshot!("problem_schema", schemas["Problem"].take());
    insta::assert_json_snapshot!("security_schemes", spec["components"]["securitySchemes"]);
    assert_eq!(
        sample_document().to_string(),
        get(&app(), "/openapi.json").await.text
    );
}

// Over a socket: what the client sees when a body is too large, too slow or cut off.

struct Listening {
    address: std::net::SocketAddr,
    server: tokio::task::JoinHandle<io::Result<()>>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn listen(shell: Shell) -> Listening {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TcpAcceptor::from_tokio(listener).unwrap();
    let server = tokio::spawn(Server::new_with_acceptor(acceptor).run(app_with(shell)));
    Listening { address, server }
}

/// Sends the head of a request and `body`, closes its own side if told to, and reads what comes.
async fn talk(to: &Listening, head: &str, body: &[u8], close: bool) -> String {
    let mut stream = TcpStream::connect(to.address).await.unwrap();
    let head = format!(
        "POST /samples HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Type: application/json\r\n{head}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    if close {
        stream.shutdown().await.unwrap();
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_body_of_10_mb_is_sent_to_its_end_and_answered_with_413() {
    let server = listen(shell()).await;
    let body = vec![b' '; 10_000_000];
    let answer = talk(&server, "Content-Length: 10000000", &body, false).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains(r#""error":"payload_too_large""#) && answer.contains("x-request-id: "));

    let mut chunked = b"989680\r\n".to_vec();
    chunked.extend_from_slice(&body);
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    let answer = talk(&server, "Transfer-Encoding: chunked", &chunked, false).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn a_client_that_asks_first_is_spared_the_upload() {
    let server = listen(shell()).await;
    let head = "Content-Length: 10000000\r\nExpect: 100-continue";
    let answer = talk(&server, head, b"", false).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn half_a_body_is_a_400() {
    let log = Log::start("info,poem=warn");
    let server = listen(shell()).await;
    let answer = talk(
        &server,
        "Content-Length: 1000",
        b"{\"organizationId\":",
        true,
    )
    .await;
    drop(server);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer:?}");
    let lines = log.lines();
    let request = lines
        .iter()
        .find(|line| line["event"] == "http_request")
        .unwrap();
    assert_eq!(request["status"], 400, "{lines:?}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_408() {
    let mut shell = shell();
    shell.limits.body_time = Duration::from_millis(20);
    let server = listen(shell).await;
    let answer = talk(&server, "Content-Length: 1000", b"{", false).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains(r#""error":"request_timeout""#));
}
