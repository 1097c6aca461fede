//! The API, as a client sees it.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use uuid::Uuid;

use crate::marketplace::connector::http_client;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(45);

/// A client of one service.
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<SecretString>,
}

impl Client {
    /// Calls the service at `base`, with an API key if it wants one.
    pub(super) fn new(base: &str, key: Option<SecretString>) -> Result<Self> {
        Ok(Self {
            http: http_client(PATIENCE)?,
            base: base.trim_end_matches('/').to_owned(),
            key,
        })
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<(StatusCode, Value)> {
        let url = format!("{}{path}", self.base);
        self.send(self.http.post(url).json(body)).await
    }

    /// A request of any kind; null is no body.
    pub(super) async fn request(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<(StatusCode, Value)> {
        let request = self.http.request(method, format!("{}{path}", self.base));
        let request = match body {
            Value::Null => request,
            body => request.json(body),
        };
        self.send(request).await
    }

    pub(super) async fn get(&self, path: &str) -> Result<(StatusCode, Value)> {
        let url = format!("{}{path}", self.base);
        self.send(self.http.get(url)).await
    }

    /// How a store is doing.
    pub(super) async fn sync_status(&self, token: Uuid) -> Result<(StatusCode, Value)> {
        let url = format!("{}/stores/sync-status", self.base);
        let request = self.http.get(url).header("X-Sync-Token", token.to_string());
        self.send(request).await
    }

    async fn send(&self, mut request: RequestBuilder) -> Result<(StatusCode, Value)> {
        if let Some(key) = &self.key {
            request = request.header("X-API-Key", key.expose_secret());
        }
        let answer = request
            .send()
            .await
            .with_context(|| format!("{} does not answer", self.base))?;
        let status = answer.status();
        let text = answer.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok((status, body))
    }
}

/// The body of an answer that must be 200.
pub(super) fn ok(path: &str, (status, body): (StatusCode, Value)) -> Result<Value> {
    if status != StatusCode::OK {
        bail!("{path} answered {status}: {body}");
    }
    Ok(body)
}

/// An id in an answer.
pub(super) fn id_in(body: &Value, name: &str) -> Result<Uuid> {
    let id = body[name].as_str().and_then(|id| id.parse().ok());
    id.with_context(|| format!("the answer has no {name}"))
}
