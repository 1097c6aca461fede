//! How many statements a batch of a run takes, on PostgreSQL: whatever the number of its items.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use jobs::PushStock;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::instrument::WithSubscriber;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::super::place::Place;
use super::api::Api;
use super::seed::{Merchant, go_live};
use crate::App;
use crate::stock::push_stock;

/// Items of a batch, of few and of more.
const SIZES: [u64; 2] = [20, 60];
/// Batches of the longer run.
const BATCHES: u64 = 3;

/// Counts what sqlx tells of statements.
struct Counter(Arc<AtomicU64>);

impl<S: Subscriber> Layer<S> for Counter {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Statements of a batch, by the number of its items. SQLite runs them in a thread of its own, where
/// they are not counted.
pub(super) async fn count(
    place: &Place,
    settings: &BTreeMap<String, String>,
    merchant: &mut Merchant,
    api: &Api,
) -> Result<Value> {
    let mut counts = BTreeMap::new();
    for size in SIZES {
        let mut settings = settings.clone();
        settings.insert("STOCK_BATCH_SIZE".to_owned(), size.to_string());
        let app = place.app(&settings).await?;
        if !app.settings.is_server_profile() {
            return Ok(Value::Null);
        }
        // The first run of a process also asks what the types of columns are called.
        count_run(&app, merchant, api, size).await?;
        let one = count_run(&app, merchant, api, size).await?;
        let several = count_run(&app, merchant, api, BATCHES * size).await?;
        counts.insert(
            size.to_string(),
            several.saturating_sub(one) / (BATCHES - 1),
        );
        app.db.close().await;
    }
    Ok(json!(counts))
}

/// Statements of a run that tells so many rows.
async fn count_run(app: &App, merchant: &mut Merchant, api: &Api, rows: u64) -> Result<u64> {
    let shop = merchant.open_shop(app).await?;
    merchant.list(app, shop.id, (1, rows), 1).await?;
    api.configure(&shop).await?;
    merchant.owe(app, shop.id, (1, rows)).await?;
    go_live(app, &shop).await?;
    let count = Arc::<AtomicU64>::default();
    let counter = tracing_subscriber::registry().with(Counter(count.clone()));
    let job = PushStock { store_id: shop.id };
    let nothing = CancellationToken::new();
    push_stock(app, job, &nothing)
        .with_subscriber(counter)
        .await?;
    Ok(count.load(Ordering::Relaxed))
}
