//! `openapi`: prints the document of the API, every route included.

use std::process::ExitCode;

use anyhow::Result;

use super::output::say;
use crate::service::openapi_document;

pub(super) fn run() -> Result<ExitCode> {
    let document: serde_json::Value = serde_json::from_str(&openapi_document())?;
    say(&serde_json::to_string_pretty(&document)?);
    Ok(ExitCode::SUCCESS)
}
