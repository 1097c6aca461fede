//! The API of the service that is measured, as a merchant calls it.

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use super::super::subject::Subject;
use super::seed::{Merchant, Shop};
use crate::cli::client::Client;

pub(super) struct Api {
    client: Client,
    organization_id: String,
}

impl Api {
    pub(super) fn new(subject: &Subject, merchant: &Merchant) -> Result<Self> {
        Ok(Self {
            client: Client::new(&subject.base_url(), None)?,
            organization_id: merchant.organization_id.clone(),
        })
    }

    /// Gives a store the credentials that its marketplace takes: any.
    pub(super) async fn configure(&self, shop: &Shop) -> Result<()> {
        let settings = json!({
            "sendStock": true, "listingTier": "UNLIMITED", "apiKey": "bench", "apiSecret": "bench",
        });
        self.ask(Method::PATCH, shop, "stock-settings", &settings)
            .await
    }

    /// Reserves one of a product.
    pub(super) async fn order(&self, merchant: &Merchant, shop: &Shop, number: u64) -> Result<()> {
        let line = json!({ "productId": merchant.product(number), "quantity": 1 });
        let order = json!({ "orderRef": format!("trigger-{number}"), "lines": [line] });
        self.ask(Method::POST, shop, "reservations", &order).await
    }

    /// Has the marketplace be told now.
    pub(super) async fn trigger(&self, shop: &Shop) -> Result<()> {
        self.ask(Method::POST, shop, "stock-sync/trigger", &json!({}))
            .await
    }

    async fn ask(&self, method: Method, shop: &Shop, what: &str, body: &Value) -> Result<()> {
        let (id, organization) = (shop.id, &self.organization_id);
        let path = format!("/stores/{id}/{what}?organizationId={organization}");
        let (status, answer) = self.client.request(method, &path, body).await?;
        ensure!(
            status.is_success(),
            "{what} was answered with {status}: {answer}"
        );
        Ok(())
    }
}
