//! All settings, and how they are read.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use secrecy::{ExposeSecret, SecretString};

use super::reader::{Reader, environment};
use super::{
    AuthSettings, CallbackSettings, Listener, MockSettings, RateSettings, StockSettings,
    SyncSettings, WebhookSettings,
};
use crate::encryption::Keyring;
use crate::logs::LogFormat;
use crate::traces::TraceSettings;

/// Where the embedded profile keeps its data.
pub const DEFAULT_DATABASE_URL: &str = "sqlite:data/marketplace-sync.db";

/// Everything an operator can set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `DATABASE_URL`: PostgreSQL or SQLite.
    pub database_url: SecretString,
    /// `DATABASE_MAX_CONNECTIONS`: the size of the PostgreSQL pool of this process.
    pub database_max_connections: u32,
    /// `REDIS_URL`: the queue of the server profile.
    pub redis_url: Option<SecretString>,
    /// `QUEUE_PREFIX`: before every queue name and Redis key, for a Redis that is shared.
    pub queue_prefix: String,
    /// `HOST`, `PORT`: the public listener.
    pub public: Listener,
    /// `ADMIN_HOST`, `ADMIN_PORT`: the admin listener.
    pub admin: Listener,
    /// `METRICS_HOST`, `METRICS_PORT`: a listener for metrics alone; none without a port.
    pub metrics: Option<Listener>,
    /// `MAX_CONNECTIONS`: open connections of one listener.
    pub max_connections: usize,
    /// `MAX_CONNECTIONS_PER_IP`: those of one address; see [`Self::connections_per_address`].
    pub max_connections_per_address: Option<usize>,
    /// `MAX_REQUESTS`: requests to the API that are at work at the same time.
    pub max_requests: usize,
    /// `ADMIN_PASSWORD`: HTTP Basic, any user.
    pub admin_password: Option<SecretString>,
    /// `AUTH`, `API_KEYS`: who may call.
    pub auth: AuthSettings,
    /// How often they may.
    pub rates: RateSettings,
    /// `TOKEN_ENCRYPTION_KEY`: what stored secrets are encrypted with.
    pub encryption: Keyring,
    /// The mock marketplace and the client that calls it.
    pub mock: MockSettings,
    /// `MARKETPLACE_TIMEOUT_MS`: one marketplace call, connect and read.
    pub marketplace_timeout: Duration,
    /// Retries of orders.
    pub sync: SyncSettings,
    /// Deliveries of events.
    pub callback: CallbackSettings,
    /// Endpoints of subscribers.
    pub webhook: WebhookSettings,
    /// Quantities for marketplaces.
    pub stock: StockSettings,
    /// Where traces go.
    pub traces: TraceSettings,
    /// `LOG_FORMAT`: `json` or `pretty`.
    pub log_format: LogFormat,
    /// `RUST_LOG`: which log lines are written.
    pub log_filter: Option<String>,
    /// `SHUTDOWN_TIMEOUT_SECONDS`: how long running work may take to finish.
    pub shutdown_timeout: Duration,
}

impl Settings {
    /// Reads the environment and `.env`.
    pub fn from_environment() -> Result<Self> {
        match dotenvy::dotenv() {
            Ok(_) => {}
            Err(error) if error.not_found() => {}
            Err(error) => bail!("`.env` cannot be read: {error}"),
        }
        Self::from_lookup(&environment)
    }

    /// Reads settings from a function, for tests.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        Self::read(lookup).map_err(|error| one_line(&error))
    }

    fn read(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let read = Reader { lookup };
        let public = Listener {
            host: read.or("HOST", "127.0.0.1")?,
            port: read.or("PORT", "3000")?,
        };
        let loopback = public.is_loopback();
        let admin = Listener {
            host: read.or("ADMIN_HOST", "127.0.0.1")?,
            port: read.or("ADMIN_PORT", "3001")?,
        };
        let metrics = read.metrics()?;
        let (database_url, redis_url) = read.profile()?;
        let max_connections: usize = read.at_least("MAX_CONNECTIONS", "800", 1)?;
        let max_requests = max_connections.max(2).to_string();
        let settings = Self {
            database_url,
            database_max_connections: read.at_least("DATABASE_MAX_CONNECTIONS", "20", 2)?,
            redis_url,
            queue_prefix: read.or("QUEUE_PREFIX", "")?,
            max_connections,
            max_connections_per_address: read.maybe("MAX_CONNECTIONS_PER_IP")?,
            max_requests: read.at_least("MAX_REQUESTS", &max_requests, 2)?,
            auth: read.auth(loopback)?,
            rates: read.rates(loopback)?,
            encryption: read.encryption(&public)?,
            admin_password: read.text("ADMIN_PASSWORD").map(SecretString::from),
            mock: read.mock(loopback)?,
            marketplace_timeout: read.milliseconds("MARKETPLACE_TIMEOUT_MS", "10000")?,
            sync: read.sync()?,
            callback: read.callback()?,
            webhook: read.webhook(loopback)?,
            stock: read.stock()?,
            traces: read.traces()?,
            log_format: read.log_format()?,
            log_filter: read.text("RUST_LOG"),
            shutdown_timeout: read.seconds("SHUTDOWN_TIMEOUT_SECONDS", "30")?,
            public,
            admin,
            metrics,
        };
        if !settings.admin.is_loopback() && settings.admin_password.is_none() {
            bail!(
                "`ADMIN_PASSWORD` must be set: the admin listener ({}) is reachable from outside",
                settings.admin.host
            );
        }
        Ok(settings)
    }

    /// Open connections of one address at a listener; 0: no limit, which is the default where only
    /// this machine can connect.
    pub fn connections_per_address(&self, listener: &Listener) -> usize {
        let default = if listener.is_loopback() { 0 } else { 100 };
        self.max_connections_per_address.unwrap_or(default)
    }

    /// Whether this is the server profile.
    pub fn is_server_profile(&self) -> bool {
        !self.database_url.expose_secret().starts_with("sqlite:")
    }
}

/// An error may show a value, and a value may have line breaks.
fn one_line(error: &anyhow::Error) -> anyhow::Error {
    let text = format!("{error:#}");
    let letters = text.chars().map(|letter| {
        if letter.is_control() {
            letter.escape_default().to_string()
        } else {
            letter.to_string()
        }
    });
    anyhow!(letters.collect::<String>())
}
