//! How fast events are delivered: all that endpoints were owed, then a steady stream of new ones.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;
use sqlx::query_scalar;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::place::{Place, Tenant};
use super::receiver::Receiver;
use super::report::{Report, Round};
use super::stage::Stage;
use crate::App;
use crate::db::{on, sql};

/// Nothing takes as long as that.
const PATIENCE: Duration = Duration::from_mins(5);
const WARM_UP_SECONDS: u32 = 1;
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What is delivered.
#[derive(Clone, Debug, Args)]
pub(super) struct Callbacks {
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Endpoints, each of an organization of its own.
    #[arg(long, default_value_t = 40)]
    endpoints: usize,
    /// Events of a round, for all endpoints together.
    #[arg(long, default_value_t = 10_000)]
    events: usize,
    /// Events a second when they come steadily; half of what was delivered a second by default.
    #[arg(long, value_name = "EVENTS")]
    rate: Option<u32>,
    /// Length of the stream.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    seconds: u32,
}

impl Callbacks {
    pub(super) async fn run(self, place: &Place) -> Result<Report> {
        let receiver = Receiver::start().await?;
        let stage = Stage::set(place, "api,worker,scheduler", 0, 0).await?;
        let app = &stage.app;
        let mut tenants = Vec::new();
        for _ in 0..self.endpoints.max(1) {
            tenants.push(Tenant::new(app, receiver.url("works")).await?);
        }
        self.backlog(app, &tenants, &receiver).await?;
        let watch = stage.watch();
        let mut rounds = Vec::new();
        for _ in 0..self.rounds {
            rounds.push(self.backlog(app, &tenants, &receiver).await?);
        }
        let processes = watch.stop();
        let mut paces: Vec<u32> = rounds.iter().filter_map(Round::whole_per_second).collect();
        paces.sort_unstable();
        let median = paces.get(paces.len() / 2).copied().unwrap_or_default();
        let rate = self.rate.unwrap_or(median / 2).max(1);
        let stream = self.stream(app, Arc::new(tenants), &receiver, rate).await?;
        let setup = json!({
            "endpoints": self.endpoints,
            "eventsARound": self.events,
            "eventsASecondOfTheStream": rate,
        });
        let measured = vec![("events owed", rounds), ("a steady stream", vec![stream])];
        let report = Report::new("callbacks", place.profile(), setup, measured);
        Ok(report.with_processes(processes))
    }

    /// All that endpoints are owed when they come back.
    async fn backlog(&self, app: &App, tenants: &[Tenant], receiver: &Receiver) -> Result<Round> {
        let of_each = self.events / tenants.len();
        for tenant in tenants {
            tenant.owe(app, of_each).await?;
        }
        let before = receiver.count();
        let activated = Instant::now();
        for tenant in tenants {
            tenant.set_active(app, true).await?;
        }
        receiver
            .has_received(before + of_each * tenants.len())
            .await?;
        // They were not late before: the next tick brings the first.
        let started = receiver.first_since(activated.into_std());
        let started = started.map_or(activated, Instant::from_std);
        while pending(app).await? > 0 {
            if started.elapsed() > PATIENCE {
                bail!("{} events are still pending", pending(app).await?);
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(Round {
            done: of_each * tenants.len(),
            took: Some(started.elapsed()),
            latencies: Vec::new(),
        })
    }

    /// Events one after the other, at a rate that waits for nobody. The first second warms up: its
    /// connections are new.
    async fn stream(
        &self,
        app: &Arc<App>,
        tenants: Arc<Vec<Tenant>>,
        receiver: &Receiver,
        rate: u32,
    ) -> Result<Round> {
        let mut ticks = interval(Duration::from_secs(1) / rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut publishing = JoinSet::new();
        let warm = (rate * WARM_UP_SECONDS) as usize;
        for number in 0..warm + (rate * self.seconds) as usize {
            let due = ticks.tick().await;
            let (app, tenants) = (app.clone(), tenants.clone());
            publishing.spawn(async move {
                let tenant = &tenants[number % tenants.len()];
                let (id, _) = tenant.publish(&app).await?;
                Ok::<_, anyhow::Error>((number, id, due.into_std()))
            });
        }
        let mut latencies = Vec::new();
        while let Some(published) = publishing.join_next().await {
            let (number, id, due) = published.context("nobody recorded it")??;
            let arrival = receiver.arrival(id).await?;
            if number >= warm {
                latencies.push(arrival.saturating_duration_since(due));
            }
        }
        Ok(latencies.into())
    }
}

/// How many events somebody is owed, up to a hundred.
async fn pending(app: &App) -> Result<i64> {
    let mut tx = app.db.read().await?;
    let pending = on!(&mut tx, conn => query_scalar(sql!(
        "SELECT COUNT(*)
         FROM (SELECT 1 FROM callback_outbox WHERE status = 'pending' LIMIT 100) AS head"))
        .fetch_one(conn).await)?;
    tx.save().await?;
    Ok(pending)
}
