//! `mock-trendyol` and `mock-hepsiburada`: marketplaces to try stock with ([`crate::stock::mock`]).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chrono::TimeDelta;
use clap::{Args, ValueEnum};
use secrecy::SecretString;
use tracing::info;

use crate::clock::Clock;
use crate::service::signal;
use crate::stock::mock::hepsiburada::{HepsiburadaRules, Refusal};
use crate::stock::mock::trendyol::TrendyolRules;
use crate::stock::mock::{Catalogue, Entry, MockMarketplace, Options, Protocol};
use crate::stock::model::ListingTier;

/// What both have; the text is part of their `--help`.
const ROUTES: &str = "\
Beside the marketplace's own routes:
  GET    /__mock/state    quantity of every item, every batch, every request in order of arrival
                          (?seller=ID: of one seller)
  POST   /__mock/clock    {\"advanceSeconds\": 900}: goes ahead in time
  POST   /__mock/faults   {\"fault\": \"dropAfter\", \"operation\": \"send\"}: once;
                          with \"times\": 3 so often, with \"rate\": 0.1 by chance
                          faults: dropBefore, dropAfter, status {status, body, applied},
                          rateLimit {retryAfterSeconds}, slow {delayMs}, malformedJson,
                          oversized {bytes}, rejectItem {identifier, reason},
                          applyLate {delaySeconds}, shuffleResults, neverDone, failBatch
                          operations: send, poll, read
  GET    /__mock/faults   those that wait; DELETE takes them away
  POST   /__mock/sell     {\"seller\", \"identifier\", \"quantity\"}: an order only the marketplace knows
  POST   /__mock/reset    forgets everything but what it was started with";

/// What is the same for every mock marketplace.
#[derive(Debug, Args)]
struct Common {
    /// Refuses requests whose `User-Agent` has not the form that this marketplace wants; one that
    /// has none is always refused.
    #[arg(long)]
    strict_user_agent: bool,
    /// Every answer takes so long.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    latency_ms: u64,
    /// Quantities are applied so long after they were taken.
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    apply_after_ms: u32,
    /// Knows so many made-up items and no others.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed_items: u32,
    /// Knows this item; may be given several times. Without any item it learns whatever it hears of.
    #[arg(long = "item", value_name = "ID")]
    items: Vec<String>,
    /// Knows the items of this file: one a line, `identifier[,quantity[,own name]]`.
    #[arg(long = "items", value_name = "FILE")]
    items_file: Option<PathBuf>,
    /// Lets in this pair alone; without it every pair is good.
    #[arg(long, value_name = "USER:PASSWORD")]
    credentials: Option<String>,
    /// Counts neither requests nor updates.
    #[arg(long)]
    no_limits: bool,
    /// The dice of faults that come by chance.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// Play Trendyol's stock API.
#[derive(Debug, Args)]
#[command(after_long_help = ROUTES)]
pub(super) struct MockTrendyol {
    /// Listens on this port of the loopback interface; 0 takes a free one.
    #[arg(long, default_value_t = 4101)]
    port: u16,
    /// How many requests it takes a minute: 50K, 75K, 150K, 500K or UNLIMITED.
    #[arg(long, default_value = "50K")]
    tier: ListingTier,
    #[command(flatten)]
    common: Common,
}

/// Play Hepsiburada's stock API.
#[derive(Debug, Args)]
#[command(after_long_help = ROUTES)]
pub(super) struct MockHepsiburada {
    /// Listens on this port of the loopback interface; 0 takes a free one.
    #[arg(long, default_value_t = 4102)]
    port: u16,
    /// Listings of a merchant, which decide how many updates it takes a day; without it as many as
    /// there are items.
    #[arg(long, value_name = "N")]
    listing_count: Option<usize>,
    /// With which status it refuses a sixth upload.
    #[arg(long, value_enum, default_value_t = OutstandingStatus::TooManyRequests)]
    outstanding_status: OutstandingStatus,
    #[command(flatten)]
    common: Common,
}

/// How Hepsiburada says that there are too many uploads: both were seen.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum OutstandingStatus {
    /// 429 with a message
    #[value(name = "429")]
    TooManyRequests,
    /// 200 with a message instead of an id
    #[value(name = "200")]
    Ok,
}

impl MockTrendyol {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let made_up = |number| {
            (
                format!("{}", 8_680_000_000_000_u64 + u64::from(number)),
                Entry::default(),
            )
        };
        let rules = TrendyolRules {
            is_strict: self.common.strict_user_agent,
            tier: self.tier,
            has_limits: !self.common.no_limits,
            applies_after: TimeDelta::milliseconds(self.common.apply_after_ms.into()),
            credentials: self.common.credentials()?,
            ..TrendyolRules::default()
        };
        let options = self.common.options(made_up, str::to_owned)?;
        serve(rules, options, "TRENDYOL_BASE_URL", self.port).await
    }
}

impl MockHepsiburada {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let made_up = |number| {
            let alias = Some(format!("HBCV{number:08}"));
            (format!("SKU-{number:06}"), Entry { quantity: 0, alias })
        };
        let rules = HepsiburadaRules {
            is_strict: self.common.strict_user_agent,
            refusal: match self.outstanding_status {
                OutstandingStatus::TooManyRequests => Refusal::TooManyRequests,
                OutstandingStatus::Ok => Refusal::GoodAnswer,
            },
            listings: self.listing_count,
            has_limits: !self.common.no_limits,
            applies_after: TimeDelta::milliseconds(self.common.apply_after_ms.into()),
            credentials: self.common.credentials()?,
        };
        let options = self.common.options(made_up, str::to_ascii_uppercase)?;
        serve(rules, options, "HEPSIBURADA_BASE_URL", self.port).await
    }
}

async fn serve(
    rules: impl Protocol,
    options: Options,
    setting: &str,
    port: u16,
) -> Result<ExitCode> {
    let mock = MockMarketplace::new(rules, options, Clock::system());
    let running = mock.serve(port).await;
    let running =
        running.with_context(|| format!("cannot listen on port {port} (see `--port`)"))?;
    let url = running.base_url();
    info!(
        event = "listening",
        listener = "marketplace",
        address = %running.address,
        "playing a marketplace: set {setting}={url}, look at {url}__mock/state"
    );
    signal().await;
    Ok(ExitCode::SUCCESS)
}

impl Common {
    /// The pair that is let in.
    fn credentials(&self) -> Result<Option<(String, SecretString)>> {
        let Some(pair) = &self.credentials else {
            return Ok(None);
        };
        let Some((user, password)) = pair.split_once(':') else {
            bail!("`--credentials` must have the form `USER:PASSWORD`");
        };
        Ok(Some((user.to_owned(), password.into())))
    }

    /// The items that it knows, and how it behaves; `named` is how it writes their names.
    fn options(
        &self,
        made_up: impl Fn(u32) -> (String, Entry),
        named: impl Fn(&str) -> String,
    ) -> Result<Options> {
        let mut entries: BTreeMap<String, Entry> = (1..=self.seed_items).map(made_up).collect();
        entries.extend(
            self.items
                .iter()
                .map(|item| (named(item.trim()), Entry::default())),
        );
        if let Some(file) = &self.items_file {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("cannot read {} (see `--items`)", file.display()))?;
            for (number, line) in text.lines().enumerate() {
                let read =
                    entry(line).with_context(|| format!("{}:{}", file.display(), number + 1))?;
                entries.extend(read.map(|(name, entry)| (named(&name), entry)));
            }
        }
        let is_told = !entries.is_empty() || self.items_file.is_some();
        Ok(Options {
            catalogue: if is_told {
                Catalogue::These(entries)
            } else {
                Catalogue::Any
            },
            latency: Duration::from_millis(self.latency_ms),
            seed: self.seed,
        })
    }
}

