//! Orders: imported by receipt, exactly once.

mod answers;
mod batch;
mod claims;
mod faults;
mod races;
mod walkthrough;

use marketplace_sync::marketplace::connector::Verdict;
use marketplace_sync::marketplace::money::{Currency, Money};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::support::app::TestStore;
use crate::support::marketplace::noon;
use crate::support::scripted_connector::Reply;
use crate::support::server::TestServer;

/// Asks one of several processes to import a receipt; the body as it came.
async fn import_at(
    http: &Client,
    server: &TestServer,
    store: TestStore,
    receipt: &str,
) -> (StatusCode, String) {
    let body = json!({ "syncToken": store.token, "receipt": receipt });
    post_at(http, server, "/orders/import", &body).await
}

/// Sends JSON to one of several processes; the body as it came.
async fn post_at(
    http: &Client,
    server: &TestServer,
    path: &str,
    body: &Value,
) -> (StatusCode, String) {
    let answer = http.post(server.url(path)).json(body).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

/// An order worth so many minor units.
#[expect(clippy::unnecessary_wraps, reason = "a script is a list of replies")]
fn worth(minor: i64, currency: &str) -> Reply {
    Ok(Verdict::Valid {
        order_id: format!("order-{minor}"),
        money: Money::new(minor, Currency::parse(currency).unwrap()),
        imported_at: noon(),
    })
}
