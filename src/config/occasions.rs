//! What the demo, the smoke test and the tools set by themselves.

use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Settings, environment};

impl Settings {
    /// Settings of the demo: everything embedded, in `folder`, with retries after seconds. Ports
    /// and logs are taken from the environment.
    pub fn for_demo(folder: &Path) -> Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).context("there are no random bits")?;
        let key = STANDARD.encode(key);
        let database_url = format!("sqlite:{}", folder.join("demo.db").display());
        Self::from_lookup(&|name| match name {
            "DATABASE_URL" => Some(database_url.clone()),
            "SYNC_CRON" | "CALLBACK_CRON" => Some("* * * * * *".to_owned()),
            "SYNC_THROTTLE_SECONDS" => Some("0".to_owned()),
            "SYNC_BACKOFF_BASE_SECONDS" => Some("2".to_owned()),
            "CALLBACK_BACKOFF_SECONDS" => Some("1,2".to_owned()),
            "TOKEN_ENCRYPTION_KEY" => Some(key.clone()),
            "PORT" | "ADMIN_PORT" | "LOG_FORMAT" => environment(name),
            "RUST_LOG" => environment(name).or_else(|| Some("warn".to_owned())),
            _ => None,
        })
    }

    /// Settings of the smoke test: a database in `folder` and free ports, unless the environment
    /// names servers, and retries after seconds.
    pub fn for_smoke(folder: &Path) -> Result<Self> {
        let database_url = format!("sqlite:{}", folder.join("smoke.db").display());
        Self::from_lookup(&|name| match name {
            "DATABASE_URL" => environment(name).or_else(|| Some(database_url.clone())),
            "SYNC_CRON" | "CALLBACK_CRON" => Some("* * * * * *".to_owned()),
            "PORT" | "ADMIN_PORT" | "SYNC_THROTTLE_SECONDS" => Some("0".to_owned()),
            "SYNC_BACKOFF_BASE_SECONDS" => Some("2".to_owned()),
            "CALLBACK_BACKOFF_SECONDS" => Some("1,2".to_owned()),
            "REDIS_URL" | "QUEUE_PREFIX" | "TOKEN_ENCRYPTION_KEY" | "LOG_FORMAT" | "RUST_LOG" => {
                environment(name)
            }
            _ => None,
        })
    }

    /// Settings of a command that is no service: only those of its logs are read.
    pub fn for_tool() -> Result<Self> {
        Self::from_lookup(&|name| match name {
            "LOG_FORMAT" | "RUST_LOG" => environment(name),
            _ => None,
        })
    }
}
