//! Deletes what has served its purpose, so that nothing grows without bound.

use std::time::Duration;

use chrono::TimeDelta;
use tracing::{error, info};

use super::queries;
use crate::App;
use crate::http::idempotency::purge_expired_keys;
use crate::marketplace;
use crate::stock::recount::finish_recounts;
use crate::webhooks;

/// Ticks are kept for a day, to see which replica ran when.
const TICKS: TimeDelta = TimeDelta::days(1);
/// Finished jobs are kept for an hour, or as many as a queue may keep, for the board to show.
const FINISHED_JOBS: Duration = Duration::from_hours(1);

/// One round; what fails is logged and tried again next time.
pub async fn tidy_up(app: &App) {
    let now = app.clock.now();
    let jobs = app.queue.purge_finished(FINISHED_JOBS, now).await;
    let ticks = queries::purge_ticks(&app.db, now - TICKS).await;
    let leases = marketplace::clear_expired_leases(app).await;
    let events = webhooks::enforce_retention(app).await;
    let keys = purge_expired_keys(app).await;
    let recounts = finish_recounts(app).await;
    let failures = [
        jobs.as_ref().err().map(ToString::to_string),
        ticks.as_ref().err().map(ToString::to_string),
        leases.as_ref().err().map(ToString::to_string),
        events.as_ref().err().map(ToString::to_string),
        keys.as_ref().err().map(ToString::to_string),
        recounts.as_ref().err().map(ToString::to_string),
    ];
    for error in failures.into_iter().flatten() {
        error!(event = "housekeeping_failed", %error, "failed to tidy up");
    }
    let events = events.unwrap_or_default();
    info!(
        event = "housekeeping_run",
        purgedJobs = jobs.unwrap_or_default(),
        purgedTicks = ticks.unwrap_or_default(),
        expiredLeases = leases.unwrap_or_default(),
        purgedEvents = events.purged_events,
        expiredDeliveries = events.expired_deliveries,
        purgedDeadLetters = events.purged_dead_letters,
        purgedEndpoints = events.purged_endpoints,
        purgedIdempotencyKeys = keys.unwrap_or_default(),
        "tidied up"
    );
}
