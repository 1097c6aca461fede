//! `bench`: measures the service, so that anyone can do it again.
//!
//! | file | what |
//! |---|---|
//! | [`latency`] | from an event to its receiver, when there is nothing else to do |
//! | [`fairness`] | the same beside endpoints that hang or fail, with a backlog |
//! | [`soak`] | memory, sizes and latencies over minutes at half load |
//! | [`mod@place`] | a service and events of the measurement's own |
//! | [`receiver`] | who receives them, and when |
//! | [`report`] | figures over several rounds: a table on stderr, JSON on stdout |
//!
//! Everything is on the loopback interface: database, queue, service and receiver share the
//! processors of this machine.

mod fairness;
mod latency;
mod place;
mod receiver;
mod report;
mod soak;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use self::place::Place;
use super::output::{complain, say};
use crate::config::Settings;

/// Measure the service; a table on stderr, JSON on stdout.
///
/// The embedded profile has its data in a temporary folder. The server profile takes
/// `DATABASE_URL` and `REDIS_URL`; give it a database of its own, because what is measured stays
/// there. `CALLBACK_…` settings are taken from the environment.
#[derive(Debug, Args)]
pub(super) struct Bench {
    #[command(subcommand)]
    measurement: Measurement,
    /// Where to measure.
    #[arg(long, value_enum, default_value_t = Profile::Embedded, global = true)]
    profile: Profile,
}

/// Where to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Profile {
    /// SQLite, in a temporary folder.
    Embedded,
    /// PostgreSQL and Redis, as the environment says.
    Server,
}

#[derive(Debug, Subcommand)]
enum Measurement {
    /// Latency of an endpoint that works, alone and beside one that hangs and one that fails.
    Fairness(fairness::Fairness),
    /// Latency of events when the service has nothing else to do.
    Latency(latency::Latency),
    /// Memory, sizes and latencies over minutes at half load; fails when they drift.
    Soak(soak::Soak),
}

impl Bench {
    /// The settings of the services that are measured, with their data in a folder of the place.
    pub(super) fn settings(&self, place: &Place) -> Result<Settings> {
        Settings::for_bench(place.folder(), self.profile == Profile::Server)
    }

    pub(super) async fn run(self, settings: Settings) -> Result<ExitCode> {
        let report = match self.measurement {
            Measurement::Fairness(fairness) => fairness.run(self.profile, settings).await?,
            Measurement::Latency(latency) => latency.run(self.profile, settings).await?,
            Measurement::Soak(soak) => {
                let steadiness = soak.run(self.profile, &settings).await?;
                complain(&steadiness.table());
                say(&steadiness.json());
                return Ok(if steadiness.is_steady() {
                    ExitCode::SUCCESS
                } else {
                    ExitCode::FAILURE
                });
            }
        };
        complain(&report.table());
        say(&report.json());
        Ok(ExitCode::SUCCESS)
    }
}

/// A place for the data of a measurement.
pub(super) fn place() -> Result<Place> {
    Place::new()
}
