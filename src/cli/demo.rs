//! `demo`: the whole service at work in one process, with nothing installed.
//!
//! It serves on a database in a temporary folder, registers a store over HTTP, subscribes a
//! receiver of its own to its events, imports receipts from the mock marketplace, and lets ticks
//! and jobs retry what failed or was rate-limited, with intervals of seconds instead of minutes.
//! Then it prints what happened and which events came, signed. With `--base-url` it is a client of
//! a service that runs already ([`Flow`]).

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use jobs::StoreId;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::client::{Client, id_in, ok};
use super::demo_stock;
use super::flow::{EVENTS, Flow};
use super::mock_webhook::{Received, Receiver, Rules, Signature};
use super::output::{say, table};
use crate::App;
use crate::admin::LogStream;
use crate::clock::Clock;
use crate::config::{self, Settings};
use crate::marketplace::{OrderState, order_states};
use crate::service::{Roles, Service, signal};

/// Whose store it is.
const ORGANIZATION: &str = "org-1";
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
    /// Show stock instead: two stores share a warehouse, and an order on one of them lowers what
    /// both marketplaces show.
    #[arg(long, conflicts_with = "base_url")]
    stock: bool,
    /// Send a first round of requests to the service at this address instead.
    ///
    /// Without one it is `BASE_URL` or `http://localhost:3000`. `ORG_ID`, `MARKETPLACE`,
    /// `EXTERNAL_STORE_ID`, `STORE_NAME`, `ACCESS_TOKEN`, `CURRENCY`, `WEBHOOK_URL`, `RECEIPTS` and
    /// `API_KEY` in the environment say what to send.
    #[arg(
        long,
        value_name = "URL",
        num_args = 0..=1,
        default_missing_value = "",
        conflicts_with = "exit"
    )]
    base_url: Option<String>,
}

impl Demo {
    /// Whether it is about a service that runs already.
    pub(super) fn is_client(&self) -> bool {
        self.base_url.is_some()
    }

    /// Sends a first round of requests to a running service.
    pub(super) async fn send(self) -> Result<ExitCode> {
        let url = self.base_url.filter(|url| !url.is_empty());
        let flow = Flow::from_lookup(url, &config::environment);
        flow.run().await?;
        Ok(ExitCode::SUCCESS)
    }

    pub(super) async fn run(self, settings: Settings, logs: LogStream) -> Result<ExitCode> {
        if self.stock {
            return demo_stock::run(settings, logs, self.exit).await;
        }
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
    let api = Api(Client::new(&format!("http://{public}"), None)?);
    say(&format!(
        "Swagger UI  http://{public}/docs\nBoard       http://{admin}/\n"
    ));

    let store = api.register_store().await?;
    say(&format!(
        "Registered store {} of {ORGANIZATION} on etsy.",
        store.0
    ));
    let receiver = Receiver::new(Rules::default(), Clock::system());
    let listening = receiver.serve(0).await?;
    api.subscribe(&receiver, &listening.url()).await?;
    say(&format!(
        "Subscribed {} to {}.",
        listening.url(),
        EVENTS.join(", ")
    ));
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
    say(&format!("\nGET /stores/sync-status → {status}\n"));
    check(&answers, &status)?;
    wait_for_events(&receiver, store.0).await
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

/// Waits until the events of a run came, signed, and prints what came until then.
async fn wait_for_events(receiver: &Receiver, store: Uuid) -> Result<()> {
    let store = store.to_string();
    let is_there = |received: &[Received], events: &[&str]| {
        received.iter().any(|it| {
            it.signature == Signature::Verified
                && it.body["storeId"] == store
                && events.iter().any(|event| it.body["event"] == *event)
        })
    };
    let came = receiver.wait_until(|received| {
        is_there(received, &["sync.started"])
            && is_there(received, &["sync.completed", "sync.failed"])
    });
    timeout(PATIENCE, came).await.map_err(|_| {
        anyhow!(
            "no run was announced within {} seconds; received: {:?}",
            PATIENCE.as_secs(),
            receiver.received()
        )
    })?;
    let mut rows = vec![["event", "id", "signature", "data"].map(str::to_owned)];
    for it in receiver.received() {
        rows.push([
            it.body["event"].as_str().unwrap_or_default().to_owned(),
            it.event_id.unwrap_or_default(),
            match it.signature {
                Signature::Verified => "verified",
                Signature::Unchecked => "unchecked",
                Signature::Refused => "refused",
            }
            .to_owned(),
            it.body["data"].to_string(),
        ]);
    }
    say(&table(&rows));
    Ok(())
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

/// What the demo asks of the API.
struct Api(Client);

impl Api {
    async fn register_store(&self) -> Result<(Uuid, Uuid)> {
        let store = json!({
            "organizationId": ORGANIZATION,
            "marketplace": "etsy",
            "externalStoreId": "ext-100",
            "storeName": "My Etsy Store",
            "accessToken": "token-v1",
            "currency": "USD",
        });
        let answer = self.post("/stores/register", &store).await?;
        Ok((id_in(&answer, "storeId")?, id_in(&answer, "syncToken")?))
    }

    /// Subscribes the receiver to every event, and tells it what they are signed with.
    async fn subscribe(&self, receiver: &Receiver, url: &str) -> Result<()> {
        for event in EVENTS {
            let webhook =
                json!({ "organizationId": ORGANIZATION, "event": event, "targetUrl": url });
            let answer = self.post("/webhooks/register", &webhook).await?;
            let secret = answer["secret"]
                .as_str()
                .context("a new webhook has a secret")?;
            receiver.trust(secret.parse()?);
        }
        Ok(())
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
        ok("/stores/sync-status", self.0.sync_status(token).await?)
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        ok(path, self.0.post(path, body).await?)
    }
}
