//! `serve`: the service, until a signal ends it.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::admin::LogStream;
use crate::config::Settings;
use crate::service::{Roles, Service};

/// Serve the API and the board, run jobs and ticks.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Which parts this process runs: api, worker, scheduler.
    #[arg(long, default_value = "api,worker,scheduler")]
    pub(super) roles: Roles,
}

impl Serve {
    pub(super) async fn run(self, settings: Settings, logs: LogStream) -> Result<ExitCode> {
        let service = Service::start(settings, &self.roles, logs).await?;
        service.run_until_signal().await?;
        Ok(ExitCode::SUCCESS)
    }
}
