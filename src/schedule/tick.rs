//! Runs the handler of a tick once over all replicas.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use jobs::schedule::run_schedule;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use super::queries;
use crate::App;

/// Fires `run` at every tick of `cron` that this replica wins, and once at start if a tick was
/// missed while nobody was there. Ends when `stop` fires.
pub async fn run_every<H, F>(
    app: Arc<App>,
    name: &'static str,
    cron: &str,
    stop: CancellationToken,
    run: H,
) -> Result<(), jobs::ScheduleError>
where
    H: Fn() -> F + Clone + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    make_up_for_missed(&app, name, cron, &run).await;
    run_schedule(name, cron, stop, move |tick| {
        let (app, run) = (app.clone(), run.clone());
        async move {
            if is_ours(&app, name, tick).await {
                run().await;
            }
            Ok(())
        }
    })
    .await
}

async fn make_up_for_missed<H, F>(app: &App, name: &'static str, cron: &str, run: &H)
where
    H: Fn() -> F,
    F: Future<Output = ()>,
{
    let Some(missed) = jobs::schedule::previous_tick(cron, app.clock.now()) else {
        return;
    };
    match queries::has_tick_since(&app.db, name, missed).await {
        Ok(true) => {}
        Ok(false) => {
            if is_ours(app, name, missed).await {
                info!(event = "tick_made_up_for", schedule = name, tick = %missed, "making up for the `{name}` tick of {missed}");
                run().await;
            }
        }
        Err(error) => {
            error!(event = "tick_failed", schedule = name, %error, "failed to look for missed `{name}` ticks");
        }
    }
}

async fn is_ours(app: &App, name: &'static str, tick: DateTime<Utc>) -> bool {
    match queries::claim_tick(&app.db, name, tick, app.clock.now()).await {
        Ok(is_ours) => {
            debug!(event = "tick", schedule = name, %tick, is_ours, "`{name}` tick of {tick}");
            is_ours
        }
        Err(error) => {
            error!(event = "tick_failed", schedule = name, %tick, %error, "failed to claim the `{name}` tick of {tick}");
            false
        }
    }
}
