//! Reads single settings: text, numbers, lists, and what several of them mean together.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use chrono::TimeDelta;
use jobs::schedule;
use reqwest::Url;
use secrecy::SecretString;

use super::{
    AuthMode, AuthSettings, CallbackSettings, DEFAULT_DATABASE_URL, Listener, MockSettings,
    RateSettings, StockSettings, SyncSettings, WebhookSettings,
};
use crate::encryption::Keyring;
use crate::http::auth::parse_keys;
use crate::logs::LogFormat;
use crate::marketplace::connector::Credentials;
use crate::marketplace::model::Marketplace;
use crate::retry::Backoff;
use crate::traces::TraceSettings;

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
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Reads single settings and names the one that is wrong.
pub(super) struct Reader<'a> {
    pub(super) lookup: &'a dyn Fn(&str) -> Option<String>,
}

impl Reader<'_> {
    /// A setting; an empty one counts as unset.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.trim().is_empty())
    }

    pub(super) fn or<T: FromStr<Err: Display>>(&self, name: &str, default: &str) -> Result<T> {
        let text = self.text(name).unwrap_or_else(|| default.to_owned());
        text.trim()
            .parse()
            .map_err(|error| anyhow!("`{name}` is `{text}`: {error}"))
    }

    /// A setting without a default.
    pub(super) fn maybe<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>> {
        self.text(name).map(|text| self.or(name, &text)).transpose()
    }

    pub(super) fn at_least<T>(&self, name: &str, default: &str, least: T) -> Result<T>
    where
        T: FromStr<Err: Display> + PartialOrd + Display + Copy,
    {
        let value: T = self.or(name, default)?;
        if value < least {
            bail!("`{name}` is `{value}`: it must be at least {least}");
        }
        Ok(value)
    }

    pub(super) fn seconds(&self, name: &str, default: &str) -> Result<Duration> {
        let seconds: f64 = self.or(name, default)?;
        Duration::try_from_secs_f64(seconds)
            .map_err(|error| anyhow!("`{name}` is `{seconds}`: {error}"))
    }

    pub(super) fn milliseconds(&self, name: &str, default: &str) -> Result<Duration> {
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
    pub(super) fn profile(&self) -> Result<(SecretString, Option<SecretString>)> {
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

    /// Where traces go, if anywhere.
    pub(super) fn traces(&self) -> Result<TraceSettings> {
        let endpoint = self.text("OTEL_EXPORTER_OTLP_ENDPOINT");
        let endpoint = endpoint.map(|url| http_url(&url)).transpose();
        Ok(TraceSettings {
            endpoint: endpoint.context("`OTEL_EXPORTER_OTLP_ENDPOINT` cannot be used")?,
            service_name: self.or("OTEL_SERVICE_NAME", crate::logs::SERVICE)?,
        })
    }

    /// The listener for metrics, if there is to be one.
    pub(super) fn metrics(&self) -> Result<Option<Listener>> {
        let host = self.or("METRICS_HOST", "127.0.0.1")?;
        let port = self.text("METRICS_PORT");
        port.map(|_| {
            let port = self.or("METRICS_PORT", "")?;
            Ok(Listener { host, port })
        })
        .transpose()
    }

    /// Who may call. Whether a key is stored is known only once the database is open.
    pub(super) fn auth(&self, loopback: bool) -> Result<AuthSettings> {
        let listed = match self.text("API_KEYS") {
            Some(text) => parse_keys(&text).context("`API_KEYS` cannot be read")?,
            None => Vec::new(),
        };
        let mode = match self.text("AUTH").as_deref() {
            Some("anonymous") => AuthMode::Anonymous,
            None if loopback && listed.is_empty() => AuthMode::AnonymousWithoutKeys,
            Some("required") | None => AuthMode::Required,
            Some(other) => bail!("`AUTH` is `{other}`: it must be `anonymous` or `required`"),
        };
        Ok(AuthSettings { mode, listed })
    }

    /// Somebody on this machine may call as often as they like.
    pub(super) fn rates(&self, loopback: bool) -> Result<RateSettings> {
        let default = |elsewhere| if loopback { "0" } else { elsewhere };
        Ok(RateSettings {
            per_key: self.or("RATE_LIMIT_PER_KEY", default("100"))?,
            per_address: self.or("RATE_LIMIT_PER_IP", default("200"))?,
            proxies: self.or("TRUSTED_PROXIES", "")?,
        })
    }

    /// What stored secrets are encrypted with.
    pub(super) fn encryption(&self, public: &Listener) -> Result<Keyring> {
        match self.text("TOKEN_ENCRYPTION_KEY") {
            Some(list) => Keyring::parse(&list).context(
                "`TOKEN_ENCRYPTION_KEY` must be one or more keys of 32 bytes in base64, as \
                 `openssl rand -base64 32` makes them, separated by commas",
            ),
            None if public.is_loopback() => Ok(Keyring::default()),
            None => bail!(
                "`TOKEN_ENCRYPTION_KEY` must be set: `HOST` ({}) is reachable from outside, and \
                 stored secrets are to be encrypted there. Make a key with \
                 `openssl rand -base64 32`",
                public.host
            ),
        }
    }

    pub(super) fn mock(&self, loopback: bool) -> Result<MockSettings> {
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

    pub(super) fn sync(&self) -> Result<SyncSettings> {
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

    pub(super) fn callback(&self) -> Result<CallbackSettings> {
        Ok(CallbackSettings {
            cron: self.cron("CALLBACK_CRON", jobs::schedule::CALLBACK.default_cron)?,
            concurrency: self.at_least("CALLBACK_CONCURRENCY", "64", 1)?,
            backoff: self.delays("CALLBACK_BACKOFF_SECONDS", "60,300,900")?,
            max_attempts: self.at_least("CALLBACK_MAX_ATTEMPTS", "3", 1)?,
            timeout: self.milliseconds("CALLBACK_TIMEOUT_MS", "5000")?,
            dead_letters_kept: Some(self.at_least("DEAD_LETTER_RETENTION_DAYS", "365", 0_u16)?)
                .filter(|days| *days > 0)
                .map(|days| TimeDelta::days(days.into())),
        })
    }

    pub(super) fn webhook(&self, loopback: bool) -> Result<WebhookSettings> {
        Ok(WebhookSettings {
            secret: self.text("WEBHOOK_SECRET").map(SecretString::from),
            max_endpoints_per_organization: self.at_least(
                "WEBHOOK_MAX_ENDPOINTS_PER_ORG",
                "3",
                1,
            )?,
            allow_private_targets: self.flag("WEBHOOK_ALLOW_PRIVATE_TARGETS", loopback)?,
        })
    }

    pub(super) fn stock(&self) -> Result<StockSettings> {
        let mut base_urls = HashMap::new();
        for marketplace in Marketplace::ALL {
            let name = format!("{}_BASE_URL", marketplace.as_str().to_uppercase());
            if let Some(text) = self.text(&name) {
                let url = http_url(&text).with_context(|| format!("`{name}` cannot be used"))?;
                base_urls.insert(marketplace, url);
            }
        }
        let lease = self.seconds("STOCK_LEASE_SECONDS", "120")?;
        let timeout = self.seconds("STOCK_HTTP_TIMEOUT_SECONDS", "30")?;
        if timeout >= lease {
            bail!("`STOCK_HTTP_TIMEOUT_SECONDS` must be less than `STOCK_LEASE_SECONDS`");
        }
        let seconds = |name, default| {
            let seconds = self.seconds(name, default)?;
            TimeDelta::from_std(seconds).map_err(|error| anyhow!("`{name}`: {error}"))
        };
        Ok(StockSettings {
            enabled: self.flag("STOCK_PUSH_ENABLED", true)?,
            cron: self.cron("STOCK_PUSH_CRON", schedule::STOCK_PUSH.default_cron)?,
            confirm_cron: self.cron("STOCK_CONFIRM_CRON", schedule::STOCK_CONFIRM.default_cron)?,
            reconcile_cron: self.cron(
                "STOCK_RECONCILE_CRON",
                schedule::STOCK_RECONCILE.default_cron,
            )?,
            concurrency: self.at_least("STOCK_CONCURRENCY", "10", 1)?,
            batch_size: self.at_least("STOCK_BATCH_SIZE", "1000", 1)?,
            queue_ttl: seconds("STOCK_QUEUE_TTL_SECONDS", "300")?,
            max_quantity: self.at_least("STOCK_MAX_QUANTITY", "20000", 0)?,
            identical_window: seconds("TRENDYOL_IDENTICAL_WINDOW_SECONDS", "900")?,
            trendyol_rate_mode: self.or("TRENDYOL_RATE_MODE", "IDENTICAL_BODY")?,
            trendyol_permanent_reasons: self.list("TRENDYOL_PERMANENT_REASONS"),
            lease,
            timeout,
            run_budget: self.seconds("STOCK_RUN_BUDGET_SECONDS", "50")?,
            confirm_hold: seconds("STOCK_CONFIRM_HOLD_SECONDS", "60")?,
            rate_target_percent: self.at_least("STOCK_RATE_TARGET_PCT", "80", 1)?,
            base_urls,
        })
    }

    /// Texts, separated by semicolons.
    fn list(&self, name: &str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        let parts = text
            .split(';')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    }

    /// Seconds, separated by commas.
    fn delays(&self, name: &str, default: &str) -> Result<Vec<Duration>> {
        let text = self.text(name).unwrap_or_else(|| default.to_owned());
        text.split(',')
            .map(|part| {
                let seconds: f64 = part.trim().parse()?;
                Ok(Duration::try_from_secs_f64(seconds)?)
            })
            .collect::<Result<_>>()
            .map_err(|error| anyhow!("`{name}` is `{text}`: {error}"))
    }

    pub(super) fn log_format(&self) -> Result<LogFormat> {
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
