//! `smoke`: the whole service, its parts apart from each other, shown to work in one command.
//!
//! API, worker and scheduler share nothing but the database and the queue, as if they were three
//! processes; intervals are seconds. It sends a first round of requests ([`Flow`]), holds the
//! answers against the rules of the mock marketplace, and waits for the signed events of a run.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::Client;
use super::flow::{Answers, Flow};
use super::mock_webhook::{Received, Receiver, Rules, Running, Signature};
use super::output::{complain, say};
use crate::admin::LogStream;
use crate::clock::Clock;
use crate::config::Settings;
use crate::ids::Ids;
use crate::logs::{self, ExtraLayer, LogFormat};
use crate::service::Service;

/// Start, work and end take at most so long.
const PATIENCE: Duration = Duration::from_secs(170);
/// What the log tells of a run and its deliveries.
const LOGGED: [&str; 5] = [
    "sync_store_batch",
    "job_completed",
    "callback_delivery",
    "callback_job_completed",
    "webhook_received",
];

/// Show that the service works: 0 if it does, 1 if not.
#[derive(Debug, Args)]
pub(super) struct Smoke {}

/// Where a smoke test keeps its data and its log.
pub(super) struct Place {
    folder: TempDir,
}

impl Place {
    pub(super) fn new() -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("marketplace-sync-smoke-")
            .tempdir()
            .context("the smoke test has no temporary folder")?;
        Ok(Self { folder })
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log.jsonl")
    }

    /// Writes every line to the log file, too.
    pub(super) fn log_layer(&self) -> Result<ExtraLayer> {
        let file = File::create(self.log()).context("the smoke test has no log file")?;
        Ok(logs::lines(LogFormat::Json, false, Arc::new(file)))
    }
}

impl Smoke {
    pub(super) async fn run(
        self,
        settings: Settings,
        place: Place,
        logs: LogStream,
    ) -> Result<ExitCode> {
        let shown = match tokio::time::timeout(PATIENCE, show(settings, &place.log(), &logs)).await
        {
            Ok(shown) => shown,
            Err(_) => Err(anyhow::anyhow!(
                "it took longer than {} seconds",
                PATIENCE.as_secs()
            )),
        };
        if let Err(error) = shown {
            let folder = place.folder.keep();
            let kept = folder.join("log.jsonl");
            complain(&format!("smoke: {error:#}; the log is {}", kept.display()));
            return Ok(ExitCode::FAILURE);
        }
        say("smoke: everything works");
        Ok(ExitCode::SUCCESS)
    }
}

/// The parts of the service, each with its own connections.
struct Parts {
    api: Service,
    worker: Service,
    scheduler: Service,
    base_url: String,
}

impl Parts {
    async fn start(mut settings: Settings, logs: &LogStream) -> Result<Self> {
        let api = start("api", &settings, logs).await?;
        let address = api.public.context("the API has an address")?;
        let base_url = format!("http://{address}");
        settings.mock.base_url = Some(base_url.parse()?);
        Ok(Self {
            api,
            worker: start("worker", &settings, logs).await?,
            scheduler: start("scheduler", &settings, logs).await?,
            base_url,
        })
    }

    async fn stop(self) {
        self.scheduler.stop().await;
        self.worker.stop().await;
        self.api.stop().await;
    }
}

async fn start(role: &str, settings: &Settings, logs: &LogStream) -> Result<Service> {
    let roles = role.parse().map_err(anyhow::Error::msg)?;
    Service::start(settings.clone(), &roles, logs.clone()).await
}

async fn show(settings: Settings, log: &Path, logs: &LogStream) -> Result<()> {
    let parts = Parts::start(settings, logs).await?;
    let receiver = Receiver::new(Rules::default(), Clock::system());
    let listening = receiver.serve(0).await?;
    let shown = exercise(&parts.base_url, &receiver, &listening).await;
    parts.stop().await;
    shown?;
    let log = std::fs::read_to_string(log).context("the log cannot be read")?;
    for event in LOGGED {
        let part = format!("\"event\":\"{event}\"");
        ensure!(log.contains(&part), "nothing logged `{event}`");
    }
    Ok(())
}

async fn exercise(base_url: &str, receiver: &Receiver, listening: &Running) -> Result<()> {
    let client = Client::new(base_url, None)?;
    let (status, body) = client.get("/health/ready").await?;
    ensure!(status.is_success(), "the service is not ready: {body}");
    // An organization of its own: the database may have been here before.
    let id = Ids::system().new_id(Clock::system().now());
    let flow = Flow {
        organization_id: format!("smoke-{id}"),
        webhook_url: listening.url(),
        ..Flow::from_lookup(Some(base_url.to_owned()), &|_| None)
    };
    let first = flow.run().await?;
    check(&first)?;
    for webhook in &first.registered {
        let secret = webhook["secret"]
            .as_str()
            .context("a webhook has a secret")?;
        receiver.trust(secret.parse()?);
    }
    let again = flow.run().await?;
    ensure!(
        comparable(again) == comparable(first.clone()),
        "the second round was answered differently"
    );
    say("Waiting for the signed events of a run …");
    let store = first.store_id.to_string();
    receiver
        .wait_until(|received| {
            ["sync.started", "sync.completed"]
                .iter()
                .all(|event| received.iter().any(|it| is_verified(it, event, &store)))
        })
        .await;
    Ok(())
}

fn is_verified(received: &Received, event: &str, store: &str) -> bool {
    received.signature == Signature::Verified
        && received.status == 200
        && received.body["event"] == event
        && received.body["storeId"] == store
}

/// Holds the first round against what the mock marketplace's rules make of it.
fn check(answers: &Answers) -> Result<()> {
    let order = &answers.imports[0];
    let rest = [json!("invalid_receipt"), json!("rate_limited")];
    ensure!(
        order["success"] == true
            && order["amount"].as_f64() == Some(741.0)
            && order["orderId"] == "e89662f3-1d12cc5e6-2b9c328d9-3a2598bcc-00048aefeebf"
            && answers.imports[1..].iter().map(|it| &it["error"]).eq(&rest),
        "the imports answered {:?}",
        answers.imports
    );
    let status = &answers.status;
    ensure!(
        status["syncStatus"] == "partial"
            && status["importedOrders"] == 1
            && status["rateLimitedCount"] == 1,
        "the store's status is {status}"
    );
    match answers.webhooks.as_array() {
        Some(webhooks) if webhooks.len() == 3 => Ok(()),
        _ => bail!("the webhooks are {}", answers.webhooks),
    }
}

/// What two rounds have in common: a secret is shown once, and retries go on in between.
fn comparable(mut answers: Answers) -> Answers {
    if let Some(status) = answers.status.as_object_mut() {
        status.remove("lastSyncAt");
    }
    let webhooks = answers.registered.iter_mut();
    for webhook in webhooks.filter_map(Value::as_object_mut) {
        webhook.remove("secret");
    }
    answers
}
