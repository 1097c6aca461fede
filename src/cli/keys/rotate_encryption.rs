//! `keys rotate-encryption`.

use std::process::ExitCode;

use anyhow::Result;

use crate::app::{StartError, open_database};
use crate::cli::bad_setting;
use crate::cli::output::say;
use crate::clock::Clock;
use crate::config::Settings;
use crate::db::DbError;
use crate::encryption::{check_keys, rotate_secrets};

/// Encrypts what is stored with the first key, and prints what it did as JSON; its progress is in
/// the log. Fails when something cannot be read: it stays as it is.
pub(super) async fn run(settings: &Settings) -> Result<ExitCode> {
    let keyring = &settings.encryption;
    let db = open_database(settings).await.map_err(StartError::from)?;
    let checked = check_keys(&db, keyring).await.map_err(DbError::from)?;
    checked.map_err(StartError::MissingKey)?;
    let rotated = rotate_secrets(&db, keyring, &Clock::system()).await?;
    let rotation = rotated.map_err(|error| bad_setting(error.into()))?;
    db.close().await;
    say(&serde_json::to_string(&rotation)?);
    Ok(if rotation.unreadable == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
