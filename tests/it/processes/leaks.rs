//! Where secrets must not be: in the database's files, in what goes to Redis, in any log however
//! much is logged, in answers that are not meant to show them, on the board, in metrics, in what
//! webhooks get. Everything that has to do with a secret is done, and then everything is searched.

use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures::StreamExt;
use marketplace_sync::db::Db;
use reqwest::{RequestBuilder, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::Installation;
use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::process::{Process, run};
use crate::support::queues::RedisServer;
use crate::support::runs::until;
use crate::support::subscriber::Subscriber;

const ADMIN_PASSWORD: &str = "admin-password-71c2";
const ACCESS_TOKEN: &str = "access-token-93ad28c6f1-and-more-of-it";
const OTHER_ACCESS_TOKEN: &str = "access-token-of-old-5e0b77-and-more-of-it";
const KEY: &str = "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=";

/// What is searched for, by name.
type Secrets = Vec<(&'static str, String)>;

/// Every text and every byte string that gives a secret away.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![
        secret.as_bytes().to_vec(),
        STANDARD
            .encode(secret)
            .trim_end_matches('=')
            .as_bytes()
            .to_vec(),
        hex(secret.as_bytes()),
    ];
    if let Some(encoded) = secret.strip_prefix("whsec_") {
        let bytes = STANDARD.decode(encoded).unwrap();
        forms.extend([encoded.as_bytes().to_vec(), hex(&bytes), bytes]);
    }
    forms
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
    let digits = bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]);
    digits.collect()
}

fn contains(place: &[u8], form: &[u8]) -> bool {
    // The first byte first: some of these are large.
    place
        .iter()
        .enumerate()
        .any(|(at, byte)| *byte == form[0] && place[at..].starts_with(form))
}

/// The names of the secrets that a place gives away.
fn found_in(place: &[u8], secrets: &Secrets) -> Vec<&'static str> {
    let gives_away = |secret: &str| forms(secret).iter().any(|form| contains(place, form));
    let found = secrets.iter().filter(|(_, secret)| gives_away(secret));
    found.map(|(name, _)| *name).collect()
}

/// Everything that is sent to a Redis, from now on.
struct Monitor {
    lines: Arc<Mutex<String>>,
    task: JoinHandle<()>,
}

impl Monitor {
    async fn start(server: &RedisServer) -> Self {
        let client = redis::Client::open(server.url()).unwrap();
        let monitor = client.get_async_monitor().await.unwrap();
        let lines = Arc::new(Mutex::new(String::new()));
        let writer = lines.clone();
        let task = tokio::spawn(async move {
            let mut commands = monitor.into_on_message::<String>();
            while let Some(command) = commands.next().await {
                let mut lines = writer.lock().unwrap();
                lines.push_str(&command);
                lines.push('\n');
            }
        });
        Self { lines, task }
    }

    fn lines(&self) -> String {
        self.lines.lock().unwrap().clone()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A client of everything that keeps what it was answered, but for what shows a secret on purpose.
struct Visitor<'a> {
    http: &'a reqwest::Client,
    api: String,
    admin: String,
    api_key: String,
    seen: String,
}

impl Visitor<'_> {
    fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        let request = self.http.post(format!("{}{path}", self.api));
        request.header("x-api-key", &self.api_key).json(body)
    }

    /// An answer that shows a secret.
    async fn show(&self, request: RequestBuilder) -> Value {
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
        answer.json().await.unwrap()
    }

    /// An answer that shows none.
    async fn see(&mut self, request: RequestBuilder) -> StatusCode {
        let answer = request.send().await.unwrap();
        let status = answer.status();
        writeln!(self.seen, "{:?}", answer.headers()).unwrap();
        self.seen.push_str(&answer.text().await.unwrap());
        status
    }

    async fn see_with(&mut self, request: RequestBuilder, expected: u16) {
        let status = self.see(request).await;
        assert_eq!(status, expected, "{}", self.seen);
    }

    /// A page of the admin listener.
    async fn see_admin(&mut self, path: &str) {
        let request = self.http.get(format!("{}{path}", self.admin));
        let request = request.basic_auth("admin", Some(ADMIN_PASSWORD));
        let status = self.see(request).await;
        assert_eq!(status, 200, "{path}");
    }
}

fn store(access_token: &str) -> Value {
    json!({
        "organizationId": "org-1", "marketplace": "etsy", "externalStoreId": "shop",
        "storeName": "Shop", "accessToken": access_token, "currency": "USD",
    })
}

