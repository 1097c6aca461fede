//! `reconcile`: finds stores whose success count differs from their rows.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::output::say;
use crate::app::{StartError, open_database};
use crate::clock::Clock;
use crate::config::Settings;
use crate::marketplace;

/// Compare the success counts of stores with their rows.
#[derive(Debug, Args)]
pub(super) struct Reconcile {
    /// Set the counts to the rows.
    #[arg(long)]
    fix: bool,
}

impl Reconcile {
    /// Prints a JSON line for each store that is off; fails when one is left that way.
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        let db = open_database(settings).await.map_err(StartError::from)?;
        let drifts = marketplace::reconcile(&db, &Clock::system(), self.fix).await?;
        db.close().await;
        for drift in &drifts {
            say(&serde_json::to_string(drift)?);
        }
        let is_clean = drifts.iter().all(|drift| drift.is_fixed);
        Ok(if is_clean {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
