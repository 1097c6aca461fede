//! What must not be in any log, however much is logged.

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{RequestBuilder, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Installation;
use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::process::Process;
use crate::support::queues::RedisServer;

const API_KEY: &str = "api-key-5d1f0c7a9b3e";
const ADMIN_PASSWORD: &str = "admin-password-71c2";
const MARKETPLACE_PASSWORD: &str = "marketplace-password-e0b4";
const ACCESS_TOKEN: &str = "access-token-93ad28c6f1";
const DATABASE_PASSWORD: &str = "database-password-2b88";
const REDIS_PASSWORD: &str = "redis-password-c95d";

/// A Redis that wants a password, and its address with it.
async fn redis_with_password() -> (RedisServer, String) {
    let server = RedisServer::start();
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut set = redis::cmd("CONFIG");
    set.arg(&["SET", "requirepass", REDIS_PASSWORD]);
    set.exec_async(&mut connection).await.unwrap();
    let url = server
        .url()
        .replace("redis://", &format!("redis://:{REDIS_PASSWORD}@"));
    (server, url)
}

async fn send(request: RequestBuilder) -> (StatusCode, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status();
    (status, answer.json().await.unwrap_or_default())
}

/// Makes the process do everything that has to do with a secret; returns the sync token.
async fn use_everything(installation: &Installation, process: &Process) -> String {
    let http = installation.http();
    let (api, admin) = (
        process.address("public").await,
        process.address("admin").await,
    );
    let store = json!({
        "organizationId": "org-1", "marketplace": "etsy", "externalStoreId": "shop",
        "storeName": "Shop", "accessToken": ACCESS_TOKEN, "currency": "USD",
    });
    let register = |body: String| {
        let request = http
            .post(format!("http://{api}/stores/register"))
            .header("x-api-key", API_KEY);
        request
            .header("content-type", "application/json")
            .body(body)
    };
    let (status, body) = send(register(store.to_string())).await;
    assert_eq!(status, 200, "{body}");
    let token = body["syncToken"].as_str().unwrap().to_owned();
    // Requests that fail are logged as well.
    assert_eq!(
        send(register(store.to_string().replace("USD", "US")))
            .await
            .0,
        400
    );
    assert_eq!(send(register(format!("{store}}}"))).await.0, 400);
    let bearer = http
        .post(format!("http://{api}/stores/register"))
        .bearer_auth(format!("{API_KEY}x"));
    assert_eq!(send(bearer.json(&store)).await.0, 401);

    let import = |receipt: &str| {
        let body = json!({ "syncToken": token, "receipt": receipt });
        http.post(format!("http://{api}/orders/import")).json(&body)
    };
    assert_eq!(send(import("shop-1")).await.1["success"], true);
    installation.marketplace.out_of_order(true);
    assert_eq!(send(import("shop-2")).await.1["success"], false);
    installation.marketplace.out_of_order(false);
    // The row that failed is a worker's now.
    process.wait_for_event("job_completed").await;
    let status_url = format!("http://{api}/stores/sync-status");
    assert_eq!(
        send(http.get(format!("{status_url}?syncToken={token}")))
            .await
            .0,
        200
    );
    assert_eq!(
        send(http.get(&status_url).header("x-sync-token", &token))
            .await
            .0,
        200
    );
    let board = http.get(format!("http://{admin}/api/v1/queues"));
    let board = board.basic_auth("admin", Some(ADMIN_PASSWORD));
    assert_eq!(send(board).await.0, 200);
    token
}

/// A-83, at `RUST_LOG=trace`: the libraries beneath have their say as well.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_any_log(#[values(Embedded, Server)] on: Profile) {
    let key_hash = format!("org-1:{:x}", Sha256::digest(API_KEY));
    let settings = [
        ("RUST_LOG", "trace"),
        ("API_KEYS", &key_hash as &str),
        ("ADMIN_PASSWORD", ADMIN_PASSWORD),
        ("MOCK_ETSY_PASS", MARKETPLACE_PASSWORD),
    ];
    let redis = match on {
        Embedded => None,
        Server => Some(redis_with_password().await),
    };
    let url = redis.as_ref().map(|(_, url)| url.clone());
    let mut installation = Installation::on_redis(on, url, &settings).await;
    let database = installation
        .database
        .url_with_password(DATABASE_PASSWORD)
        .await;
    assert_eq!(database.contains(DATABASE_PASSWORD), on == Server);
    installation
        .environment
        .push(("DATABASE_URL".to_owned(), database));

    let process = installation.start_all().await;
    let token = use_everything(&installation, &process).await;
    process.signal("TERM");
    let exit = process.exit().await;
    assert_eq!(exit.code, Some(0));
    let log = [exit.stdout, exit.stderr].concat().join("\n");
    assert!(
        log.contains("\"level\":\"trace\"") && log.contains("hyper"),
        "everything is logged"
    );

    let basic = |user: &str, password: &str| STANDARD.encode(format!("{user}:{password}"));
    let secrets = [
        token.clone(),
        token.replace('-', ""),
        API_KEY.to_owned(),
        ACCESS_TOKEN.to_owned(),
        ADMIN_PASSWORD.to_owned(),
        basic("admin", ADMIN_PASSWORD),
        MARKETPLACE_PASSWORD.to_owned(),
        basic("all", MARKETPLACE_PASSWORD),
        DATABASE_PASSWORD.to_owned(),
        REDIS_PASSWORD.to_owned(),
    ];
    for secret in secrets {
        let line = log.lines().find(|line| line.contains(&secret));
        assert!(
            line.is_none(),
            "{secret} is in the log: {}",
            line.unwrap_or_default()
        );
    }
}
