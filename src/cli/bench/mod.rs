//! `bench`: measures the service, so that anyone can do it again.
//!
//! | file | what |
//! |---|---|
//! | [`throughput`] | what the API takes: imports, known receipts, batches, looks at stores |
//! | [`drain`] | how fast due receipts are worked off |
//! | [`callbacks`] | how fast events are delivered |
//! | [`no_op`] | what the queue itself takes |
//! | [`stock`] | quantities that are due, computed, reserved and told to a marketplace |
//! | [`scale`] | all of that with a long history, beside a short one |
//! | [`latency`] | from an event to its receiver, when there is nothing else to do |
//! | [`fairness`] | the same beside endpoints that hang or fail, with a backlog |
//! | [`soak`] | memory, sizes and latencies over minutes at half load |
//! | [`compare`] | two reports side by side |
//! | [`mod@place`], [`stage`] | settings, a service as a process of its own, stores, a history |
//! | [`load`], [`marketplace`], [`receiver`] | who asks, who is asked, who is told |
//! | [`report`], [`usage`] | figures over several rounds: a table on stderr, JSON on stdout |
//!
//! Everything is on the loopback interface: database, queue, service, load and receivers share the
//! processors of this machine.

mod callbacks;
mod compare;
mod drain;
mod fairness;
mod history;
mod latency;
mod load;
mod loopback;
mod marketplace;
mod no_op;
mod place;
mod receiver;
mod report;
mod scale;
mod soak;
mod stage;
mod stock;
mod subject;
mod throughput;
mod usage;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use self::place::Place;
use self::report::Report;
use self::throughput::Question;
use super::output::{complain, say};
use crate::config::Settings;
use crate::service::signal;

/// What a shell says of a process that a signal ended.
const INTERRUPTED: u8 = 130;

/// Measure the service; a table on stderr, JSON on stdout, a line a report.
///
/// The embedded profile has its data in a temporary folder. The server profile takes
/// `DATABASE_URL` and `REDIS_URL`; give it a database of its own, because what is measured stays
/// there. `CALLBACK_…` and `SYNC_…` settings are taken from the environment.
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

#[derive(Clone, Debug, Subcommand)]
enum Measurement {
    /// Imports of receipts that nobody has seen.
    Import(throughput::Throughput),
    /// Imports of receipts that are known.
    Replay(throughput::Throughput),
    /// Looks at how a store is doing.
    Status(throughput::Throughput),
    /// Imports of new receipts in batches.
    Batch(throughput::Throughput),
    /// Due receipts of many stores, worked off by jobs.
    Drain(drain::Drain),
    /// Due receipts of one store: as many as `drain` has in all.
    DrainOne(drain::Drain),
    /// Events delivered to webhooks.
    Callbacks(callbacks::Callbacks),
    /// Jobs that do nothing.
    Jobs(no_op::NoOp),
    /// All of the above, one after the other.
    All(scale::All),
    /// All of the above, without and with a long history.
    Scale(scale::Scale),
    /// Latency of an endpoint that works, alone and beside one that hangs and one that fails.
    Fairness(fairness::Fairness),
    /// Latency of events when the service has nothing else to do.
    Latency(latency::Latency),
    /// Memory, sizes and latencies over minutes at half load; fails when they drift.
    Soak(soak::Soak),
    /// Quantities that wait, told to a marketplace, and orders that reserve.
    Stock(stock::Stock),
    /// Compare two reports.
    Compare(compare::Compare),
}

impl Measurement {
    /// Measures, and tells what came of it as soon as it is there.
    async fn run(self, place: &Place) -> Result<Ending> {
        let report = match self {
            Self::Import(asked) => asked.run(place, Question::Import).await?,
            Self::Replay(asked) => asked.run(place, Question::Replay).await?,
            Self::Status(asked) => asked.run(place, Question::Status).await?,
            Self::Batch(asked) => asked.run(place, Question::Batch).await?,
            Self::Drain(drain) => drain.run(place).await?,
            Self::DrainOne(drain) => drain.of_one().run(place).await?,
            Self::Callbacks(callbacks) => callbacks.run(place).await?,
            Self::Jobs(jobs) => jobs.run(place).await?,
            Self::Fairness(fairness) => fairness.run(place).await?,
            Self::Latency(latency) => latency.run(place).await?,
            Self::All(all) => return all.run(place).await.map(Ending::Measured),
            Self::Scale(scale) => return scale.run(place).await.map(Ending::Measured),
            Self::Stock(stock) => return stock.run(place).await.map(Ending::Measured),
            Self::Soak(soak) => {
                let steadiness = soak.run(place).await?;
                complain(&steadiness.table());
                say(&steadiness.json());
                return Ok(Ending::of(steadiness.is_steady()));
            }
            Self::Compare(compare) => {
                say(&compare.table()?);
                return Ok(Ending::Measured(Vec::new()));
            }
        };
        complain(&format!("{}\n", report.table()));
        say(&report.json());
        Ok(Ending::Measured(vec![report]))
    }
}

/// What a measurement came to.
enum Ending {
    /// Figures.
    Measured(Vec<Report>),
    /// Something that must not be.
    Failed,
}

impl Ending {
    fn of(is_good: bool) -> Self {
        if is_good {
            Self::Measured(Vec::new())
        } else {
            Self::Failed
        }
    }
}

impl Bench {
    /// A place for the data of a measurement.
    pub(super) fn place(&self) -> Result<Place> {
        Place::new(self.profile)
    }

    /// The settings that logs are written by.
    pub(super) fn settings(&self, place: &Place) -> Result<Settings> {
        match self.measurement {
            Measurement::Compare(_) => Settings::for_tool(),
            _ => place.settings(),
        }
    }

    pub(super) async fn run(self, place: Place) -> Result<ExitCode> {
        tokio::select! {
            ending = self.measurement.run(&place) => match ending? {
                Ending::Measured(_) => Ok(ExitCode::SUCCESS),
                Ending::Failed => Ok(ExitCode::FAILURE),
            },
            () = signal() => Ok(ExitCode::from(INTERRUPTED)),
        }
    }
}
