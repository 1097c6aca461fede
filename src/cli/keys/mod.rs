//! `keys`: API keys of organizations, and the keys that stored secrets are encrypted with.

mod create;
mod list;
mod revoke;
mod rotate_encryption;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::config::Settings;

/// Make, list and revoke API keys; encrypt stored secrets with another key.
#[derive(Debug, Args)]
pub(super) struct Keys {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make an API key of an organization and print it, as JSON; it is shown only once.
    Create(create::Create),
    /// Print a JSON line for each API key, without the key.
    List(list::List),
    /// Revoke an API key: it opens nothing from now on.
    Revoke(revoke::Revoke),
    /// Encrypt stored secrets with the first key of `TOKEN_ENCRYPTION_KEY`; print what was done.
    RotateEncryption,
}

impl Keys {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        match self.action {
            Action::Create(command) => command.run(settings).await,
            Action::List(command) => command.run(settings).await,
            Action::Revoke(command) => command.run(settings).await,
            Action::RotateEncryption => rotate_encryption::run(settings).await,
        }
    }
}

/// Reads the name of an organization, or of a key: what the API would take as well.
fn name(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if !(1..=255).contains(&length) {
        return Err("it must have 1 to 255 characters".to_owned());
    }
    if text.contains('\0') {
        return Err("it must not contain U+0000".to_owned());
    }
    Ok(text.to_owned())
}
