//! `keys revoke`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;

use crate::app::{StartError, open_database};
use crate::cli::output::say;
use crate::clock::Clock;
use crate::config::Settings;
use crate::keys::{KeyId, revoke_key};

/// Revoke an API key: it opens nothing from now on.
#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// Of the key, as `keys list` prints it.
    id: KeyId,
}

impl Revoke {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        let db = open_database(settings).await.map_err(StartError::from)?;
        let now = Clock::system().now();
        let revoked = revoke_key(&db, self.id, now).await?;
        db.close().await;
        let Some(key) = revoked else {
            bail!("there is no API key {}", self.id);
        };
        let mut line = json!(key);
        line["state"] = json!(key.state(now));
        say(&line.to_string());
        Ok(ExitCode::SUCCESS)
    }
}
