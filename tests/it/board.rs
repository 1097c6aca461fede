//! The apalis board: its API on both transports, its login, its log, and its page as a
//! browser shows it.

use std::{path::Path, sync::Arc, thread, time::Duration};

use apalis_board_api::RawTask;
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::DateTime;
use jobs::{
    DeliverCallback, Job, OutboxId, Queue, StoreId, SyncStore,
    board::{QueueInfo, RunningWorker, Statistic, Status, Task},
};
use marketplace_sync::admin::{self, LogStream};
use poem::{
    Endpoint, Request, Response, Server,
    http::{Method, StatusCode, header},
    listener::{Acceptor, Listener, TcpListener},
};
use rstest::rstest;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;
use tracing::{Dispatch, info, info_span, warn};
use tracing_subscriber::layer::SubscriberExt;

use crate::support::{
    browser::Browser,
    queues::{
        TestQueue,
        Transport::{self, Redis, Sqlite},
    },
};

async fn app_without_jobs(password: Option<&str>) -> impl Endpoint {
    let test = TestQueue::open(Sqlite).await;
    let password = password.map(SecretString::from);
    admin::app(&test.queue, LogStream::new(), password.as_ref())
}

async fn app_with_logs(logs: &LogStream) -> impl Endpoint {
    let test = TestQueue::open(Sqlite).await;
    admin::app(&test.queue, logs.clone(), None)
}

fn stores(numbers: std::ops::Range<u128>) -> Vec<SyncStore> {
    let store = |number| SyncStore {
        store_id: StoreId(uuid::Uuid::from_u128(number)),
    };
    numbers.map(store).collect()
}

/// The values of the given statistics, in that order.
async fn statistics<const N: usize>(
    app: &impl Endpoint,
    path: &str,
    titles: [&str; N],
) -> [String; N] {
    let statistics: Vec<Statistic> = ask(app, path).await;
    titles.map(|title| {
        let found = statistics.iter().find(|found| found.title == title);
        found
            .unwrap_or_else(|| panic!("{path} has no {title}"))
            .value
            .clone()
    })
}

/// The state that the page of one task shows; its arguments are those of the list.
async fn status_alone(app: &impl Endpoint, listed: &Task<Value>) -> Status {
    let ctx = listed.ctx();
    let (queue, id) = (ctx.queue().unwrap(), ctx.task_id().unwrap());
    let RawTask(alone): RawTask<Value> = ask(app, &format!("/queues/{queue}/tasks/{id}")).await;
    assert_eq!(alone.args, listed.args);
    alone.ctx().status()
}

const COUNTS: [&str; 6] = [
    "PENDING_JOBS",
    "RUNNING_JOBS",
    "DONE_JOBS",
    "FAILED_JOBS",
    "ACTIVE_JOBS",
    "TOTAL_JOBS",
];

#[rstest]
#[tokio::test]
async fn counts_are_true_from_the_push_to_after_the_purge(#[values(Redis, Sqlite)] on: Transport) {
    let test = TestQueue::open(on).await;
    let queue = &test.queue;
    let app = Arc::new(admin::app(queue, LogStream::new(), None));
    let of_queue = "/queues/sync-store-queue/stats";
    let none = statistics(&*app, of_queue, COUNTS).await;
    assert_eq!(none, ["0"; 6], "before the first job");

    queue.push(&stores(0..3)).await.expect("a push");
    let waiting = statistics(&*app, of_queue, COUNTS).await;
    assert_eq!(waiting, ["3", "0", "0", "0", "3", "3"], "waiting");

    let (looker, failing) = (Arc::clone(&app), stores(1..2)[0]);
    let ran = queue
        .run_until_empty(1, move |job: SyncStore| {
            let app = Arc::clone(&looker);
            async move {
                // apalis notes the start of a job a moment after it.
                let runs =
                    async { while statistics(&*app, of_queue, ["RUNNING_JOBS"]).await != ["1"] {} };
                let noted = tokio::time::timeout(Duration::from_secs(20), runs).await;
                noted.map_err(|_| "never counted as running")?;
                let [RawTask(task)]: [RawTask<Value>; 1] =
                    ask(&*app, "/tasks?status=Running").await;
                assert_eq!(task.args, json!(job));
                assert_eq!(status_alone(&*app, &task).await, Status::Running);
                let [total] = statistics(&*app, of_queue, ["TOTAL_JOBS"]).await;
                assert_eq!(total, "3", "while one runs");
                if job == failing {
                    return Err("the marketplace is away".to_owned());
                }
                Ok(())
            }
        })
        .await;
    assert_eq!(ran.expect("a worker"), 3);

    let ended = ["0", "0", "2", "1", "0", "3"];
    assert_eq!(statistics(&*app, of_queue, COUNTS).await, ended, "ended");
    let later = DateTime::from_timestamp(4_000_000_000, 0).expect("an instant");
    let purged = queue.purge_finished(Duration::ZERO, later).await;
    assert_eq!(purged.expect("a purge"), 3);
    assert_eq!(statistics(&*app, of_queue, COUNTS).await, ended, "purged");
    assert_eq!(statistics(&*app, "/overview", COUNTS).await, ended);
    let [rate] = statistics(&*app, of_queue, ["SUCCESS_RATE"]).await;
    assert_eq!(rate, "66.6");
    let kept: Vec<RawTask<Value>> = ask(&*app, "/tasks").await;
    assert!(kept.is_empty(), "{kept:?}");
}

