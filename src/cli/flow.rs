//! `demo --base-url`: a first round of requests against a service that runs already.

use anyhow::{Result, bail};
use reqwest::StatusCode;
use secrecy::SecretString;
use serde_json::{Value, json};
use uuid::Uuid;

use super::client::{Client, id_in};
use super::output::say;

/// The events that are subscribed to.
pub(super) const EVENTS: [&str; 3] = ["sync.started", "sync.completed", "sync.failed"];

/// Registers a store, imports receipts, asks for its status, and subscribes webhooks.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) base_url: String,
    pub(super) api_key: Option<SecretString>,
    pub(super) organization_id: String,
    pub(super) marketplace: String,
    pub(super) external_store_id: String,
    pub(super) store_name: String,
    pub(super) access_token: String,
    pub(super) currency: String,
    pub(super) webhook_url: String,
    pub(super) receipts: Vec<String>,
}

/// What the requests were answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answers {
    pub(super) store_id: Uuid,
    pub(super) sync_token: Uuid,
    /// One for each receipt.
    pub(super) imports: Vec<Value>,
    pub(super) status: Value,
    /// One for each event, with its secret if it is new.
    pub(super) registered: Vec<Value>,
    pub(super) webhooks: Value,
}

impl Flow {
    /// Reads what to send from the environment; `base_url` wins over `BASE_URL`.
    pub(super) fn from_lookup(
        base_url: Option<String>,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Self {
        let text = |name: &str, default: &str| {
            let value = lookup(name).filter(|value| !value.trim().is_empty());
            value.unwrap_or_else(|| default.to_owned())
        };
        let receipts = text("RECEIPTS", "order-101,order-102,order-115");
        Self {
            base_url: base_url.unwrap_or_else(|| text("BASE_URL", "http://localhost:3000")),
            api_key: lookup("API_KEY")
                .filter(|key| !key.is_empty())
                .map(SecretString::from),
            organization_id: text("ORG_ID", "org-1"),
            marketplace: text("MARKETPLACE", "etsy"),
            external_store_id: text("EXTERNAL_STORE_ID", "ext-100"),
            store_name: text("STORE_NAME", "My Etsy Store"),
            access_token: text("ACCESS_TOKEN", "token-v2"),
            currency: text("CURRENCY", "USD"),
            webhook_url: text("WEBHOOK_URL", "http://127.0.0.1:4000/webhook"),
            receipts: receipts
                .split(',')
                .map(|receipt| receipt.trim().to_owned())
                .filter(|receipt| !receipt.is_empty())
                .collect(),
        }
    }

    /// Sends one request after the other and prints what each was answered; the first that is
    /// not answered with 200 ends it.
    pub(super) async fn run(&self) -> Result<Answers> {
        let client = Client::new(&self.base_url, self.api_key.clone())?;
        let store = json!({
            "organizationId": self.organization_id,
            "marketplace": self.marketplace,
            "externalStoreId": self.external_store_id,
            "storeName": self.store_name,
            "accessToken": self.access_token,
            "currency": self.currency,
        });
        let path = "/stores/register";
        let store = step(&format!("POST {path}"), client.post(path, &store).await?)?;
        let (store_id, sync_token) = (id_in(&store, "storeId")?, id_in(&store, "syncToken")?);
        let mut imports = Vec::new();
        let path = "/orders/import";
        for receipt in &self.receipts {
            let order = json!({ "syncToken": sync_token, "receipt": receipt });
            let answer = client.post(path, &order).await?;
            imports.push(step(&format!("POST {path} {receipt}"), answer)?);
        }
        let status = client.sync_status(sync_token).await?;
        let status = step("GET /stores/sync-status", status)?;
        let mut registered = Vec::new();
        let path = "/webhooks/register";
        for event in EVENTS {
            let webhook = json!({
                "organizationId": self.organization_id,
                "event": event,
                "targetUrl": self.webhook_url,
            });
            let answer = client.post(path, &webhook).await?;
            registered.push(step(&format!("POST {path} {event}"), answer)?);
        }
        let list = format!("/webhooks?organizationId={}", escape(&self.organization_id));
        let webhooks = step(&format!("GET {list}"), client.get(&list).await?)?;
        say(&format!("syncToken {sync_token}"));
        Ok(Answers {
            store_id,
            sync_token,
            imports,
            status,
            registered,
            webhooks,
        })
    }
}

fn step(request: &str, (status, body): (StatusCode, Value)) -> Result<Value> {
    say(&format!("{request} → {} {body}", status.as_u16()));
    if status != StatusCode::OK {
        bail!("{request} was answered with {status}");
    }
    Ok(body)
}

/// A value of a query.
fn escape(text: &str) -> String {
    let query = reqwest::Url::parse_with_params("http://localhost/", [("q", text)]);
    let query = query.map(|url| url.query().unwrap_or_default().to_owned());
    query
        .unwrap_or_default()
        .trim_start_matches("q=")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_over_the_environment_and_the_rest_has_defaults() {
        let flow = Flow::from_lookup(Some("http://here".into()), &|name| match name {
            "BASE_URL" => Some("http://there".into()),
            "RECEIPTS" => Some(" a1 ,, b2".into()),
            "ORG_ID" => Some(" ".into()),
            _ => None,
        });
        assert_eq!(flow.base_url, "http://here");
        assert_eq!(flow.receipts, ["a1", "b2"]);
        assert_eq!(flow.organization_id, "org-1");
        assert_eq!(flow.webhook_url, "http://127.0.0.1:4000/webhook");
        assert!(flow.api_key.is_none());
    }

    #[test]
    fn what_has_a_meaning_in_a_query_is_escaped() {
        assert_eq!(escape("a&b=c d"), "a%26b%3Dc+d");
    }
}
