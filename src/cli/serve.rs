//! `serve`: the service, until a signal ends it.

use std::pin::pin;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use tracing::info;

use crate::admin::LogStream;
use crate::config::Settings;
use crate::service::{Roles, Service, signal};

/// Serve the API and the board, run jobs and ticks.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Which parts this process runs: api, worker, scheduler.
    #[arg(long, default_value = "api,worker,scheduler")]
    pub(super) roles: Roles,
}

impl Serve {
    pub(super) async fn run(self, settings: Settings, logs: LogStream) -> Result<ExitCode> {
        // One look-out for the whole time: a signal between start and run must not be missed.
        let mut told = pin!(signal());
        let service = tokio::select! {
            service = Service::start_in_time(settings, &self.roles, logs) => service?,
            () = &mut told => {
                info!(event = "stopped", "stopped before everything was there");
                return Ok(ExitCode::SUCCESS);
            }
        };
        service.run_until(told).await?;
        Ok(ExitCode::SUCCESS)
    }
}
