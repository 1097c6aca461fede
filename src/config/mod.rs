//! Every setting, its default and its meaning; the only reader of the environment.
//!
//! Settings are environment variables, also from a `.env` file in the working directory. A bad
//! one is one line that names it. Secrets are wrapped, so that printing [`Settings`] shows none.

#[cfg(test)]
mod fuzz;
mod reader;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use self::reader::Reader;
pub(crate) use self::reader::environment;
use crate::encryption::Keyring;
use crate::http::auth::ListedKey;
use crate::http::client::TrustedProxies;
use crate::logs::LogFormat;
use crate::marketplace::connector::Credentials;
use crate::marketplace::model::Marketplace;
use crate::retry::Backoff;
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
    /// Where traces go.
    pub traces: TraceSettings,
    /// `LOG_FORMAT`: `json` or `pretty`.
    pub log_format: LogFormat,
    /// `RUST_LOG`: which log lines are written.
    pub log_filter: Option<String>,
    /// `SHUTDOWN_TIMEOUT_SECONDS`: how long running work may take to finish.
    pub shutdown_timeout: Duration,
}

/// An address to listen on.
#[derive(Clone, Debug)]
pub struct Listener {
    /// A name or an address.
    pub host: String,
    /// 0 takes a free one.
    pub port: u16,
}

impl Listener {
    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self
                .host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }

    /// The address to bind.
    pub fn address(&self) -> Result<SocketAddr> {
        (self.host.as_str(), self.port)
            .to_socket_addrs()
            .ok()
            .and_then(|mut addresses| addresses.next())
            .ok_or_else(|| anyhow!("`{}` is not an address of this machine", self.host))
    }
}

/// Who may call.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    /// `AUTH`: whether a key is needed.
    pub mode: AuthMode,
    /// `API_KEYS`: keys that count beside the stored ones.
    pub listed: Vec<ListedKey>,
}

/// How often somebody may call.
#[derive(Clone, Debug)]
pub struct RateSettings {
    /// `RATE_LIMIT_PER_KEY`: requests a second of one API key or sync token; 0: no limit.
    pub per_key: u32,
    /// `RATE_LIMIT_PER_IP`: requests a second of one address; 0: no limit.
    pub per_address: u32,
    /// `TRUSTED_PROXIES`: whose `X-Forwarded-For` is believed.
    pub proxies: TrustedProxies,
}

/// Whether a key is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// No.
    Anonymous,
    /// No, until one is made: the default where only this machine can call.
    AnonymousWithoutKeys,
    /// Yes: the default elsewhere.
    Required,
}

/// The mock marketplace.
#[derive(Clone, Debug)]
pub struct MockSettings {
    /// `MOCK_MARKETPLACE_ENABLED`: whether its routes are served here.
    pub enabled: bool,
    /// `MOCK_API_BASE_URL`: where the client finds it; this server when unset.
    pub base_url: Option<Url>,
    /// `MOCK_<MARKETPLACE>_USER`, `MOCK_<MARKETPLACE>_PASS`.
    pub credentials: HashMap<Marketplace, Credentials>,
}

/// How orders are retried.
#[derive(Clone, Debug)]
pub struct SyncSettings {
    /// `SYNC_CRON`: when due stores are enqueued.
    pub cron: String,
    /// `SYNC_THROTTLE_SECONDS`: a store is not enqueued sooner after its last attempt.
    pub throttle: Duration,
    /// `SYNC_CHUNK_SIZE`: rows a batch.
    pub chunk_size: u32,
    /// `SYNC_ROW_CONCURRENCY`: marketplace calls in flight for one store.
    pub row_concurrency: usize,
    /// `SYNC_CONCURRENCY`: stores synced at a time by one process.
    pub concurrency: usize,
    /// `SYNC_BACKOFF_BASE_SECONDS`, `SYNC_BACKOFF_MAX_SECONDS`.
    pub backoff: Backoff,
    /// `SYNC_FAILED_MAX_ATTEMPTS`: after so many failures a row is a dead letter.
    pub failed_max_attempts: u32,
}

/// How events are delivered.
#[derive(Clone, Debug)]
pub struct CallbackSettings {
    /// `CALLBACK_CRON`: when due events are enqueued.
    pub cron: String,
    /// `CALLBACK_CONCURRENCY`: events delivered at a time by one process.
    pub concurrency: usize,
    /// `CALLBACK_BACKOFF_SECONDS`: the delay after each failure; the last one repeats.
    pub backoff: Vec<Duration>,
    /// `CALLBACK_MAX_ATTEMPTS`: after so many failures a delivery is a dead letter.
    pub max_attempts: u32,
    /// `CALLBACK_TIMEOUT_MS`: one request, from connecting to the end of what is read.
    pub timeout: Duration,
    /// `DEAD_LETTER_RETENTION_DAYS`: how long an event is kept that nobody took; none: for ever.
    pub dead_letters_kept: Option<TimeDelta>,
}

