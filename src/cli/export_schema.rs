//! `export-schema`: the schema of the migrated database as SQL, for people and for a drift check.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use super::output::say;
use crate::app::{StartError, open_database};
use crate::config::Settings;

/// Write the schema of the migrated database as SQL.
#[derive(Debug, Args)]
pub(super) struct ExportSchema {
    /// Where to; `-` is stdout.
    #[arg(long, default_value = "schema.sql")]
    output: PathBuf,
}

impl ExportSchema {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        let db = open_database(settings).await.map_err(StartError::from)?;
        let schema = db.schema().await?;
        db.close().await;
        if self.output == Path::new("-") {
            say(schema.trim_end());
        } else {
            std::fs::write(&self.output, schema)
                .with_context(|| format!("cannot write {}", self.output.display()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