/// Registers, imports, fails, subscribes, rotates, delivers; returns the secrets that were made.
async fn use_everything(
    installation: &Installation,
    process: &Process,
    visitor: &mut Visitor<'_>,
    subscriber: &Subscriber,
) -> Secrets {
    visitor
        .show(visitor.post("/stores/register", &store(OTHER_ACCESS_TOKEN)))
        .await;
    let register = visitor.post("/stores/register", &store(ACCESS_TOKEN));
    let register = register.header("idempotency-key", "register");
    let registered = visitor.show(register.try_clone().unwrap()).await;
    assert_eq!(visitor.show(register).await, registered);
    let token = registered["syncToken"].as_str().unwrap().to_owned();

    let hook = json!({
        "organizationId": "org-1", "event": "sync.completed", "targetUrl": subscriber.url("/hook"),
    });
    let subscribe = visitor.post("/webhooks/register", &hook);
    let subscribe = subscribe.header("idempotency-key", "subscribe");
    let webhook = visitor.show(subscribe).await;
    let id = webhook["id"].as_str().unwrap();
    let rotate = format!("/webhooks/{id}/rotate-secret?organizationId=org-1");
    let rotated = visitor.show(visitor.post(&rotate, &json!({}))).await;

    work(installation, process, visitor, subscriber, &token).await;
    let test = format!("/webhooks/{id}/test?organizationId=org-1");
    visitor.see_with(visitor.post(&test, &json!({})), 200).await;
    ask_wrongly(visitor, &token).await;
    look_around(visitor, &token).await;
    let secret_of = |value: &Value| value["secret"].as_str().unwrap().to_owned();
    vec![
        ("access token", ACCESS_TOKEN.to_owned()),
        ("replaced access token", OTHER_ACCESS_TOKEN.to_owned()),
        ("signing secret", secret_of(&webhook)),
        ("new signing secret", secret_of(&rotated)),
        ("API key", visitor.api_key.clone()),
        ("sync token", token),
        ("key of the keys", KEY.to_owned()),
    ]
}

/// Imports that succeed and fail, a run, and an event.
async fn work(
    installation: &Installation,
    process: &Process,
    visitor: &mut Visitor<'_>,
    subscriber: &Subscriber,
    token: &str,
) {
    let import = |visitor: &Visitor<'_>, receipt: &str| {
        visitor.post(
            "/orders/import",
            &json!({ "syncToken": token, "receipt": receipt }),
        )
    };
    visitor.see_with(import(visitor, "shop-1"), 200).await;
    installation.marketplace.out_of_order(true);
    visitor.see_with(import(visitor, "shop-2"), 200).await;
    installation.marketplace.out_of_order(false);
    // The row that failed is a worker's now, and the end of its run an event.
    process.wait_for_event("job_completed").await;
    subscriber.has_received("/hook", 1).await;
}

/// Requests that are wrong, with a secret somewhere in them.
async fn ask_wrongly(visitor: &mut Visitor<'_>, token: &str) {
    let mut wrong = store(ACCESS_TOKEN);
    wrong["currency"] = json!("US");
    visitor
        .see_with(visitor.post("/stores/register", &wrong), 400)
        .await;
    let reused = visitor.post("/stores/register", &wrong);
    visitor
        .see_with(reused.header("idempotency-key", "register"), 400)
        .await;
    let mut other = store(ACCESS_TOKEN);
    other["storeName"] = json!("Another");
    let reused = visitor.post("/stores/register", &other);
    visitor
        .see_with(reused.header("idempotency-key", "register"), 422)
        .await;
    let broken = visitor
        .post("/stores/register", &wrong)
        .body(format!("{wrong}}}"));
    visitor.see_with(broken, 400).await;
    let mut foreign = store(ACCESS_TOKEN);
    foreign["organizationId"] = json!("org-2");
    visitor
        .see_with(visitor.post("/stores/register", &foreign), 403)
        .await;
    let stranger = visitor
        .http
        .post(format!("{}/stores/register", visitor.api));
    let bearer = stranger.bearer_auth(format!("{}x", visitor.api_key));
    visitor.see_with(bearer.json(&wrong), 401).await;
    let nowhere = visitor.post(&format!("/{token}"), &json!({}));
    visitor.see_with(nowhere, 404).await;
}

/// What there is to see, on both listeners.
async fn look_around(visitor: &mut Visitor<'_>, token: &str) {
    let status = format!("{}/stores/sync-status?syncToken={token}", visitor.api);
    visitor.see_with(visitor.http.get(status), 200).await;
    for path in [
        "/webhooks?organizationId=org-1",
        "/callbacks?organizationId=org-1",
    ] {
        let request = visitor.http.get(format!("{}{path}", visitor.api));
        let request = request.header("x-api-key", &visitor.api_key);
        visitor.see_with(request, 200).await;
    }
    for path in [
        "/api/v1/overview",
        "/api/v1/queues",
        "/api/v1/tasks",
        "/api/v1/workers",
        "/api/v1/queues/sync-store-queue/tasks?status=Done",
        "/api/v1/queues/callback-queue/tasks?status=Done",
        "/metrics",
        "/admin/api/overview",
        "/admin/api/stores",
        "/admin/api/endpoints",
        "/admin/api/dead-letters/orders",
    ] {
        visitor.see_admin(path).await;
    }
}

