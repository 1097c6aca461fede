//! `keys list`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::name;
use crate::app::{StartError, open_database};
use crate::cli::output::say;
use crate::clock::Clock;
use crate::config::Settings;
use crate::keys::list_keys;

/// Print a JSON line for each API key, without the key.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Only those of this organization.
    #[arg(long, value_name = "ORG", value_parser = name)]
    organization: Option<String>,
}

impl List {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        let db = open_database(settings).await.map_err(StartError::from)?;
        let keys = list_keys(&db, self.organization.as_deref()).await?;
        db.close().await;
        let now = Clock::system().now();
        for key in keys {
            let mut line = json!(key);
            line["state"] = json!(key.state(now));
            say(&line.to_string());
        }
        Ok(ExitCode::SUCCESS)
    }
}
