//! The apalis board: its API on both transports, its login, its log, and its page as a
//! browser shows it.

use std::{path::Path, sync::Arc, time::Duration};

use apalis_board_api::RawTask;
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::StreamExt;
use jobs::board::{QueueInfo, RunningWorker, Statistic, Status};
use marketplace_sync::admin::{self, LogStream};
use poem::{
    Endpoint, Request, Response,
    endpoint::BoxEndpoint,
    http::{Method, StatusCode, header},
};
use rstest::rstest;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::{Dispatch, info, info_span, warn};
use tracing_subscriber::layer::SubscriberExt;

use crate::support::browser::Browser;

async fn get(app: &impl Endpoint, path: &str) -> Response {
    request(app, Method::GET, path, None).await
}

async fn request(
    app: &impl Endpoint,
    method: Method,
    path: &str,
    authorization: Option<&str>,
) -> Response {
    let mut request = Request::builder()
        .method(method)
        .uri(path.parse().expect("a path"));
    if let Some(authorization) = authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    app.get_response(request.finish()).await
}

/// The answer to a GET below `/api/v1`, parsed as strictly as the page does.
async fn ask<T: DeserializeOwned>(app: &impl Endpoint, path: &str) -> T {
    let answer = get(app, &format!("/api/v1{path}")).await;
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    let body = answer.into_body().into_string().await.expect("text");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
}

fn header_of<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

#[tokio::test]
async fn nothing_can_be_enqueued_from_the_board() {
    let app = app_without_jobs(None).await;
    for method in [Method::PUT, Method::POST, Method::DELETE] {
        let answer = request(
            &app,
            method,
            "/api/v1/queues/sync-store-queue/tasks",
            None,
        )
        .await;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(header_of(&answer, "allow"), "GET, HEAD");
    }
}

#[tokio::test]
async fn what_the_api_does_not_have_is_a_problem_in_json() {
    let app = app_without_jobs(None).await;
    for path in [
        "/api/v1/nothing",
        "/api/v1/queues/nothing/stats",
        "/api/v1/queues/sync-store-queue/tasks/nothing",
    ] {
        let answer = get(&app, path).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(
            header_of(&answer, "content-type"),
            "application/problem+json"
        );
        let problem: Value = serde_json::from_str(&text(answer).await).expect("JSON");
        assert_eq!(problem["status"], 404);
    }
    let answer = get(&app, "/api/v1/tasks?status=Lost").await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn every_path_that_is_no_file_is_the_page() {
    let app = app_without_jobs(None).await;
    for path in [
        "/",
        "/queues/sync-store-queue/Done",
        "/a.b/c.d",
        "/index.html",
    ] {
        let answer = get(&app, path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(
            header_of(&answer, "content-type"),
            "text/html; charset=utf-8"
        );
        assert_eq!(header_of(&answer, "cache-control"), "no-cache");
        assert_eq!(header_of(&answer, "x-content-type-options"), "nosniff");
        assert!(text(answer).await.contains("<title>Apalis Board</title>"));
    }
}

#[tokio::test]
async fn the_files_of_the_page_have_their_type_and_are_kept() {
    let app = app_without_jobs(None).await;
    let page = text(get(&app, "/").await).await;
    let files: Vec<&str> = page
        .split(['"', '\''])
        .filter(|part| part.starts_with('/') && part.contains('.'))
        .collect();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let answer = get(&app, file).await;
        let (content_type, caching) = match file {
            "/queues.js" => ("application/javascript", "no-cache"),
            _ => {
                let types = [
                    (".js", "application/javascript"),
                    (".css", "text/css"),
                    (".wasm", "application/wasm"),
                ];
                let of_file = types.iter().find(|(ending, _)| file.ends_with(ending));
                (
                    of_file.expect("a known kind of file").1,
                    "public, max-age=31536000, immutable",
                )
            }
        };
        assert_eq!(header_of(&answer, "content-type"), content_type, "{file}");
        assert_eq!(header_of(&answer, "cache-control"), caching, "{file}");
    }
}

#[tokio::test]
async fn a_password_is_demanded_for_everything() {
    let app = app_without_jobs(Some("geheim: ä")).await;
    let basic = |credentials: &str| format!("Basic {}", STANDARD.encode(credentials));
    for path in ["/", "/api/v1/queues", "/api/v1/events", "/queues.js", "/x"] {
        for wrong in [
            None,
            Some(basic("admin:")),
            Some(basic("admin:geheim")),
            Some(basic("geheim: ä")),
            Some("Bearer geheim: ä".to_owned()),
            Some("Basic ???".to_owned()),
        ] {
            let answer = request(&app, Method::GET, path, wrong.as_deref()).await;
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path} {wrong:?}");
            assert!(header_of(&answer, "www-authenticate").starts_with("Basic realm="));
            assert_eq!(header_of(&answer, "x-frame-options"), "DENY");
        }
        for user in ["admin", ""] {
            let right = basic(&format!("{user}:geheim: ä"));
            let answer = request(&app, Method::GET, path, Some(&right)).await;
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
        }
    }
}

#[tokio::test]
async fn what_is_logged_inside_a_job_reaches_the_log_page() {
    let logs = LogStream::new();
    let subscriber = Dispatch::new(tracing_subscriber::registry().with(logs.layer()));
    let app = app_with_logs(&logs).await;
    let answer = get(&app, "/api/v1/events").await;
    assert_eq!(answer.content_type(), Some("text/event-stream"));

    tracing::dispatcher::with_default(&subscriber, || {
        info!("outside of any job");
        let _job = info_span!("sync_store", task_id = %"01K", attempt = 3_u64).entered();
        let _part = info_span!("page", number = 1).entered();
        warn!(orders = 2, "synced half");
    });
    logs.close();

    let stream = text(answer).await;
    let entries: Vec<Value> = stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|entry| serde_json::from_str(entry).expect("JSON"))
        .collect();
    let said: Vec<&str> = entries
        .iter()
        .filter_map(|entry| entry["fields"]["message"].as_str())
        .collect();
    assert_eq!(
        said,
        ["task.start sync_store", "synced half orders=2", "task.end sync_store"]
    );
    let span = serde_json::json!({ "name": "sync_store", "task_id": "01K", "attempt": 3 });
    assert!(entries.iter().all(|entry| entry["span"] == span));
    assert_eq!(entries[1]["level"], "WARN");
    assert_eq!(entries[1]["target"], module_path!());
}

#[tokio::test]
async fn a_reader_that_sleeps_does_not_silence_the_others() {
    let logs = LogStream::new();
    let subscriber = Dispatch::new(tracing_subscriber::registry().with(logs.layer()));
    let app = app_with_logs(&logs).await;
    let asleep = get(&app, "/api/v1/events").await;
    tracing::dispatcher::with_default(&subscriber, || {
        let _job = info_span!("sync_store", task_id = %"01K", attempt = 1_u64).entered();
        for _ in 0..5_000 {
            info!("noise");
        }
    });
    let awake = get(&app, "/api/v1/events").await;
    tracing::dispatcher::with_default(&subscriber, || {
        let _job = info_span!("sync_store", task_id = %"01K", attempt = 1_u64).entered();
        info!("heard");
    });
    logs.close();
    assert!(text(awake).await.contains("heard"));
    assert!(text(asleep).await.contains("heard"));
}

async fn text(answer: Response) -> String {
    answer.into_body().into_string().await.expect("text")
}
