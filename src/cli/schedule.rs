//! `schedule sync`: one pass, for whoever brings an own cron.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use super::output::say;
use crate::App;
use crate::config::Settings;
use crate::marketplace;

/// Run one pass of a scheduler.
#[derive(Debug, Args)]
pub(super) struct ScheduleArguments {
    #[command(subcommand)]
    schedule: Schedule,
}

#[derive(Debug, Subcommand)]
enum Schedule {
    /// Enqueue every store that has something due.
    Sync,
}

impl ScheduleArguments {
    /// Succeeds only when every due store is waiting or running afterwards, or the queue is full.
    pub(super) async fn run(self, settings: Settings) -> Result<ExitCode> {
        let Schedule::Sync = self.schedule;
        let app = App::connect(settings, None).await?;
        let pass = marketplace::enqueue_due_stores(&app).await?;
        app.db.close().await;
        let mut line = json!({ "event": "scheduler_run" });
        if let (Some(line), serde_json::Value::Object(pass)) = (line.as_object_mut(), json!(pass)) {
            line.extend(pass);
        }
        say(&line.to_string());
        Ok(if pass.failed_jobs == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(super::UNAVAILABLE)
        })
    }
}
