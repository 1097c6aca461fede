//! Webhooks.

mod breaker;
mod callbacks;
mod dead_letters;
mod deletion;
mod deliver;
mod endpoints;
mod fairness;
mod guard;
mod kill;
mod ordering;
mod retention;
mod retry;
mod send;
mod sign;
mod sweep;
mod tools;
mod unreadable;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::app::TestApp;

/// Who has the webhooks.
const ORGANIZATION: &str = "org-manual";

/// Subscribes a URL of the organization to an event.
async fn register(app: &TestApp, event: &str, target_url: &str) -> (StatusCode, Value) {
    let body = json!({ "organizationId": ORGANIZATION, "event": event, "targetUrl": target_url });
    app.post("/webhooks/register", &body).await
}

/// Like [`register`], and it works.
async fn registered(app: &TestApp, event: &str, target_url: &str) -> Value {
    let (status, body) = register(app, event, target_url).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}
