//! `schedule sync`, `schedule callbacks`: one pass, for whoever brings an own cron.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use super::output::say;
use crate::App;
use crate::config::Settings;
use crate::{marketplace, webhooks};

/// Run one pass of a scheduler.
#[derive(Debug, Args)]
pub(super) struct ScheduleArguments {
    #[command(subcommand)]
    schedule: Schedule,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Schedule {
    /// Enqueue every store that has something due.
    Sync,
    /// Enqueue every event that somebody is due to hear of.
    Callbacks,
}

impl ScheduleArguments {
    /// Succeeds only when all that is due is waiting or running afterwards, or the queue is full.
    pub(super) async fn run(self, settings: Settings) -> Result<ExitCode> {
        let app = App::connect(settings, None).await?;
        let failed_jobs = match self.schedule {
            Schedule::Sync => {
                let pass = marketplace::enqueue_due_stores(&app).await?;
                print("scheduler_run", &pass);
                pass.failed_jobs
            }
            Schedule::Callbacks => {
                let pass = webhooks::enqueue_due_events(&app).await?;
                print("callback_scheduler_run", &pass);
                pass.failed_jobs
            }
        };
        app.db.close().await;
        Ok(if failed_jobs == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(super::UNAVAILABLE)
        })
    }
}

/// The log line of a pass.
fn print(event: &str, pass: &impl Serialize) {
    let mut line = json!({ "event": event });
    if let (Some(line), serde_json::Value::Object(pass)) = (line.as_object_mut(), json!(pass)) {
        line.extend(pass);
    }
    say(&line.to_string());
}