#[rstest]
#[tokio::test]
async fn tasks_are_listed_by_state_with_readable_arguments(#[values(Redis, Sqlite)] on: Transport) {
    let test = TestQueue::open(on).await;
    let queue = &test.queue;
    let app = admin::app(queue, LogStream::new(), None);
    queue.push(&stores(0..20)).await.expect("a push");
    let callback = DeliverCallback {
        outbox_id: OutboxId(uuid::Uuid::from_u128(99)),
    };
    queue.push(&[callback]).await.expect("a push");

    let list = "/queues/sync-store-queue/tasks?&page=2&page_size=15&queue=&status=Pending";
    let second_page: Vec<RawTask<Value>> = ask(&app, list).await;
    assert_eq!(second_page.len(), 5);
    let all: Vec<RawTask<Value>> = ask(&app, "/tasks?page_size=100").await;
    assert_eq!(all.len(), 21);
    for RawTask(task) in &all {
        assert!(task.ctx().run_at().expect("a time") > 1_700_000_000);
        assert_eq!(status_alone(&app, task).await, Status::Pending);
    }
    let arguments = |tasks: &[RawTask<Value>]| -> Vec<Value> {
        tasks
            .iter()
            .map(|RawTask(task)| task.args.clone())
            .collect()
    };
    assert!(arguments(&all).contains(&json!(callback)));
    assert!(arguments(&all).contains(&json!(stores(7..8)[0])));

    let outcome = |job: SyncStore| async move {
        if job.store_id.0.as_u128() == 7 {
            return Err("the marketplace is away".to_owned());
        }
        Ok(())
    };
    queue.run_until_empty(4, outcome).await.expect("a worker");
    let done: Vec<RawTask<Value>> = ask(&app, "/tasks?status=Done&page_size=100").await;
    assert_eq!(done.len(), 19);
    assert_eq!(status_alone(&app, &done[18].0).await, Status::Done);
    let failed: Vec<RawTask<Value>> = ask(&app, "/tasks?status=Failed").await;
    assert_eq!(arguments(&failed), [json!(stores(7..8)[0])]);
    assert_eq!(status_alone(&app, &failed[0].0).await, Status::Failed);
    let ctx = failed[0].0.ctx();
    assert_eq!(ctx.status(), Status::Failed);
    let run = ctx.runs().last().expect("the failed run");
    let error = run.result.as_ref().expect("a result").result.as_ref();
    assert!(
        error
            .expect_err("an error")
            .contains("the marketplace is away")
    );
    let pending: Vec<RawTask<Value>> = ask(&app, "/tasks?status=Pending").await;
    assert_eq!(arguments(&pending), [json!(callback)]);
    let killed: Vec<RawTask<Value>> = ask(&app, "/tasks?status=Killed").await;
    assert!(killed.is_empty());
}

