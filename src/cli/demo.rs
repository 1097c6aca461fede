//! `demo`: the whole service at work in one process, with nothing installed.
//!
//! It serves on a database in a temporary folder, registers a store over HTTP, imports receipts
//! from the mock marketplace, and lets ticks and jobs retry what failed or was rate-limited, with
//! intervals of seconds instead of minutes. Then it prints what happened.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use jobs::StoreId;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::output::{say, table};
use crate::App;
use crate::admin::LogStream;
use crate::config::Settings;
use crate::marketplace::connector::http_client;
use crate::marketplace::{OrderState, order_states};
use crate::service::{Roles, Service, signal};

/// One that is an order, one that is not, one that the marketplace always rate-limits.
const RECEIPTS: [&str; 3] = ["order-101", "order-102", "order-115"];
/// How long the retries may take.
const PATIENCE: Duration = Duration::from_secs(45);

/// Show the whole thing at work, with nothing installed.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Leave when it is shown, with 0 if all went as it should; otherwise the demo stays up.
    #[arg(long)]
    exit: bool,
}

impl Demo {
    pub(super) async fn run(self, settings: Settings, logs: LogStream) -> Result<ExitCode> {
        let service = Service::start(settings, &Roles::all(), logs).await?;
        let shown = tokio::select! {
            shown = show(&service) => shown,
            () = signal() => Err(anyhow!("the demo was ended before it had shown everything")),
        };
        if self.exit || shown.is_err() {
            service.stop().await;
        } else {
            say("\nThe demo stays up; Ctrl-C ends it.");
            service.run_until_signal().await?;
        }
        shown?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn show(service: &Service) -> Result<()> {
    let public = service.public.context("the demo serves the API")?;
    let admin = service.admin.context("the demo serves the board")?;
    let api = Api {
        http: http_client(PATIENCE)?,
        base: format!("http://{public}"),
    };
    say(&format!(
        "Swagger UI  http://{public}/docs\nBoard       http://{admin}/\n"
    ));

    let store = api.register_store().await?;
    say(&format!("Registered store {} of org-1 on etsy.", store.0));
    let mut answers = Vec::new();
    for receipt in RECEIPTS {
        answers.push(api.import(store.1, receipt).await?);
    }
    let imported = api.import_batch(store.1).await?;
    say(&format!(
        "Imported {} receipts one by one and a batch with {imported} orders.",
        RECEIPTS.len()
    ));
    say("Waiting for a tick to enqueue the store and for the job to retry what did not work …\n");
    let orders = wait_for_retries(&service.app, StoreId(store.0)).await?;

    print_orders(&answers, &orders);
    let status = api.status(store.1).await?;
    say(&format!("\nGET /stores/sync-status → {status}"));
    check(&answers, &status)
}

/// Holds what the demo showed against what the mock marketplace's rules make of it.
fn check(answers: &[Value], status: &Value) -> Result<()> {
    let expected = [json!(true), json!("invalid_receipt"), json!("rate_limited")];
    let found = [
        &answers[0]["success"],
        &answers[1]["error"],
        &answers[2]["error"],
    ];
    if found.into_iter().ne(expected.iter()) {
        bail!("the imports answered {answers:?}");
    }
    if status["syncStatus"] != "partial" || status["rateLimitedCount"].as_i64() < Some(1) {
        bail!("the store's status is {status}");
    }
    Ok(())
}

/// Waits until jobs have retried the receipt that failed and the one that was rate-limited.
async fn wait_for_retries(app: &App, store: StoreId) -> Result<Vec<OrderState>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let states = order_states(app, store, 100).await?;
        let of = |receipt: &str| states.iter().find(|state| state.receipt == receipt);
        let is_retried = of(RECEIPTS[1]).is_some_and(|state| state.failed_attempt >= 1)
            && of(RECEIPTS[2]).is_some_and(|state| state.attempt >= 2);
        if is_retried {
            return Ok(states);
        }
        if Instant::now() >= deadline {
            bail!(
                "no job retried the receipts within {} seconds",
                PATIENCE.as_secs()
            );
        }
        sleep(Duration::from_millis(100)).await;
    }
}

fn print_orders(answers: &[Value], states: &[OrderState]) {
    let mut rows = vec![["receipt", "import answered", "now", "retries", "why"].map(str::to_owned)];
    for (receipt, answer) in RECEIPTS.iter().zip(answers) {
        let Some(state) = states.iter().find(|state| state.receipt == *receipt) else {
            continue;
        };
        let first = match answer["success"].as_bool() {
            Some(true) => format!(
                "order, {} {}",
                answer["amount"],
                answer["currency"].as_str().unwrap_or_default()
            ),
            _ => answer["error"].as_str().unwrap_or_default().to_owned(),
        };
        // The import itself was the first time that it was rate-limited.
        let retries = state.failed_attempt + (state.attempt - 1).max(0);
        rows.push([
            (*receipt).to_owned(),
            first,
            state.status.to_string(),
            retries.to_string(),
            state.error_details.clone().unwrap_or_default(),
        ]);
    }
    say(&table(&rows));
}

/// The API, as a client sees it.
struct Api {
    http: reqwest::Client,
    base: String,
}

impl Api {
    async fn register_store(&self) -> Result<(Uuid, Uuid)> {
        let store = json!({
            "organizationId": "org-1",
            "marketplace": "etsy",
            "externalStoreId": "ext-100",
            "storeName": "My Etsy Store",
            "accessToken": "token-v1",
            "currency": "USD",
        });
        let answer = self.post("/stores/register", &store).await?;
        let id = |name: &str| {
            answer[name]
                .as_str()
                .and_then(|id| id.parse().ok())
                .context("the store has ids")
        };
        Ok((id("storeId")?, id("syncToken")?))
    }

    async fn import(&self, token: Uuid, receipt: &str) -> Result<Value> {
        self.post(
            "/orders/import",
            &json!({ "syncToken": token, "receipt": receipt }),
        )
        .await
    }

    /// Imports twenty receipts at once; tells how many are orders.
    async fn import_batch(&self, token: Uuid) -> Result<usize> {
        let receipts: Vec<String> = (201..=220)
            .map(|number| format!("order-{number}"))
            .collect();
        let body = json!({ "syncToken": token, "receipts": receipts });
        let answer = self.post("/orders/import/batch", &body).await?;
        let results = answer["results"]
            .as_array()
            .context("a batch has results")?;
        Ok(results
            .iter()
            .filter(|result| result["success"] == true)
            .count())
    }

    async fn status(&self, token: Uuid) -> Result<Value> {
        let url = format!("{}/stores/sync-status", self.base);
        let request = self.http.get(url).header("X-Sync-Token", token.to_string());
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let answer = self
            .http
            .post(format!("{}{path}", self.base))
            .json(body)
            .send()
            .await?;
        let status = answer.status();
        let body: Value = answer.json().await?;
        if !status.is_success() {
            bail!("{path} answered {status}: {body}");
        }
        Ok(body)
    }
}
