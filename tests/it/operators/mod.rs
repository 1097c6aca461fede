//! What an operator sees, and does about it.

mod actions;
mod lists;
mod overview;
mod page;
mod pauses;
mod stock;
mod visit;

use marketplace_sync::admin::{self, LogStream};
use poem::Route;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

use crate::support::app::{TestApp, on};
use crate::support::server::TestServer;

/// Somebody at the admin listener.
pub(crate) struct Operator<'a> {
    app: &'a TestApp,
    server: TestServer,
}

impl<'a> Operator<'a> {
    pub(crate) async fn of(app: &'a TestApp) -> Self {
        let pages = Route::new().nest("/admin", admin::operators::routes(&app.app));
        let site = admin::with_pages(pages, &app.app.queue, LogStream::new(), None);
        let server = TestServer::start(site).await;
        Self { app, server }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = self.server.url(&format!("/admin/api{path}"));
        self.app.http.request(method, url)
    }

    /// What there is to see.
    pub(crate) async fn see(&self, path: &str) -> Value {
        let (status, body) = self.app.send(self.request(Method::GET, path)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// Asks for something to be done.
    pub(crate) async fn ask(&self, path: &str) -> (StatusCode, Value) {
        let request = self.request(Method::POST, path);
        self.app.send(request.json(&serde_json::json!({}))).await
    }

    /// The same, and it is done.
    pub(crate) async fn act(&self, path: &str) -> Value {
        let (status, body) = self.ask(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// A member of all items of a list, page by page.
    pub(crate) async fn all(&self, list: &str, member: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.see(&format!("{list}{cursor}")).await;
            let items = page["items"].as_array().unwrap();
            found.extend(
                items
                    .iter()
                    .map(|item| item[member].as_str().unwrap().to_owned()),
            );
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return found,
            }
        }
    }
}

impl TestApp {
    /// Makes dead letters of all orders that failed.
    async fn give_up_orders(&self) {
        let now = self.clock.now();
        on!(&self.app.db, pool => sqlx::query(
            "UPDATE sync_logs SET dead_at = $1, failed_attempt = 5, error_details = 'not an order'
             WHERE status = 'failed'")
            .bind(now).execute(pool).await.map(|_| ()).unwrap());
    }
}
