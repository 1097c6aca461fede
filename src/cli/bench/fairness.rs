//! What an endpoint that works notices of one that hangs and one that always fails.
//!
//! Events for the endpoint that works are recorded at a steady rate, first while the two others are
//! inactive, then while they are owed their backlog, which the next tick finds. Both take the same
//! time, one after the other, several rounds long.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::place::{Place, Tenant};
use super::receiver::Receiver;
use super::report::{Report, Round};
use crate::App;
use crate::admin::LogStream;
use crate::service::{Roles, Service};

/// Latency of an endpoint that works, alone and beside one that hangs and one that fails.
#[derive(Clone, Debug, Args)]
pub(super) struct Fairness {
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of each half of a round; several ticks long.
    #[arg(long, value_name = "SECONDS", default_value_t = 40)]
    seconds: u32,
    /// Events a second for the endpoint that works.
    #[arg(long, value_name = "EVENTS", default_value_t = 20)]
    rate: u32,
    /// Events that each of the others is owed.
    #[arg(long, value_name = "EVENTS", default_value_t = 5000)]
    backlog: usize,
}

impl Fairness {
    pub(super) async fn run(self, place: &Place) -> Result<Report> {
        let settings = place.settings()?;
        let receiver = Receiver::start().await?;
        let timeout = settings.callback.timeout;
        let cron = settings.callback.cron.clone();
        let service = Service::start(settings, &Roles::all(), LogStream::new()).await?;
        let app = &service.app;
        let tenant = Tenant::new(app, receiver.url("works")).await?;
        let (mut alone, mut beside) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            let hanging = Tenant::new(app, receiver.url("hangs")).await?;
            let failing = Tenant::new(app, receiver.url("fails")).await?;
            for bad in [&hanging, &failing] {
                bad.owe(app, self.backlog).await?;
            }
            // What was written for it is the same for both halves.
            alone.push(self.half(app, &tenant, &receiver).await?);
            for bad in [&hanging, &failing] {
                bad.set_active(app, true).await?;
            }
            beside.push(self.half(app, &tenant, &receiver).await?);
            for bad in [hanging, failing] {
                bad.leave(app).await?;
            }
            // Until the last requests to the one that hangs have ended.
            sleep(timeout + Duration::from_secs(1)).await;
        }
        tenant.leave(app).await?;
        service.stop().await;
        let setup = json!({
            "secondsAHalf": self.seconds,
            "eventsASecond": self.rate,
            "backlogOfEach": self.backlog,
            "callbackCron": cron,
        });
        let measured = vec![("alone", alone), ("beside the others", beside)];
        Ok(Report::new("fairness", place.profile(), setup, measured).with_ratio())
    }

    /// Latencies of the endpoint that works, at a rate that does not wait for anybody.
    async fn half(&self, app: &App, tenant: &Tenant, receiver: &Receiver) -> Result<Round> {
        let mut ticks = interval(Duration::from_secs(1) / self.rate.max(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut published = Vec::new();
        for _ in 0..self.seconds * self.rate {
            let due = ticks.tick().await;
            let (id, _) = tenant.publish(app).await?;
            published.push((id, due.into_std()));
        }
        let mut latencies = Vec::new();
        for (id, due) in published {
            latencies.push(receiver.arrival(id).await?.saturating_duration_since(due));
        }
        Ok(latencies.into())
    }
}
