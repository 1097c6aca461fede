//! Every setting, its default and its meaning; the only reader of the environment.
//!
//! Settings are environment variables, also from a `.env` file in the working directory. A bad
//! one is one line that names it. Secrets are wrapped, so that printing [`Settings`] shows none.

use std::collections::HashMap;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use crate::http::auth::{Access, parse_keys};
use crate::logs::LogFormat;
use crate::marketplace::connector::Credentials;
use crate::marketplace::model::Marketplace;
use crate::retry::Backoff;

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
    /// `ADMIN_PASSWORD`: HTTP Basic, any user.
    pub admin_password: Option<SecretString>,
    /// `AUTH`, `API_KEYS`: who may call.
    pub access: Access,
    /// The mock marketplace and the client that calls it.
    pub mock: MockSettings,
    /// `MARKETPLACE_TIMEOUT_MS`: one marketplace call, connect and read.
    pub marketplace_timeout: Duration,
    /// Retries of orders.
    pub sync: SyncSettings,
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
        let database_url = format!("sqlite:{}", folder.join("demo.db").display());
        Self::from_lookup(&|name| match name {
            "DATABASE_URL" => Some(database_url.clone()),
            "SYNC_CRON" => Some("* * * * * *".to_owned()),
            "SYNC_THROTTLE_SECONDS" => Some("0".to_owned()),
            "SYNC_BACKOFF_BASE_SECONDS" => Some("2".to_owned()),
            "PORT" | "ADMIN_PORT" | "LOG_FORMAT" => environment(name),
            "RUST_LOG" => environment(name).or_else(|| Some("warn".to_owned())),
            _ => None,
        })
    }

    /// Reads settings from a function, for tests.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
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
        let (database_url, redis_url) = read.profile()?;
        let settings = Self {
            database_url,
            database_max_connections: read.at_least("DATABASE_MAX_CONNECTIONS", "20", 2)?,
            redis_url,
            queue_prefix: read.or("QUEUE_PREFIX", "")?,
            access: read.access(loopback)?,
            admin_password: read.text("ADMIN_PASSWORD").map(SecretString::from),
            mock: read.mock(loopback)?,
            marketplace_timeout: read.milliseconds("MARKETPLACE_TIMEOUT_MS", "10000")?,
            sync: read.sync()?,
            log_format: read.log_format()?,
            log_filter: read.text("RUST_LOG"),
            shutdown_timeout: read.seconds("SHUTDOWN_TIMEOUT_SECONDS", "30")?,
            public,
            admin,
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

/// The cron parser shows the place with several lines; its last one says what is wrong.
fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text)
}

fn http_url(text: &str) -> Result<Url> {
    let url = Url::parse(text).map_err(|error| anyhow!("`{text}`: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        bail!("`{text}` must start with `http://` or `https://`");
    }
    Ok(url)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one reader of the environment"
)]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Reads single settings and names the one that is wrong.
struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
}