#[rstest]
#[tokio::test]
async fn queues_and_workers_have_the_shape_the_page_parses(#[values(Redis, Sqlite)] on: Transport) {
    let test = TestQueue::open(on).await;
    let queue = &test.queue;
    let app = Arc::new(admin::app(queue, LogStream::new(), None));
    queue.push(&stores(0..1)).await.expect("a push");
    let (looker, names) = (Arc::clone(&app), Queue::queues());
    let look = move |_: SyncStore| {
        let app = Arc::clone(&looker);
        async move {
            let queues: Vec<QueueInfo> = ask(&*app, "/queues").await;
            assert_eq!(queues.iter().map(|it| &it.name).collect::<Vec<_>>(), names);
            let workers: Vec<RunningWorker> = ask(&*app, "/workers").await;
            let [worker] = &workers[..] else {
                panic!("one worker, not {workers:?}");
            };
            assert_eq!(queues[0].workers, [&*worker.id]);
            let days = queues[0].activity.iter();
            assert_eq!((days.len(), days.sum()), (7, 1), "{:?}", queues[0]);
            assert_eq!(worker.queue, SyncStore::QUEUE);
            assert!(worker.backend.ends_with("Storage"), "{worker:?}");
            assert!(worker.started_at > 1_700_000_000, "{worker:?}");
            assert!(worker.last_heartbeat >= worker.started_at, "{worker:?}");
            let same: Vec<RunningWorker> = ask(&*app, "/queues/sync-store-queue/workers").await;
            assert_eq!(same[0].id, worker.id);
            let other: Vec<RunningWorker> = ask(&*app, "/queues/callback-queue/workers").await;
            assert!(other.is_empty());
            Ok(())
        }
    };
    queue.run_until_empty(1, look).await.expect("a worker");
    let failed: Vec<RawTask<Value>> = ask(&*app, "/tasks?status=Failed").await;
    assert!(failed.is_empty(), "{failed:?}");
}

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
        let answer = request(&app, method, "/api/v1/queues/sync-store-queue/tasks", None).await;
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
        let types = [
            (".js", "application/javascript"),
            (".css", "text/css"),
            (".wasm", "application/wasm"),
        ];
        let of_file = types.iter().find(|(ending, _)| file.ends_with(ending));
        let (_, content_type) = of_file.expect("a known kind of file");
        let caching = if file == "/queues.js" {
            "no-cache"
        } else {
            "public, max-age=31536000, immutable"
        };
        assert_eq!(header_of(&answer, "content-type"), *content_type, "{file}");
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
            assert_eq!(
                answer.status(),
                StatusCode::UNAUTHORIZED,
                "{path} {wrong:?}"
            );
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
    assert_eq!(header_of(&answer, "content-type"), "text/event-stream");

    tracing::dispatcher::with_default(&subscriber, || {
        info!("outside of any job");
        let _job =
            info_span!("job", job = "sync-store", task_id = %"01K", attempt = 3_u64).entered();
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
        [
            "task.start sync-store",
            "synced half orders=2",
            "task.end sync-store"
        ]
    );
    let span = json!({ "name": "sync-store", "task_id": "01K", "attempt": 3 });
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
        let _job =
            info_span!("job", job = "sync-store", task_id = %"01K", attempt = 1_u64).entered();
        for _ in 0..5_000 {
            info!("noise");
        }
    });
    let awake = get(&app, "/api/v1/events").await;
    tracing::dispatcher::with_default(&subscriber, || {
        let _job =
            info_span!("job", job = "sync-store", task_id = %"01K", attempt = 1_u64).entered();
        info!("heard");
    });
    logs.close();
    assert!(text(awake).await.contains("heard"));
    assert!(text(asleep).await.contains("heard"));
}

async fn text(answer: Response) -> String {
    answer.into_body().into_string().await.expect("text")
}