/// A line of a list of items; none of an empty one, or of a comment.
fn entry(line: &str) -> Result<Option<(String, Entry)>> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let mut parts = line.split(',').map(str::trim);
    let name = parts
        .next()
        .filter(|name| !name.is_empty())
        .context("there is no identifier")?;
    let quantity = match parts.next() {
        Some(text) if !text.is_empty() => text
            .parse()
            .with_context(|| format!("`{text}` is no quantity"))?,
        _ => 0,
    };
    let alias = parts
        .next()
        .filter(|alias| !alias.is_empty())
        .map(str::to_owned);
    if parts.next().is_some() {
        bail!("`{line}` has more than an identifier, a quantity and a name of the marketplace");
    }
    Ok(Some((name.to_owned(), Entry { quantity, alias })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_item_a_quantity_and_another_name() {
        let read = |line| entry(line).unwrap();
        let item = |quantity, alias: Option<&str>| {
            Some((
                "SKU-1".to_owned(),
                Entry {
                    quantity,
                    alias: alias.map(str::to_owned),
                },
            ))
        };
        assert_eq!(read("SKU-1"), item(0, None));
        assert_eq!(read(" SKU-1 , 7 , HB1 "), item(7, Some("HB1")));
        assert_eq!(read("SKU-1,,HB1"), item(0, Some("HB1")));
        assert_eq!(read("  "), None);
        assert_eq!(read("# a comment"), None);
        for bad in [",7", "SKU-1,many", "SKU-1,1,HB1,more"] {
            assert!(entry(bad).is_err(), "{bad}");
        }
    }
}
