//! The service that is measured: a process of its own, of this very program.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep};

use super::marketplace::{PASSWORD, USER};
use crate::tls::install_provider;

/// How long it may take to be ready.
const PATIENCE: Duration = Duration::from_secs(30);
/// Encrypts what it stores, as in production; a key of nobody.
pub(super) const KEY: &str = "YmVuY2htYXJrcyBhcmUgbm8gc2VjcmV0cywgYXQgYWw=";

/// Runs until it is dropped; then it is killed.
pub(super) struct Subject {
    process: Child,
    address: SocketAddr,
}

impl Subject {
    /// Starts `serve` with these settings and roles, and waits until it is ready.
    ///
    /// It logs as in production, to nowhere, and asks the marketplace at `marketplace`.
    pub(super) async fn start(
        settings: &BTreeMap<String, String>,
        roles: &str,
        marketplace: SocketAddr,
    ) -> Result<Self> {
        let address = free_address()?;
        let program = std::env::current_exe().context("this program is not a file")?;
        let mut command = Command::new(program);
        command
            .args(["serve", "--roles", roles])
            .env_clear()
            .env("RUST_LOG", "info")
            .envs(settings.iter().filter(|(name, _)| *name != "RUST_LOG"))
            .env("PORT", address.port().to_string())
            .env("MOCK_MARKETPLACE_ENABLED", "false")
            .env("MOCK_API_BASE_URL", format!("http://{marketplace}"))
            .env("MOCK_ETSY_USER", USER)
            .env("MOCK_ETSY_PASS", PASSWORD)
            .env("TOKEN_ENCRYPTION_KEY", KEY)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let process = command.spawn().context("the service does not start")?;
        let mut subject = Self { process, address };
        subject.is_ready().await?;
        Ok(subject)
    }

    /// Where its API is.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The id of its process.
    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where its API is, as the beginning of an address.
    pub(super) fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets it finish what runs.
    pub(super) fn stop(mut self) {
        let told = Command::new("kill").arg(self.pid().to_string()).status();
        if told.is_ok_and(|status| status.success()) {
            self.process.wait().ok();
        }
    }

    async fn is_ready(&mut self) -> Result<()> {
        install_provider();
        let client = reqwest::Client::builder().no_proxy().build()?;
        let url = format!("http://{}/health/ready", self.address);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait()? {
                bail!("the service ended at once: {status}");
            }
            let answer = client.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "the service is not ready after {} seconds",
                    PATIENCE.as_secs()
                );
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Of a port that was free a moment ago.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("there is no free port")?;
    Ok(listener.local_addr()?)
}
