//! `Idempotency-Key`: a request that is sent again has one effect and gets the same answer.

mod faults;
mod replay;
mod secrets;
mod together;

use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::support::app::{TestApp, TestStore};
use crate::support::server::TestServer;

/// An answer, as its client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reply {
    status: u16,
    content_type: Option<String>,
    body: String,
    is_replayed: bool,
    retry_after: Option<String>,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The same, as it would be if it had been given before.
    fn replayed(&self) -> Self {
        Self {
            is_replayed: true,
            ..self.clone()
        }
    }

    /// The stable code of a problem.
    fn code(&self) -> String {
        self.json()["code"].as_str().unwrap().to_owned()
    }
}

async fn send(request: RequestBuilder) -> Reply {
    let answer = request.send().await.unwrap();
    let header = |name: &str| {
        let value = answer.headers().get(name)?;
        Some(value.to_str().unwrap().to_owned())
    };
    Reply {
        status: answer.status().as_u16(),
        content_type: header("content-type"),
        is_replayed: header("idempotency-replayed").is_some_and(|value| value == "true"),
        retry_after: header("retry-after"),
        body: answer.text().await.unwrap(),
    }
}

/// A POST with a key, to a server of this app or of another process.
fn request(
    app: &TestApp,
    server: &TestServer,
    key: &str,
    path: &str,
    body: &Value,
) -> RequestBuilder {
    let request = app.http.post(server.url(path));
    request.header("Idempotency-Key", key).json(body)
}

/// Sends a POST with a key.
async fn post(app: &TestApp, key: &str, path: &str, body: &Value) -> Reply {
    send(request(app, &app.server, key, path, body)).await
}

/// A registration of `org-1` for completed syncs.
fn webhook(target_url: &str) -> Value {
    json!({ "organizationId": "org-1", "event": "sync.completed", "targetUrl": target_url })
}

fn receipt(store: TestStore, receipt: &str) -> Value {
    json!({ "syncToken": store.token, "receipt": receipt })
}

/// How many keys there are.
async fn keys(app: &TestApp) -> i64 {
    app.count("SELECT COUNT(*) FROM idempotency_keys").await
}

const OK: u16 = StatusCode::OK.as_u16();
