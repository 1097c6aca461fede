//! The API of the service that is measured, as a merchant calls it.

use anyhow::{Result, ensure};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::super::subject::Subject;
use super::seed::{Merchant, Shop};
use crate::tls::install_provider;

pub(super) struct Api {
    client: Client,
    base_url: String,
    organization_id: String,
}

impl Api {
    pub(super) fn new(subject: &Subject, merchant: &Merchant) -> Result<Self> {
        install_provider();
        Ok(Self {
            client: Client::builder().no_proxy().build()?,
            base_url: subject.base_url(),
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
        let Self {
            base_url,
            organization_id,
            ..
        } = self;
        let id = shop.id;
        let url = format!("{base_url}/stores/{id}/{what}?organizationId={organization_id}");
        let answer = self.client.request(method, url).json(body).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(
            status.is_success(),
            "{what} was answered with {status}: {text}"
        );
        Ok(())
    }
}
