//! From the beginning of the transaction that records an event to the request at its endpoint,
//! one event at a time.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::Args;
use serde_json::json;
use tokio::time::sleep;

use super::place::{Place, Tenant};
use super::receiver::Receiver;
use super::report::{Report, Round};
use crate::App;
use crate::admin::LogStream;
use crate::ids::split_mix;
use crate::service::{Roles, Service};

/// Latency of events when the service has nothing else to do.
#[derive(Clone, Debug, Args)]
pub(super) struct Latency {
    /// Rounds, of each kind.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Events a round.
    #[arg(long, default_value_t = 300)]
    events: usize,
}

impl Latency {
    pub(super) async fn run(self, place: &Place) -> Result<Report> {
        let settings = place.settings()?;
        let receiver = Receiver::start().await?;
        let (mut together, mut apart) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            let everything = roles("api,worker,scheduler")?;
            let service = Service::start(settings.clone(), &everything, LogStream::new()).await?;
            together.push(self.round(&service.app, &receiver).await?);
            service.stop().await;

            let worker = roles("worker,scheduler")?;
            let worker = Service::start(settings.clone(), &worker, LogStream::new()).await?;
            // Connections and a queue of its own: all that another process would have.
            let app = Arc::new(App::connect(settings.clone(), None).await?);
            apart.push(self.round(&app, &receiver).await?);
            app.db.close().await;
            worker.stop().await;
        }
        let setup = json!({ "eventsARound": self.events, "load": "one event at a time" });
        let measured = vec![
            ("recorded by the process that delivers", together),
            ("recorded by another one", apart),
        ];
        Ok(Report::new("latency", place.profile(), setup, measured))
    }

    async fn round(&self, app: &App, receiver: &Receiver) -> Result<Round> {
        let tenant = Tenant::new(app, receiver.url("works")).await?;
        let mut latencies = Vec::new();
        let mut chance = 1;
        for _ in 0..self.events {
            let (id, started) = tenant.publish(app).await?;
            latencies.push(receiver.arrival(id).await? - started);
            // Anywhere between two looks of an idle worker.
            sleep(Duration::from_millis(20 + split_mix(&mut chance) % 80)).await;
        }
        tenant.leave(app).await?;
        Ok(latencies.into())
    }
}

fn roles(text: &str) -> Result<Roles> {
    text.parse().map_err(|error: String| anyhow!(error))
}
