//! `openapi`: prints the document of the API, every route included.

use std::process::ExitCode;

use anyhow::Result;

use super::output::say;
use crate::http::auth::Access;
use crate::openapi;

pub(super) fn run() -> Result<ExitCode> {
    let document = openapi::document(&Access::by_key(Vec::new(), None), true);
    say(&serde_json::to_string_pretty(&document)?);
    Ok(ExitCode::SUCCESS)
}