#[rstest]
#[tokio::test]
async fn the_log_of_a_running_job_carries_its_task_id(#[values(Redis, Sqlite)] on: Transport) {
    let test = TestQueue::open(on).await;
    let queue = &test.queue;
    let logs = LogStream::new();
    let app = admin::app(queue, logs.clone(), None);
    queue.push(&stores(7..8)).await.expect("a push");
    let [RawTask(task)]: [RawTask<Value>; 1] = ask(&app, "/tasks").await;
    let answer = get(&app, "/api/v1/events").await;

    let subscriber = Dispatch::new(tracing_subscriber::registry().with(logs.layer()));
    // All tasks of this test run on this thread.
    let guard = tracing::dispatcher::set_default(&subscriber);
    let log = |_: SyncStore| async {
        info!("synced store 7");
        Ok(())
    };
    queue.run_until_empty(1, log).await.expect("a worker");
    drop(guard);
    logs.close();
    let stream = text(answer).await;
    let id = task.ctx().task_id().expect("an id");
    let said = stream.lines().find(|line| line.contains("synced store 7"));
    let said = said.expect("the job's own line");
    assert!(said.contains(&format!(r#""task_id":"{id}""#)), "{said}");
    assert!(said.contains(r#""attempt":1"#), "{said}");
}

/// Opens each page of the board in Chromium; the pictures are in the target folder.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_shows_queues_tasks_workers_and_the_log(#[values(Redis, Sqlite)] on: Transport) {
    let test = TestQueue::open(on).await;
    let queue = &test.queue;
    queue.push(&stores(0..3)).await.expect("a push");
    let shutdown = CancellationToken::new();
    let fail = |_: SyncStore| async { Err("the marketplace is away".to_owned()) };
    queue.run_until_empty(1, fail).await.expect("a worker");
    queue.push(&stores(3..5)).await.expect("a push");
    let worker = tokio::spawn({
        let (queue, shutdown) = (queue.clone(), shutdown.clone());
        let idle = |_: DeliverCallback| async { Ok(()) };
        async move { queue.run_worker(1, shutdown, idle).await }
    });

    let logs = LogStream::new();
    let password = SecretString::from("geheim");
    let app = admin::app(queue, logs.clone(), Some(&password));
    let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await;
    let acceptor = acceptor.expect("a free port");
    let address = acceptor.local_addr()[0].as_socket_addr().copied();
    let address = address.expect("an address");
    let server = tokio::spawn(Server::new_with_acceptor(acceptor).run(app));

    block_in_place(|| see_every_page(&address.to_string(), on, &logs));
    shutdown.cancel();
    worker.await.expect("no panic").expect("a clean end");
    logs.close();
    server.abort();
}

fn see_every_page(address: &str, on: Transport, logs: &LogStream) {
    let mut browser = Browser::start();
    // As when a person types the password: the browser keeps it for all that follows.
    browser.open(&format!("http://admin:geheim@{address}/queues.js"));
    let site = format!("http://{address}");
    let mut see = |path: &str, name: &str, condition: &str| {
        browser.open(&format!("{site}{path}"));
        let text = browser.wait_for(condition);
        let file = format!("board-{on:?}-{name}.png").to_lowercase();
        browser.screenshot(&Path::new(env!("CARGO_TARGET_TMPDIR")).join(file));
        text
    };
    let all = "/Total Jobs[^]*sync-store-queue[^]*callback-queue/.test(text)";
    let home = see("/", "home", all);
    for shown in [
        "Pending Jobs\n2\n",
        "Failed Jobs\n3\n",
        "Total Jobs\n5\n",
        "Healthy",
    ] {
        assert!(home.contains(shown), "{shown:?} in {home}");
    }
    assert!(!home.contains("Unhealthy"), "{home}");
    see(
        "/queues",
        "queues",
        "/sync-store-queue[^]*callback-queue/.test(text)",
    );
    see(
        "/workers",
        "workers",
        "/callback-queue-[0-9a-f-]{36}/.test(text)",
    );
    see(
        "/tasks",
        "tasks",
        "text.match(/Pending\\s+just now/g)?.length === 2",
    );
    let failed = "/queues/sync-store-queue/Failed";
    see(
        failed,
        "failed",
        "text.match(/Failed\\s+just now/g)?.length === 3",
    );
    let task = browser.click_until("tbody a", "text.includes('storeId')");
    assert!(task.contains("the marketplace is away"), "{task}");

    let speaker = Speaker::start(logs);
    browser.open(&format!("{site}/logs"));
    let log = browser.wait_for("text.includes('task.end')");
    assert!(
        log.contains("[01JOB]") && log.contains("synced store 7 orders=2"),
        "{log}"
    );
    drop(speaker);
    let file = format!("board-{on:?}-logs.png").to_lowercase();
    browser.screenshot(&Path::new(env!("CARGO_TARGET_TMPDIR")).join(file));
}

/// Logs from inside a job again and again: nothing tells when a page has begun to listen.
struct Speaker {
    _stop: std::sync::mpsc::Sender<()>,
}

impl Speaker {
    fn start(logs: &LogStream) -> Self {
        let subscriber = Dispatch::new(tracing_subscriber::registry().with(logs.layer()));
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        thread::spawn(move || {
            use std::sync::mpsc::RecvTimeoutError::Timeout;
            while stopped.recv_timeout(Duration::from_millis(100)) == Err(Timeout) {
                tracing::dispatcher::with_default(&subscriber, || {
                    let job =
                        info_span!("job", job = "sync-store", task_id = %"01JOB", attempt = 1_u64);
                    job.in_scope(|| info!(orders = 2, "synced store 7"));
                });
            }
        });
        Self { _stop: stop }
    }
}