/// The files of a database: SQLite's with its log, or PostgreSQL's with what was written last.
async fn database_files(installation: &Installation) -> Vec<PathBuf> {
    match &installation.db {
        Db::Sqlite { .. } => {
            let file = installation.database.url().trim_start_matches("sqlite:");
            files_in(Path::new(file).parent().unwrap())
        }
        Db::Postgres(pool) => {
            sqlx::query("CHECKPOINT").execute(pool).await.unwrap();
            let (folder, number, log): (String, String, String) = sqlx::query_as(
                "SELECT current_setting('data_directory'), CAST(oid AS TEXT),
                     pg_walfile_name(pg_current_wal_lsn())
                 FROM pg_database WHERE datname = current_database()",
            )
            .fetch_one(pool)
            .await
            .unwrap();
            let folder = Path::new(&folder);
            let mut files = files_in(&folder.join("base").join(number));
            files.push(folder.join("pg_wal").join(log));
            files
        }
    }
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file());
    assert!(!files.is_empty(), "{}", folder.display());
    files
}

/// Secrets that must not be anywhere, and those that only the database may have: a sync token is
/// looked up by what it is, like the id that it looks like.
async fn assert_database_is_clean(installation: &Installation, secrets: &Secrets) {
    let secrets: Secrets = secrets
        .iter()
        .filter(|(name, _)| *name != "sync token")
        .cloned()
        .collect();
    let mut is_seen = false;
    for file in database_files(installation).await {
        let bytes = match fs::read(&file) {
            // The database removed it meanwhile, as it does with what it has rewritten.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            read => read.unwrap(),
        };
        assert_eq!(found_in(&bytes, &secrets), [""; 0], "in {}", file.display());
        is_seen |= contains(&bytes, b"enc:v1:");
    }
    assert!(is_seen, "the search sees what is stored");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_where_it_does_not_belong(#[values(Embedded, Server)] on: Profile) {
    let redis = (on == Server).then(RedisServer::start);
    let url = redis.as_ref().map(RedisServer::url);
    let settings = [
        ("RUST_LOG", "trace"),
        ("ADMIN_PASSWORD", ADMIN_PASSWORD),
        ("TOKEN_ENCRYPTION_KEY", KEY),
        ("CALLBACK_CRON", "* * * * * *"),
    ];
    let installation = Installation::on_redis(on, url, &settings).await;
    let monitor = match &redis {
        Some(server) => Some(Monitor::start(server).await),
        None => None,
    };
    let made = run(
        &["keys", "create", "--organization", "org-1"],
        &installation.environment,
    )
    .await;
    assert_eq!(made.code, Some(0), "{made:#?}");
    let made: Value = serde_json::from_str(&made.stdout[0]).unwrap();
    let subscriber = Subscriber::start().await;
    let process = installation.start_all().await;
    let mut visitor = Visitor {
        http: installation.http(),
        api: format!("http://{}", process.address("public").await),
        admin: format!("http://{}", process.address("admin").await),
        api_key: made["key"].as_str().unwrap().to_owned(),
        seen: String::new(),
    };
    let secrets = use_everything(&installation, &process, &mut visitor, &subscriber).await;
    assert_database_is_clean(&installation, &secrets).await;
    let rotated = run(&["keys", "rotate-encryption"], &installation.environment).await;
    assert_eq!(rotated.code, Some(0), "{rotated:#?}");

    if let Some(monitor) = &monitor {
        // Nothing is asserted before the jobs are seen there.
        until(async || monitor.lines().contains("callback-queue")).await;
        let lines = monitor.lines();
        assert_eq!(
            found_in(lines.as_bytes(), &secrets),
            [""; 0],
            "sent to Redis"
        );
    }
    process.signal("TERM");
    let exit = process.exit().await;
    assert_eq!(exit.code, Some(0));
    let log = [exit.stdout, exit.stderr, rotated.stdout, rotated.stderr]
        .concat()
        .join("\n");
    assert!(log.contains("\"level\":\"trace\"") && log.contains("INSERT INTO stores"));
    for (place, text) in [("the log", &log), ("an answer", &visitor.seen)] {
        let found = found_in(text.as_bytes(), &secrets);
        let line = text
            .lines()
            .find(|line| !found_in(line.as_bytes(), &secrets).is_empty());
        // An answer of 404 does not name the path; a log may name no token in one either.
        assert_eq!(found, [""; 0], "in {place}: {line:?}");
    }
    for received in subscriber.received("/hook") {
        assert_eq!(
            found_in(&received.body, &secrets),
            [""; 0],
            "sent to a webhook"
        );
    }
    assert_database_is_clean(&installation, &secrets).await;
}

/// The search finds what it is for.
#[test]
fn the_search_finds_every_form() {
    let secrets = vec![("it", "whsec_plJ3nmyCDGBKInavdOK15jsl".to_owned())];
    for form in forms(&secrets[0].1) {
        let place = [b"before ", &form[..], b" after"].concat();
        assert_eq!(found_in(&place, &secrets), ["it"]);
    }
    assert_eq!(found_in(b"whsec_plJ3", &secrets), [""; 0]);
}
