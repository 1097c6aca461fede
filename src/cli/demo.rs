//! placeholder
use std::process::ExitCode;
use anyhow::Result;
use clap::Args;
use crate::admin::LogStream;
use crate::config::Settings;
/// Show the whole thing at work, with nothing installed.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Leave when it is shown.
    #[arg(long)]
    exit: bool,
}
impl Demo {
    pub(super) async fn run(self, _settings: Settings, _logs: LogStream) -> Result<ExitCode> { Ok(ExitCode::SUCCESS) }
}
