//! `keys create`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use chrono::TimeDelta;
use clap::Args;
use secrecy::ExposeSecret;
use serde_json::json;

use super::name;
use crate::app::{StartError, open_database};
use crate::cli::output::{complain, say};
use crate::clock::Clock;
use crate::config::Settings;
use crate::http::auth::Scope;
use crate::ids::Ids;
use crate::keys::{NewKey, create_key};

/// Make an API key of an organization and print it, as JSON; it is shown only once.
#[derive(Debug, Args)]
pub(super) struct Create {
    /// The organization it acts for, and no other.
    #[arg(long, value_name = "ORG", value_parser = name)]
    organization: String,
    /// What people call it.
    #[arg(long, value_parser = name)]
    name: Option<String>,
    /// What it may do; write includes read.
    #[arg(long, default_value = "write")]
    scope: Scope,
    /// Not valid after so many days; without it the key does not expire.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    expires_in_days: Option<u32>,
}

impl Create {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        let now = Clock::system().now();
        let expires_at = match self.expires_in_days {
            Some(days) => Some(
                now.checked_add_signed(TimeDelta::days(days.into()))
                    .context("there is no such day")?,
            ),
            None => None,
        };
        let new = NewKey {
            organization_id: self.organization,
            name: self.name,
            scope: self.scope,
            expires_at,
        };
        let db = open_database(settings).await.map_err(StartError::from)?;
        let (key, text) = create_key(&db, &Ids::system(), new, now).await?;
        db.close().await;
        let mut line = json!(key);
        line["key"] = json!(text.expose_secret());
        say(&line.to_string());
        complain("Keep `key`: it is not stored and will not be shown again.");
        Ok(ExitCode::SUCCESS)
    }
}
