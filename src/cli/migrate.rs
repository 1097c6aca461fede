//! `migrate`: brings the schema up to date, the queue's tables included.

use std::process::ExitCode;

use anyhow::Result;

use super::output::say;
use crate::app::{StartError, open_database, open_queue};
use crate::config::Settings;
use crate::db::Db;

pub(super) async fn run(settings: &Settings) -> Result<ExitCode> {
    let db = open_database(settings).await.map_err(StartError::from)?;
    if matches!(db, Db::Sqlite { .. }) {
        open_queue(settings, &db).await.map_err(StartError::from)?;
    }
    db.close().await;
    say("the database is up to date");
    Ok(ExitCode::SUCCESS)
}
