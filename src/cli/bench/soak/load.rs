//! Shops that import one order after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::cli::bench::marketplace::LATE;
use crate::cli::bench::receiver::Timed;
use crate::cli::client::{Client, ok};

/// Of so many orders one is late: it is for the scheduler.
const LATE_EVERY: u64 = 4;
/// Orders on the way at full load.
const AT_ONCE: usize = 16;
/// Who hears of the runs.
const WEBHOOKS: [&str; 3] = ["sync.started", "sync.completed", "sync.failed"];

/// Shops at an API.
pub(super) struct Load {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    tokens: Vec<Value>,
    sold: AtomicU64,
}

/// What came of a load.
#[derive(Default)]
pub(super) struct Imports {
    /// From when each order was due to its answer.
    pub(super) times: Vec<Timed>,
    /// Answers that were none.
    pub(super) errors: usize,
}

impl Load {
    /// Registers the shops, and who hears of them.
    pub(super) async fn prepare(base: &str, shops: usize, receiver: &str) -> Result<Self> {
        let client = Client::new(base, None)?;
        let mut tokens = Vec::new();
        for number in 1..=shops.max(1) {
            let store = json!({
                "organizationId": "soak", "marketplace": "etsy", "currency": "USD",
                "externalStoreId": format!("shop-{number}"), "storeName": "Shop",
                "accessToken": "secret",
            });
            let path = "/stores/register";
            let mut store = ok(path, client.post(path, &store).await?)?;
            tokens.push(store["syncToken"].take());
        }
        for event in WEBHOOKS {
            let webhook = json!({
                "organizationId": "soak", "event": event, "targetUrl": receiver,
            });
            let path = "/webhooks/register";
            ok(path, client.post(path, &webhook).await?)?;
        }
        let sold = AtomicU64::new(0);
        let shared = Shared {
            client,
            tokens,
            sold,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// How many orders were sold.
    pub(super) fn sold(&self) -> u64 {
        self.shared.sold.load(Ordering::Relaxed)
    }

    /// Imports as fast as it goes; tells how many orders a second that is.
    pub(super) async fn at_full(&self, length: Duration) -> Result<u32> {
        let (before, ends) = (self.sold(), Instant::now() + length);
        let mut sellers = JoinSet::new();
        for _ in 0..AT_ONCE {
            let shared = self.shared.clone();
            sellers.spawn(async move {
                while Instant::now() < ends {
                    shared.sell().await?;
                }
                Ok::<_, anyhow::Error>(())
            });
        }
        while let Some(ended) = sellers.join_next().await {
            ended??;
        }
        let seconds = length.as_secs().max(1);
        Ok(u32::try_from((self.sold() - before) / seconds)?)
    }

    /// Imports so many orders a second, whether or not the last ones are answered.
    pub(super) async fn at_rate(&self, rate: u32, length: Duration) -> Result<Imports> {
        let mut ticks = interval(Duration::from_secs(1) / rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let ends = Instant::now() + length;
        let (mut orders, mut imports) = (JoinSet::new(), Imports::default());
        loop {
            let due = ticks.tick().await.into_std();
            if due >= ends {
                break;
            }
            let shared = self.shared.clone();
            orders.spawn(async move { (due, shared.sell().await.map(|()| due.elapsed())) });
            while let Some(ended) = orders.try_join_next() {
                imports.note(ended?);
            }
        }
        while let Some(ended) = orders.join_next().await {
            imports.note(ended?);
        }
        Ok(imports)
    }
}

impl Imports {
    fn note(&mut self, (due, took): (Instant, Result<Duration>)) {
        match took {
            Ok(took) => self.times.push((due, took)),
            Err(_) => self.errors += 1,
        }
    }
}

impl Shared {
    async fn sell(&self) -> Result<()> {
        let number = self.sold.fetch_add(1, Ordering::Relaxed);
        let shop = usize::try_from(number)? % self.tokens.len();
        // Of each shop from time to time, of some shop all the time.
        let round = number / u64::try_from(self.tokens.len())?;
        let is_late = (round + number).is_multiple_of(LATE_EVERY);
        let mark = if is_late { LATE } else { "" };
        let order = json!({ "syncToken": self.tokens[shop], "receipt": format!("{mark}{number}") });
        let path = "/orders/import";
        let (status, body) = self.client.post(path, &order).await?;
        // A run may be at it already.
        if status != StatusCode::CONFLICT {
            ok(path, (status, body))?;
        }
        Ok(())
    }
}
