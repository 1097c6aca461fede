//! `dead-letters`: what was given up, orders and callbacks alike, and another chance for it.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use jobs::StoreId;
use serde_json::{Value, json};
use tracing::warn;

use super::output::say;
use crate::App;
use crate::config::Settings;
use crate::http::page::Cursor;
use crate::marketplace::dead_letters::DeadReceipt;
use crate::marketplace::{self, dead_receipts, revive_receipt};
use crate::timestamp;
use crate::webhooks::outbox::{OutboxEvent, RequeueError, dead_events, requeue};

/// Letters read at a time.
const PAGE: i64 = 500;

/// List what was given up, or give it another chance.
#[derive(Debug, Args)]
pub(super) struct DeadLetters {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print a JSON line for each dead letter.
    List(Which),
    /// Make dead letters due again, from the first try on; print a JSON line for each.
    Requeue(Which),
}

/// Which dead letters.
#[derive(Debug, Args)]
struct Which {
    /// Only those of this store.
    #[arg(long, value_name = "ID")]
    store: Option<StoreId>,
    /// Only of this kind.
    #[arg(long)]
    kind: Option<Kind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Receipts that failed for the last time.
    Orders,
    /// Events that a webhook did not take.
    Callbacks,
}

impl DeadLetters {
    pub(super) async fn run(self, settings: Settings) -> Result<ExitCode> {
        let app = App::connect(settings, None).await?;
        let (which, requeues) = match self.action {
            Action::List(which) => (which, false),
            Action::Requeue(which) => (which, true),
        };
        if which.kind != Some(Kind::Callbacks) {
            orders(&app, which.store, requeues).await?;
        }
        if which.kind != Some(Kind::Orders) {
            callbacks(&app, which.store, requeues).await?;
        }
        app.db.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

async fn orders(app: &App, store: Option<StoreId>, requeues: bool) -> Result<()> {
    let mut after = Cursor::BEGINNING;
    let mut revived = 0;
    loop {
        let page = dead_receipts(app, store, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Cursor {
            at: last.dead_at,
            id: last.id.0,
        };
        for letter in &page {
            // Somebody else may have been faster.
            if !requeues || revive_receipt(app, letter.id).await? {
                say(&order_line(letter).to_string());
                revived += 1;
            }
        }
    }
    if requeues && revived > 0 {
        // Best effort: they are due, and the next tick sees them as well.
        if let Err(error) = marketplace::enqueue_due_stores(app).await {
            warn!(%error, "failed to enqueue the stores; the next tick does");
        }
    }
    Ok(())
}

async fn callbacks(app: &App, store: Option<StoreId>, requeues: bool) -> Result<()> {
    let mut after = Cursor::BEGINNING;
    loop {
        let page = dead_events(app, store, after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = last.place();
        for letter in &page {
            if !requeues || is_requeued(app, letter).await? {
                say(&callback_line(letter).to_string());
            }
        }
    }
}

async fn is_requeued(app: &App, letter: &OutboxEvent) -> Result<bool> {
    match requeue(app, letter.id, None).await {
        Ok(()) => Ok(true),
        Err(RequeueError::Database(error)) => Err(error.into()),
        // Somebody else was faster, or there is nobody left to deliver it to.
        Err(error) => {
            warn!(outboxId = %letter.id, %error, "left event {} alone: {error}", letter.id);
            Ok(false)
        }
    }
}

fn order_line(letter: &DeadReceipt) -> Value {
    json!({
        "kind": "orders",
        "id": letter.id.0,
        "storeId": letter.store_id,
        "receipt": letter.receipt,
        "errorDetails": letter.error_details,
        "failedAttempt": letter.failed_attempt,
        "deadAt": timestamp::format(letter.dead_at),
    })
}

fn callback_line(letter: &OutboxEvent) -> Value {
    json!({
        "kind": "callbacks",
        "id": letter.id,
        "organizationId": letter.organization_id,
        "storeId": letter.store_id,
        "event": letter.event,
        "attempt": letter.attempt,
        "lastError": letter.last_error,
        "createdAt": timestamp::format(letter.created_at),
        "updatedAt": timestamp::format(letter.updated_at),
    })
}