/// Where events may be sent to.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// `WEBHOOK_SECRET`: signs every event beside the endpoint's own secrets.
    pub secret: Option<SecretString>,
    /// `WEBHOOK_MAX_ENDPOINTS_PER_ORG`: active ones, over all events.
    pub max_endpoints_per_organization: u32,
    /// `WEBHOOK_ALLOW_PRIVATE_TARGETS`: whether addresses that only we can reach are allowed.
    pub allow_private_targets: bool,
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use super::*;

    /// Thirty-two bytes of zero.
    const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    fn settings(pairs: &[(&str, &str)]) -> Result<Settings> {
        Settings::from_lookup(&|name| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    /// The settings that are read, for each way to set the service up.
    fn names() -> BTreeSet<String> {
        let names = RefCell::new(BTreeSet::new());
        Settings::from_lookup(&|name| {
            names.borrow_mut().insert(name.to_owned());
            None
        })
        .unwrap();
        names.into_inner()
    }

    #[test]
    fn every_setting_is_in_the_example_file_and_in_the_readme_and_no_other() {
        let example = include_str!("../../.env.example");
        let in_example: BTreeSet<String> = example
            .lines()
            .filter_map(|line| line.trim_start_matches('#').split_once('='))
            .map(|(name, _)| name.to_owned())
            .filter(|name| {
                name.chars()
                    .all(|letter| letter.is_ascii_uppercase() || letter == '_')
            })
            .collect();
        assert_eq!(in_example, names());
        let readme = include_str!("../../README.md");
        let table = readme
            .split("## Settings")
            .nth(1)
            .unwrap()
            .split("\n## ")
            .next()
            .unwrap();
        for name in names() {
            assert!(table.contains(&format!("`{name}`")), "README lacks {name}");
        }
    }

    #[test]
    fn nothing_set_is_the_embedded_profile_on_loopback() {
        let settings = settings(&[]).unwrap();
        assert!(!settings.is_server_profile());
        assert!(settings.public.is_loopback());
        assert!(settings.mock.enabled);
        assert_eq!(settings.auth.mode, AuthMode::AnonymousWithoutKeys);
        assert_eq!(settings.mock.credentials.len(), Marketplace::ALL.len());
    }

    #[test]
    fn retries_of_deliveries_are_a_list_of_seconds() {
        let seconds = |pairs: &[(&str, &str)]| -> Vec<f64> {
            let delays = settings(pairs).unwrap().callback.backoff;
            delays.iter().map(Duration::as_secs_f64).collect()
        };
        insta::assert_compact_debug_snapshot!(seconds(&[]), @"[60.0, 300.0, 900.0]");
        let given = seconds(&[("CALLBACK_BACKOFF_SECONDS", "0.5, 2")]);
        insta::assert_compact_debug_snapshot!(given, @"[0.5, 2.0]");
    }

    #[test]
    fn private_targets_are_allowed_only_where_the_service_is_private() {
        let is_allowed = |pairs: &[(&str, &str)]| {
            let settings = settings(pairs).unwrap();
            settings.webhook.allow_private_targets
        };
        let public = [
            ("HOST", "0.0.0.0"),
            ("AUTH", "anonymous"),
            ("TOKEN_ENCRYPTION_KEY", KEY),
        ];
        assert!(is_allowed(&[]));
        assert!(!is_allowed(&public));
        assert!(is_allowed(&[
            public[0],
            public[1],
            public[2],
            ("WEBHOOK_ALLOW_PRIVATE_TARGETS", "true"),
        ]));
    }

    #[test]
    fn a_bad_setting_is_named() {
        for (name, value) in [
            ("PORT", "70000"),
            ("METRICS_PORT", "many"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
            ("SYNC_CHUNK_SIZE", "0"),
            ("SYNC_CRON", "whenever"),
            ("SYNC_CRON", "0 0 0 1 1 * 2020"),
            ("SYNC_THROTTLE_SECONDS", "-1"),
            ("SYNC_ROW_CONCURRENCY", "many"),
            ("AUTH", "perhaps"),
            ("API_KEYS", "nonsense"),
            ("RATE_LIMIT_PER_KEY", "-1"),
            ("RATE_LIMIT_PER_IP", "many"),
            ("TRUSTED_PROXIES", "10.0.0.0/99"),
            ("MAX_CONNECTIONS", "0"),
            ("MAX_REQUESTS", "1"),
            ("DEAD_LETTER_RETENTION_DAYS", "-1"),
            ("TOKEN_ENCRYPTION_KEY", "nonsense"),
            ("TOKEN_ENCRYPTION_KEY", "c2hvcnQ="),
            ("LOG_FORMAT", "xml"),
            ("MOCK_MARKETPLACE_ENABLED", "maybe"),
            ("MOCK_API_BASE_URL", "ftp://x"),
            ("DATABASE_URL", "mysql://x"),
            ("MARKETPLACE_TIMEOUT_MS", "0"),
            ("CALLBACK_CRON", "now"),
            ("CALLBACK_CONCURRENCY", "0"),
            ("CALLBACK_BACKOFF_SECONDS", "60,soon"),
            ("CALLBACK_BACKOFF_SECONDS", "60,,900"),
            ("CALLBACK_BACKOFF_SECONDS", "-1"),
            ("CALLBACK_MAX_ATTEMPTS", "0"),
            ("CALLBACK_TIMEOUT_MS", "0"),
            ("WEBHOOK_MAX_ENDPOINTS_PER_ORG", "0"),
            ("WEBHOOK_ALLOW_PRIVATE_TARGETS", "maybe"),
            ("LOG_FORMAT", "json\nor pretty"),
        ] {
            let error = settings(&[(name, value)]).unwrap_err();
            let text = format!("{error:#}");
            assert!(text.contains(name), "{name}={value}: {text}");
            assert!(!text.contains('\n'), "{name}={value} is one line: {text}");
        }
    }

    #[test]
    fn postgres_without_redis_is_refused_with_what_to_set() {
        let error = settings(&[("DATABASE_URL", "postgres://localhost/x")]).unwrap_err();
        assert!(error.to_string().contains("REDIS_URL"));
    }

    /// Settings that are fit for a public host as far as stored secrets go.
    fn encrypting(pairs: &[(&str, &str)]) -> Settings {
        let key = ("TOKEN_ENCRYPTION_KEY", KEY);
        settings(&[pairs, &[key]].concat()).unwrap()
    }

    #[test]
    fn a_key_is_needed_where_others_can_call_or_one_is_listed() {
        let mode = |pairs: &[(&str, &str)]| encrypting(pairs).auth.mode;
        let key = format!("org:{}", "0".repeat(64));
        let listed = ("API_KEYS", key.as_str());
        let (public, local) = (("HOST", "0.0.0.0"), ("HOST", "localhost"));
        assert_eq!(mode(&[local]), AuthMode::AnonymousWithoutKeys);
        assert_eq!(mode(&[public]), AuthMode::Required);
        assert_eq!(mode(&[listed]), AuthMode::Required);
        for host in [public, local] {
            assert_eq!(mode(&[host, ("AUTH", "required")]), AuthMode::Required);
            let anonymous = mode(&[host, listed, ("AUTH", "anonymous")]);
            assert_eq!(anonymous, AuthMode::Anonymous);
        }
    }

    #[test]
    fn calls_are_limited_where_others_can_call() {
        let rates = |pairs: &[(&str, &str)]| {
            let rates = encrypting(pairs).rates;
            (rates.per_key, rates.per_address)
        };
        let public = ("HOST", "0.0.0.0");
        assert_eq!(rates(&[]), (0, 0));
        assert_eq!(rates(&[public]), (100, 200));
        assert_eq!(rates(&[public, ("RATE_LIMIT_PER_IP", "0")]), (100, 0));
        assert_eq!(rates(&[("RATE_LIMIT_PER_KEY", "7")]), (7, 0));
    }

    #[test]
    fn a_public_admin_host_needs_a_password_and_a_public_host_shows_no_mock() {
        let error = settings(&[("ADMIN_HOST", "0.0.0.0")]).unwrap_err();
        assert!(error.to_string().contains("ADMIN_PASSWORD"));
        let open = [("HOST", "0.0.0.0"), ("AUTH", "anonymous")];
        let open = settings(&[open[0], open[1], ("TOKEN_ENCRYPTION_KEY", KEY)]).unwrap();
        assert!(
            !open.mock.enabled,
            "the mock is off where others can call it"
        );
        assert!(
            open.mock.credentials.is_empty(),
            "example credentials stay on loopback"
        );
    }

    #[test]
    fn secrets_may_be_stored_plain_only_where_nobody_else_can_call() {
        assert!(settings(&[]).unwrap().encryption.is_empty());
        let keys = format!("{KEY}, {}8=", &KEY[..42]);
        let two = settings(&[("TOKEN_ENCRYPTION_KEY", &keys)]).unwrap();
        assert_eq!(two.encryption.current().unwrap().to_string(), "66687aad");
        let public = [("HOST", "0.0.0.0"), ("AUTH", "anonymous")];
        let error = settings(&public).unwrap_err().to_string();
        assert!(
            error.contains("`TOKEN_ENCRYPTION_KEY` must be set"),
            "{error}"
        );
        assert!(error.contains("openssl rand -base64 32"), "{error}");
    }

    #[test]
    fn printing_the_settings_shows_no_secret() {
        let settings = settings(&[
            ("DATABASE_URL", "postgres://app:hunter2@localhost/x"),
            ("REDIS_URL", "redis://:hunter2@localhost"),
            ("ADMIN_PASSWORD", "hunter2"),
            ("MOCK_ETSY_PASS", "hunter2"),
            ("WEBHOOK_SECRET", "hunter2"),
            ("TOKEN_ENCRYPTION_KEY", KEY),
        ])
        .unwrap();
        let shown = format!("{settings:?}");
        assert!(
            !shown.contains("hunter2") && !shown.contains(KEY),
            "{shown}"
        );
    }
}
