//! Every measurement, one after the other; and all of them again with a history behind them.

use anyhow::Result;
use clap::Parser;

use super::place::Place;
use super::report::Report;
use super::stage::Stage;
use super::{Ending, Measurement};
use crate::cli::output::complain;

/// What `all` measures, with its defaults.
const ALL: [&str; 8] = [
    "import",
    "replay",
    "status",
    "batch",
    "drain",
    "drain-one",
    "callbacks",
    "jobs",
];
/// Receipts and stores of the long history; it has a tenth as many events.
const ROWS: u64 = 10_000_000;
const STORES: usize = 10_000;

/// All measurements.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct All {
    /// Rounds of each.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// All measurements, on a short history and on a long one.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Scale {
    #[command(flatten)]
    all: All,
    /// Receipts of the long history.
    #[arg(long, default_value_t = ROWS)]
    rows: u64,
    /// Stores of the long history.
    #[arg(long, default_value_t = STORES)]
    stores: usize,
}

/// A measurement, as the command line has it.
#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    measurement: Measurement,
}

impl All {
    pub(super) async fn run(&self, place: &Place) -> Result<Vec<Report>> {
        let rounds = self.rounds.to_string();
        let mut reports = Vec::new();
        for name in ALL {
            let line = Line::try_parse_from(["bench", name, "--rounds", &rounds])?;
            // Boxed, because one of the measurements is this one.
            if let Ending::Measured(measured) = Box::pin(line.measurement.run(place)).await? {
                reports.extend(measured);
            }
        }
        Ok(reports)
    }
}

impl Scale {
    pub(super) async fn run(&self, place: &Place) -> Result<Vec<Report>> {
        let mut reports = self.all.run(place).await?;
        drop(Stage::set(place, "api", self.stores, self.rows).await?);
        complain(&format!("with {} receipts of the past:\n", self.rows));
        let long = self.all.run(place).await?;
        for (short, long) in reports.iter().zip(&long) {
            complain(&short.compared_with(long));
        }
        reports.extend(long);
        Ok(reports)
    }
}
