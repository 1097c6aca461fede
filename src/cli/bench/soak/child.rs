//! The service that is watched, in a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{self, Command, Stdio};
use std::thread;

use anyhow::{Context, Result};
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::sync::oneshot;

use super::world::World;
use crate::config::Settings;

/// `serve`, with everything in one process. Dropped, it kills it.
pub(super) struct Child {
    process: process::Child,
    address: SocketAddr,
}

impl Child {
    /// Starts it, and waits until it serves.
    pub(super) async fn start(settings: &Settings, world: &World) -> Result<Self> {
        let redis = settings.redis_url.as_ref();
        let redis = redis.map(|url| ("REDIS_URL", url.expose_secret().to_owned()));
        let connections = settings.database_max_connections.to_string();
        let mut process = Command::new(std::env::current_exe()?)
            .arg("serve")
            // Settings of whoever measures are not of the service that is measured.
            .env_clear()
            .env("DATABASE_URL", settings.database_url.expose_secret())
            .env("DATABASE_MAX_CONNECTIONS", connections)
            .env("QUEUE_PREFIX", &settings.queue_prefix)
            .envs(redis)
            .env("MOCK_API_BASE_URL", world.url(""))
            .envs([
                ("PORT", "0"),
                ("ADMIN_PORT", "0"),
                ("LOG_FORMAT", "json"),
                ("RATE_LIMIT_PER_KEY", "0"),
                ("RATE_LIMIT_PER_IP", "0"),
                ("SYNC_CRON", "* * * * * *"),
                ("SYNC_THROTTLE_SECONDS", "0"),
                ("SYNC_BACKOFF_BASE_SECONDS", "1"),
                ("SYNC_BACKOFF_MAX_SECONDS", "1"),
                ("CALLBACK_CRON", "* * * * * *"),
                ("CALLBACK_BACKOFF_SECONDS", "1"),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("the service does not start")?;
        let log = process.stdout.take().context("it has an output")?;
        let (found, address) = oneshot::channel();
        thread::spawn(move || read(log, found));
        let address = address.await.context("the service ended at once")?;
        Ok(Self { process, address })
    }

    pub(super) fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Lets it finish what runs.
    pub(super) fn stop(mut self) {
        let id = self.id().to_string();
        let told = Command::new("kill").arg(id).status();
        if told.is_ok_and(|status| status.success()) {
            let _ = self.process.wait();
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads a log to its end; tells where the API is when the service has started.
fn read(log: impl Read, found: oneshot::Sender<SocketAddr>) {
    let (mut found, mut address) = (Some(found), None);
    for line in BufReader::new(log).lines().map_while(Result::ok) {
        if found.is_none() {
            continue;
        }
        let line: Value = serde_json::from_str(&line).unwrap_or_default();
        if line["listener"] == "public" {
            address = line["address"].as_str().and_then(|text| text.parse().ok());
        }
        if line["event"] == "started"
            && let (Some(found), Some(address)) = (found.take(), address)
        {
            let _ = found.send(address);
        }
    }
}
