//! The queues of stores, emptied by the service that is measured.

use std::time::Duration;

use anyhow::{Result, ensure};
use jobs::PushStock;
use sqlx::query_scalar;
use tokio::time::{Instant, sleep};

use super::seed::Shop;
use crate::App;
use crate::db::{on, sql};

/// Nothing takes as long as that.
const PATIENCE: Duration = Duration::from_mins(30);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Has stores be pushed to until nothing waits in their queues, all of them at a time and as often
/// as that, like the ticks that are off; tells how long it took.
pub(super) async fn drain(
    app: &App,
    shops: &[Shop],
    every: Duration,
    mut look: impl FnMut(),
) -> Result<Duration> {
    let jobs: Vec<PushStock> = shops
        .iter()
        .map(|shop| PushStock { store_id: shop.id })
        .collect();
    let started = Instant::now();
    let mut pushed: Option<Instant> = None;
    for shop in shops {
        while owes(app, shop).await? {
            if pushed.is_none_or(|pushed| pushed.elapsed() >= every) {
                app.queue.push(&jobs).await?;
                pushed = Some(Instant::now());
            }
            look();
            ensure_in_time(started, "queues")?;
            sleep(LOOK_AGAIN).await;
        }
    }
    Ok(started.elapsed())
}

/// Waits until the marketplace has said of every push of an organization what became of it; tells
/// how long that took.
pub(super) async fn await_results(app: &App, organization_id: &str) -> Result<Duration> {
    let started = Instant::now();
    while has_open_pushes(app, organization_id).await? {
        ensure_in_time(started, "results")?;
        sleep(LOOK_AGAIN).await;
    }
    Ok(started.elapsed())
}

fn ensure_in_time(started: Instant, what: &str) -> Result<()> {
    let minutes = PATIENCE.as_secs() / 60;
    ensure!(
        started.elapsed() < PATIENCE,
        "there are {what} that are waited for after {minutes} minutes"
    );
    Ok(())
}

async fn owes(app: &App, shop: &Shop) -> Result<bool> {
    let mut tx = app.db.read().await?;
    let found: Option<i32> = on!(&mut tx, conn => query_scalar(sql!(
        "SELECT 1 FROM stock_update_queue WHERE store_id = $1 AND processed_at IS NULL LIMIT 1"))
        .bind(shop.id)
        .fetch_optional(conn).await)?;
    tx.save().await?;
    Ok(found.is_some())
}

async fn has_open_pushes(app: &App, organization_id: &str) -> Result<bool> {
    let mut tx = app.db.read().await?;
    let found: Option<i32> = on!(&mut tx, conn => query_scalar(sql!(
        "SELECT 1 FROM stock_pushes
         WHERE organization_id = $1 AND state IN ('SENDING', 'ACCEPTED', 'UNKNOWN') LIMIT 1"))
        .bind(organization_id)
        .fetch_optional(conn).await)?;
    tx.save().await?;
    Ok(found.is_some())
}
