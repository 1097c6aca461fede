//! Work going on all the time: shops that import one receipt after the other, over the API.

use std::collections::HashSet;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Shops that sell at the same time.
pub(super) const SHOPS: usize = 5;
/// Between two receipts of a shop.
const PAUSE: Duration = Duration::from_millis(400);
/// Between two tries of a receipt.
const TRY_AGAIN: Duration = Duration::from_millis(250);
/// How long a shop waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long after the last fault they are heard at last.
const GO_HOME_WITHIN: Duration = Duration::from_mins(1);

/// They shop until they are told to go home.
#[derive(Default)]
pub(super) struct Shoppers {
    stop: CancellationToken,
    tasks: JoinSet<HashSet<String>>,
}

impl Shoppers {
    /// Registers the shops at an API and begins.
    pub(super) async fn start(http: &Client, base: &str) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for number in 1..=SHOPS {
            let seller = Shop::register(http.clone(), base.to_owned(), number).await;
            tasks.spawn(seller.sell(stop.clone()));
        }
        Self { stop, tasks }
    }

    /// Ends it; tells which receipts the API has acknowledged. Each is tried until it is;
    /// none when that takes too long.
    pub(super) async fn go_home(self) -> Option<HashSet<String>> {
        self.stop.cancel();
        let receipts = tokio::time::timeout(GO_HOME_WITHIN, self.tasks.join_all());
        Some(receipts.await.ok()?.into_iter().flatten().collect())
    }
}

struct Shop {
    http: Client,
    base: String,
    name: String,
    token: String,
}

impl Shop {
    async fn register(http: Client, base: String, number: usize) -> Self {
        let name = format!("shop{number}");
        let store = json!({
            "organizationId": "org-1", "marketplace": "etsy", "externalStoreId": name,
            "storeName": "Shop", "accessToken": "secret", "currency": "USD",
        });
        let request = http.post(format!("{base}/stores/register")).json(&store);
        let body: Value = request.send().await.unwrap().json().await.unwrap();
        let token = body["syncToken"].as_str().unwrap().to_owned();
        Self {
            http,
            base,
            name,
            token,
        }
    }

    async fn sell(self, stop: CancellationToken) -> HashSet<String> {
        let mut receipts = HashSet::new();
        while !stop.is_cancelled() {
            let receipt = format!("{}-{}", self.name, receipts.len() + 1);
            while !self.is_imported(&receipt).await {
                sleep(TRY_AGAIN).await;
            }
            receipts.insert(receipt);
            sleep(PAUSE).await;
        }
        receipts
    }

    /// Whether the API acknowledges a receipt. What it says of a fault is that it is one.
    async fn is_imported(&self, receipt: &str) -> bool {
        let body = json!({ "syncToken": self.token, "receipt": receipt });
        let request = self.http.post(format!("{}/orders/import", self.base));
        let Ok(answer) = request.json(&body).timeout(PATIENCE).send().await else {
            return false;
        };
        let status = answer.status();
        assert!(
            status == StatusCode::OK
                || status == StatusCode::CONFLICT
                || status == StatusCode::SERVICE_UNAVAILABLE
                || status == StatusCode::GATEWAY_TIMEOUT
                || status == StatusCode::INTERNAL_SERVER_ERROR,
            "{status}"
        );
        status == StatusCode::OK
    }
}
