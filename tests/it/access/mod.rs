//! Who may call: keys and what they open.

mod actors;
mod admin;
mod admission;
mod connections;
mod isolation;
mod keys;
mod rates;
mod stock;

use chrono::{DateTime, Utc};
use marketplace_sync::http::auth::Scope;
use marketplace_sync::keys::{ApiKey, NewKey, create_key, list_keys};
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::support::app::{Profile, TestApp};

/// A service that wants keys.
async fn locked(on: Profile) -> TestApp {
    TestApp::start_with(on, &[("AUTH", "required")]).await
}

impl TestApp {
    /// Makes a key as `keys create` does.
    async fn make_key(
        &self,
        organization_id: &str,
        scope: Scope,
        expires_at: Option<DateTime<Utc>>,
    ) -> (ApiKey, SecretString) {
        let new = NewKey {
            organization_id: organization_id.to_owned(),
            name: None,
            scope,
            expires_at,
        };
        create_key(&self.app.db, &self.app.ids, new, self.clock.now())
            .await
            .unwrap()
    }

    /// A key that may do everything in its organization.
    async fn key_of(&self, organization_id: &str) -> SecretString {
        self.make_key(organization_id, Scope::Write, None).await.1
    }

    fn request_as(&self, key: &SecretString, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, self.server.url(path))
            .header("x-api-key", key.expose_secret())
    }

    async fn get_as(&self, key: &SecretString, path: &str) -> (StatusCode, Value) {
        self.send(self.request_as(key, Method::GET, path)).await
    }

    async fn post_as(&self, key: &SecretString, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = self.request_as(key, Method::POST, path);
        self.send(request.json(body)).await
    }

    /// What is known of the only key.
    async fn only_key(&self) -> ApiKey {
        let mut keys = list_keys(&self.app.db, None).await.unwrap();
        assert_eq!(keys.len(), 1);
        keys.remove(0)
    }

    /// Waits for what goes on beside the requests.
    async fn settle(&self) {
        self.app.tasks.close();
        self.app.tasks.wait().await;
        self.app.tasks.reopen();
    }
}
