//! How many statements a batch of a run takes, on PostgreSQL: whatever the number of its items.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use jobs::PushStock;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use tracing::field::{Field, Visit};
use tracing::instrument::WithSubscriber;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::super::place::Place;
use super::api::Api;
use super::seed::{Merchant, go_live};
use crate::App;
use crate::stock::push_stock;

/// Items of a batch, of few and of as many as Trendyol takes.
const SIZES: [u64; 2] = [10, 1000];
/// Batches of the longer run.
const BATCHES: u64 = 3;

/// What was asked of a database.
#[derive(Debug, Default)]
struct Asked {
    statements: AtomicU64,
    /// The beginning and the end of each are no statements here.
    transactions: AtomicU64,
}

/// Counts what sqlx tells of statements.
struct Counter(Arc<Asked>);

impl<S: Subscriber> Layer<S> for Counter {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != "sqlx::query" {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        // sqlx itself asks what columns are, once for each connection and statement.
        if text.statement.contains("pg_catalog.") {
            return;
        }
        let counted = match text.summary.split(' ').next() {
            Some("BEGIN") => &self.0.transactions,
            Some("COMMIT" | "ROLLBACK") => return,
            _ => &self.0.statements,
        };
        counted.fetch_add(1, Ordering::Relaxed);
    }
}

/// The text of a statement, and how it begins.
#[derive(Default)]
struct Text {
    summary: String,
    /// Empty, if that is all of it.
    statement: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.clone_into(&mut self.statement),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

/// Statements and transactions of a batch, by the number of its items. SQLite runs its statements
/// in a thread of its own, where they are not counted; their texts are the same.
pub(super) async fn count(
    place: &Place,
    settings: &BTreeMap<String, String>,
    merchant: &mut Merchant,
    api: &Api,
) -> Result<Value> {
    let mut counts = Map::new();
    for size in SIZES.map(|size| size.min(merchant.products / BATCHES)) {
        let mut settings = settings.clone();
        settings.insert("STOCK_BATCH_SIZE".to_owned(), size.to_string());
        // So many requests at once as a run makes here: none has to wait.
        settings.insert("STOCK_RATE_TARGET_PCT".to_owned(), "50".to_owned());
        let app = place.app(&settings).await?;
        if !app.settings.is_server_profile() {
            return Ok(Value::Null);
        }
        let one = count_run(&app, merchant, api, size).await?;
        let several = count_run(&app, merchant, api, BATCHES * size).await?;
        let of_a_batch = |of: fn(&(u64, u64)) -> u64| (of(&several) - of(&one)) / (BATCHES - 1);
        let count = json!({
            "statements": of_a_batch(|counts| counts.0),
            "transactions": of_a_batch(|counts| counts.1),
        });
        counts.insert(size.to_string(), count);
        app.db.close().await;
    }
    Ok(Value::Object(counts))
}

/// Statements and transactions of a run that tells so many rows.
async fn count_run(app: &App, merchant: &mut Merchant, api: &Api, rows: u64) -> Result<(u64, u64)> {
    let shop = merchant.open_shop(app).await?;
    merchant.list(app, shop.id, (1, rows), 1).await?;
    api.configure(&shop).await?;
    merchant.owe(app, shop.id, (1, rows)).await?;
    go_live(app, &shop).await?;
    let asked = Arc::<Asked>::default();
    let counter = tracing_subscriber::registry().with(Counter(asked.clone()));
    let job = PushStock { store_id: shop.id };
    let nothing = CancellationToken::new();
    push_stock(app, job, &nothing)
        .with_subscriber(counter)
        .await?;
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    Ok((count(&asked.statements), count(&asked.transactions)))
}