impl Reader<'_> {
    /// A setting; an empty one counts as unset.
    fn text(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.trim().is_empty())
    }

    fn or<T: FromStr<Err: Display>>(&self, name: &str, default: &str) -> Result<T> {
        let text = self.text(name).unwrap_or_else(|| default.to_owned());
        text.trim()
            .parse()
            .map_err(|error| anyhow!("`{name}` is `{text}`: {error}"))
    }

    fn at_least<T>(&self, name: &str, default: &str, least: T) -> Result<T>
    where
        T: FromStr<Err: Display> + PartialOrd + Display + Copy,
    {
        let value: T = self.or(name, default)?;
        if value < least {
            bail!("`{name}` is `{value}`: it must be at least {least}");
        }
        Ok(value)
    }

    fn seconds(&self, name: &str, default: &str) -> Result<Duration> {
        let seconds: f64 = self.or(name, default)?;
        Duration::try_from_secs_f64(seconds)
            .map_err(|error| anyhow!("`{name}` is `{seconds}`: {error}"))
    }

    fn milliseconds(&self, name: &str, default: &str) -> Result<Duration> {
        Ok(Duration::from_millis(self.at_least(name, default, 1)?))
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool> {
        match self.text(name).as_deref() {
            None => Ok(default),
            Some("true" | "1" | "on" | "yes") => Ok(true),
            Some("false" | "0" | "off" | "no") => Ok(false),
            Some(other) => bail!("`{name}` is `{other}`: it must be `true` or `false`"),
        }
    }

    /// The database and the queue that goes with it.
    fn profile(&self) -> Result<(SecretString, Option<SecretString>)> {
        let database = self
            .text("DATABASE_URL")
            .unwrap_or_else(|| DEFAULT_DATABASE_URL.to_owned());
        let redis = self.text("REDIS_URL");
        if database.starts_with("sqlite:") {
            if redis.is_some() {
                bail!(
                    "`REDIS_URL` is set but `DATABASE_URL` is SQLite: set \
                     `DATABASE_URL=postgres://…` as well, or unset `REDIS_URL`"
                );
            }
        } else if database.starts_with("postgres://") || database.starts_with("postgresql://") {
            if redis.is_none() {
                bail!(
                    "`REDIS_URL` must be set when `DATABASE_URL` is PostgreSQL, as in `REDIS_URL=redis://localhost:6379`"
                );
            }
        } else {
            bail!("`DATABASE_URL` must start with `postgres://` or `sqlite:`");
        }
        if redis
            .as_deref()
            .is_some_and(|url| !(url.starts_with("redis://") || url.starts_with("rediss://")))
        {
            bail!("`REDIS_URL` must start with `redis://` or `rediss://`");
        }
        Ok((database.into(), redis.map(SecretString::from)))
    }

    fn access(&self, loopback: bool) -> Result<Access> {
        let keys = match self.text("API_KEYS") {
            Some(text) => parse_keys(&text).context("`API_KEYS` cannot be read")?,
            None => Vec::new(),
        };
        match self.text("AUTH").as_deref() {
            Some("anonymous") => Ok(Access::Anonymous),
            None if loopback && keys.is_empty() => Ok(Access::Anonymous),
            None | Some("required") if keys.is_empty() => bail!(
                "`API_KEYS` must name at least one key. Make one with \
                 `KEY=$(openssl rand -hex 24); echo \"key $KEY\"; \
                 echo \"API_KEYS=my-organization:$(printf %s \"$KEY\" | sha256sum | cut -d' ' -f1)\"`"
            ),
            None | Some("required") => Ok(Access::listed(keys)),
            Some(other) => bail!("`AUTH` is `{other}`: it must be `anonymous` or `required`"),
        }
    }

    fn mock(&self, loopback: bool) -> Result<MockSettings> {
        let mut credentials = HashMap::new();
        for marketplace in Marketplace::ALL {
            let name = marketplace.to_string();
            let prefix = format!("MOCK_{}", name.to_uppercase());
            // The example values are no secret, so they are a default only where nobody else can call.
            let example = |suffix: &str| loopback.then(|| format!("{name}_{suffix}"));
            let user = self
                .text(&format!("{prefix}_USER"))
                .or_else(|| example("user"));
            let password = self
                .text(&format!("{prefix}_PASS"))
                .or_else(|| example("pass"));
            if let (Some(username), Some(password)) = (user, password) {
                let password = SecretString::from(password);
                credentials.insert(marketplace, Credentials { username, password });
            }
        }
        let base_url = self
            .text("MOCK_API_BASE_URL")
            .map(|url| http_url(&url))
            .transpose();
        let base_url = base_url.context("`MOCK_API_BASE_URL` cannot be used")?;
        let enabled = self.flag("MOCK_MARKETPLACE_ENABLED", loopback)?;
        Ok(MockSettings {
            enabled,
            base_url,
            credentials,
        })
    }

    fn sync(&self) -> Result<SyncSettings> {
        let base = self.seconds("SYNC_BACKOFF_BASE_SECONDS", "300")?;
        let max = self.seconds("SYNC_BACKOFF_MAX_SECONDS", "3600")?;
        if base > max {
            bail!("`SYNC_BACKOFF_BASE_SECONDS` is more than `SYNC_BACKOFF_MAX_SECONDS`");
        }
        Ok(SyncSettings {
            cron: self.cron("SYNC_CRON", jobs::schedule::SYNC.default_cron)?,
            throttle: self.seconds("SYNC_THROTTLE_SECONDS", "60")?,
            chunk_size: self.at_least("SYNC_CHUNK_SIZE", "100", 1)?,
            row_concurrency: self.at_least("SYNC_ROW_CONCURRENCY", "8", 1)?,
            concurrency: self.at_least("SYNC_CONCURRENCY", "10", 1)?,
            backoff: Backoff { base, max },
            failed_max_attempts: self.at_least("SYNC_FAILED_MAX_ATTEMPTS", "5", 1)?,
        })
    }

    fn log_format(&self) -> Result<LogFormat> {
        match self.text("LOG_FORMAT").as_deref() {
            None | Some("pretty") => Ok(LogFormat::Pretty),
            Some("json") => Ok(LogFormat::Json),
            Some(other) => bail!("`LOG_FORMAT` is `{other}`: it must be `json` or `pretty`"),
        }
    }

    fn cron(&self, name: &str, default: &str) -> Result<String> {
        let text = self.text(name).unwrap_or_else(|| default.to_owned());
        jobs::schedule::parse_cron(&text)
            .map_err(|error| anyhow!("`{name}` is `{text}`: {}", last_line(&error.to_string())))?
            .upcoming(chrono::Utc)
            .next()
            .ok_or_else(|| anyhow!("`{name}` is `{text}`: it never fires"))?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use super::*;

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
        let example = include_str!("../.env.example");
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
        let readme = include_str!("../README.md");
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
        assert!(matches!(settings.access, Access::Anonymous));
        assert_eq!(settings.mock.credentials.len(), Marketplace::ALL.len());
    }

    #[test]
    fn a_bad_setting_is_named() {
        for (name, value) in [
            ("PORT", "70000"),
            ("SYNC_CHUNK_SIZE", "0"),
            ("SYNC_CRON", "whenever"),
            ("SYNC_CRON", "0 0 0 1 1 * 2020"),
            ("SYNC_THROTTLE_SECONDS", "-1"),
            ("SYNC_ROW_CONCURRENCY", "many"),
            ("AUTH", "perhaps"),
            ("API_KEYS", "nonsense"),
            ("LOG_FORMAT", "xml"),
            ("MOCK_MARKETPLACE_ENABLED", "maybe"),
            ("MOCK_API_BASE_URL", "ftp://x"),
            ("DATABASE_URL", "mysql://x"),
            ("MARKETPLACE_TIMEOUT_MS", "0"),
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

    #[test]
    fn a_public_host_needs_keys_and_an_admin_password() {
        let error = settings(&[("HOST", "0.0.0.0")]).unwrap_err();
        assert!(error.to_string().contains("API_KEYS"));
        let error = settings(&[("ADMIN_HOST", "0.0.0.0")]).unwrap_err();
        assert!(error.to_string().contains("ADMIN_PASSWORD"));
        let open = settings(&[("HOST", "0.0.0.0"), ("AUTH", "anonymous")]).unwrap();
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
    fn printing_the_settings_shows_no_secret() {
        let settings = settings(&[
            ("DATABASE_URL", "postgres://app:hunter2@localhost/x"),
            ("REDIS_URL", "redis://:hunter2@localhost"),
            ("ADMIN_PASSWORD", "hunter2"),
            ("MOCK_ETSY_PASS", "hunter2"),
        ])
        .unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
