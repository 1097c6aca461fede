//! What must answer for this process to be ready, and what may not be late.

use std::sync::Arc;

use chrono::TimeDelta;
use jobs::schedule::{CALLBACK, SYNC};

use crate::App;
use crate::http::health::{Age, Check, HealthApi};
use crate::metrics::{Reading, Schedule};

/// A tick may be missed, and the next one be slow.
const TICKS: i32 = 3;
/// Ticks may come every second, and a pass may take longer.
const LEAST_TICK_AGE: TimeDelta = TimeDelta::minutes(1);
/// What a schedule that never fires again is held to.
const UNKNOWN_TICK_AGE: TimeDelta = TimeDelta::minutes(5);
/// A store may wait for its throttle, for a pass, and for a long run of another.
const ORDER_DUE: TimeDelta = TimeDelta::minutes(15);
/// As the alert on the oldest event has it.
const DELIVERY_DUE: TimeDelta = TimeDelta::minutes(5);

/// The health routes of this process.
pub(crate) fn health(app: &Arc<App>) -> HealthApi {
    let (db, queue, watched) = (app.db.clone(), app.queue.clone(), app.clone());
    HealthApi::new(vec![
        Check::new("database", move || {
            let db = db.clone();
            async move { db.ping().await }
        }),
        Check::new("queue", move || {
            let queue = queue.clone();
            async move { queue.ping().await }
        }),
    ])
    .watching(move || {
        let app = watched.clone();
        async move { ages(&*app.metrics.readings.fresh(&app).await) }
    })
}

fn ages(reading: &Reading) -> Vec<Age> {
    let tick = |name, schedule: &str| {
        let schedules = reading.schedules().unwrap_or_default();
        let found = schedules.iter().find(|found| found.name == schedule);
        Age {
            name,
            age: found.and_then(|found| found.age),
            limit: tick_limit(found),
        }
    };
    vec![
        tick("syncTick", SYNC.name),
        tick("callbackTick", CALLBACK.name),
        Age {
            name: "oldestDueOrder",
            age: reading.order_due_for(),
            limit: ORDER_DUE,
        },
        Age {
            name: "oldestDueDelivery",
            age: reading.delivery_due_for(),
            limit: DELIVERY_DUE,
        },
    ]
}

fn tick_limit(schedule: Option<&Schedule>) -> TimeDelta {
    let interval = schedule.and_then(|schedule| schedule.interval);
    interval.map_or(UNKNOWN_TICK_AGE, |interval| {
        (interval * TICKS).max(LEAST_TICK_AGE)
    })
}
