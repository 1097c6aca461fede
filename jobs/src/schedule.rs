//! The ticks: what fires when, and the loop that fires it.
//!
//! A tick never works, it enqueues. apalis-cron fires in every replica; that one tick counts
//! once is decided by a row `(schedule, tick)` of the caller. A tick that fires while the
//! former one is still handled is skipped. A missed tick ([`previous_tick`]) is made up for by
//! the caller at its start, and by [`run_schedule`] itself when apalis-cron misses one.

use std::{
    panic::AssertUnwindSafe,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use apalis::prelude::{BoxDynError, Monitor, ParallelizeLayer, WorkerBuilder};
use apalis_cron::{CronScheduler, Tick};
use chrono::{DateTime, TimeDelta, Utc};
use cron::Schedule;
use futures::FutureExt;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::queue::panic_message;

/// A row of the table of ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleEntry {
    /// What rows, logs and metrics call it.
    pub name: &'static str,
    /// When it fires, unless a setting says otherwise (seconds first).
    pub default_cron: &'static str,
    /// What it does.
    pub does: &'static str,
}

/// Enqueues [`crate::SyncStore`] for every store with due rows.
pub const SYNC: ScheduleEntry = ScheduleEntry {
    name: "sync",
    default_cron: "*/30 * * * * *",
    does: "enqueues sync-store for every store with due rows",
};
/// Enqueues [`crate::DeliverCallback`] for every event with due deliveries.
pub const CALLBACK: ScheduleEntry = ScheduleEntry {
    name: "callback",
    default_cron: "*/15 * * * * *",
    does: "enqueues deliver-callback for every event with due deliveries",
};
/// Forgets finished jobs and old rows that nobody needs.
pub const HOUSEKEEPING: ScheduleEntry = ScheduleEntry {
    name: "housekeeping",
    default_cron: "20 * * * * *",
    does: "purges finished jobs and expired rows, in small batches",
};
/// Enqueues [`crate::PushStock`] for every store whose marketplace has to be told something.
pub const STOCK_PUSH: ScheduleEntry = ScheduleEntry {
    name: "stock-push",
    default_cron: "0 * * * * *",
    does: "enqueues push-stock for every store with due quantities",
};
/// Enqueues [`crate::ConfirmStockPush`] for every push whose results may be there.
pub const STOCK_CONFIRM: ScheduleEntry = ScheduleEntry {
    name: "stock-confirm",
    default_cron: "*/3 * * * * *",
    does: "enqueues confirm-stock-push for every push whose next look is due",
};
/// Enqueues [`crate::ReconcileStock`] for every live store.
pub const STOCK_RECONCILE: ScheduleEntry = ScheduleEntry {
    name: "stock-reconcile",
    default_cron: "0 30 3 * * *",
    does: "enqueues reconcile-stock for every live store",
};
/// Forgets old rows of the stock domain, and clears up after runs that died.
pub const STOCK_JANITOR: ScheduleEntry = ScheduleEntry {
    name: "stock-janitor",
    default_cron: "40 0 * * * *",
    does: "purges old stock rows, and ends pushes of runs that died",
};
/// All ticks.
pub const SCHEDULES: [ScheduleEntry; 7] = [
    SYNC,
    CALLBACK,
    HOUSEKEEPING,
    STOCK_PUSH,
    STOCK_CONFIRM,
    STOCK_RECONCILE,
    STOCK_JANITOR,
];

/// Why a schedule cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// Not a cron expression.
    #[error("read the cron expression {text:?}: {reason}")]
    Cron {
        /// The expression.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The expression names no moment to come.
    #[error("find a next tick of {0:?}")]
    NoTick(String),
}

/// Reads a cron expression of six or seven fields, seconds first; with five fields (the
/// classic form) the second is 0.
pub fn parse_cron(text: &str) -> Result<Schedule, ScheduleError> {
    let text = text.trim();
    let full = match text.split_whitespace().count() {
        5 => format!("0 {text}"),
        _ => text.to_owned(),
    };
    Schedule::from_str(&full).map_err(|error| ScheduleError::Cron {
        text: text.to_owned(),
        reason: error.to_string(),
    })
}

/// The latest tick at or before `now`; none if the expression is wrong or never fired.
pub fn previous_tick(cron: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let schedule = parse_cron(cron).ok()?;
    // Going back, the crate overlooks ticks of former years; so the way is forward, by halves.
    let first_after = |at| schedule.after(&at).next().filter(|tick| *tick <= now);
    let mut tick = first_after(DateTime::UNIX_EPOCH)?;
    // There is none between this and now.
    let mut end = now;
    while end - tick >= TimeDelta::seconds(1) {
        let middle = tick + (end - tick) / 2;
        match first_after(middle) {
            Some(later) => tick = later,
            None => end = middle,
        }
    }
    Some(tick)
}

/// From the latest tick at or before `now` to the next one; none if the expression is wrong or
/// has no two ticks.
pub fn interval(cron: &str, now: DateTime<Utc>) -> Option<TimeDelta> {
    let next = parse_cron(cron).ok()?.after(&now).next()?;
    Some(next - previous_tick(cron, now)?)
}

/// Fires `on_tick` with the instant of each tick until `shutdown`, then waits for the last
/// one.
///
/// A slow, failing or panicking handler never ends the schedule. A tick that fires while the
/// former one is still handled is skipped. Every replica that runs this gets every tick.
pub async fn run_schedule<H, F>(
    name: &'static str,
    cron: &str,
    shutdown: CancellationToken,
    on_tick: H,
) -> Result<(), ScheduleError>
where
    H: Fn(DateTime<Utc>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let schedule = parse_cron(cron)?;
    if schedule.after(&now()).next().is_none() {
        return Err(ScheduleError::NoTick(cron.to_owned()));
    }
    let ticks = Ticks {
        name,
        cron: cron.into(),
        on_tick,
        last: Arc::default(),
        busy: Arc::new(Semaphore::new(1)),
    };
    ticks.last.store(now().timestamp(), Ordering::Relaxed);
    let busy = Arc::clone(&ticks.busy);
    let stopping = shutdown.clone();
    let outcome = Monitor::new()
        .should_restart(move |_, error| {
            // Most likely a tick that lay in the past by some microseconds.
            tracing::info!(schedule = name, %error, "schedule {name} starts again");
            !stopping.is_cancelled()
        })
        .register(move |restarts| {
            if restarts > 0 {
                ticks.make_up();
            }
            let ticks = ticks.clone();
            WorkerBuilder::new(format!("schedule-{name}"))
                .backend(CronScheduler::new(schedule.clone()))
                .layer(ParallelizeLayer::new(tokio::spawn))
                .build(move |tick: Tick| {
                    let ticks = ticks.clone();
                    async move {
                        ticks.fire(tick.get_timestamp().cast_signed()).await;
                        Ok::<(), BoxDynError>(())
                    }
                })
        })
        .run_with_signal(async {
            shutdown.cancelled().await;
            Ok(())
        })
        .await;
    if let Err(error) = outcome {
        tracing::warn!(schedule = name, %error, "schedule {name} ended early");
    }
    let _last = busy.acquire().await;
    Ok(())
}

/// What a tick needs, and what it leaves behind.
#[derive(Clone)]
struct Ticks<H> {
    name: &'static str,
    cron: Arc<str>,
    on_tick: H,
    /// The second of the last tick that was fired or skipped.
    last: Arc<AtomicI64>,
    /// Held while a tick is handled.
    busy: Arc<Semaphore>,
}

impl<H, F> Ticks<H>
where
    H: Fn(DateTime<Utc>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    async fn fire(self, second: i64) {
        let name = self.name;
        self.last.fetch_max(second, Ordering::Relaxed);
        let Some(tick) = DateTime::from_timestamp(second, 0) else {
            return;
        };
        let Ok(_busy) = self.busy.try_acquire() else {
            tracing::debug!(schedule = name, %tick, "skipped a tick of {name}: the former one still runs");
            return;
        };
        let on_tick = self.on_tick;
        let error = match AssertUnwindSafe(async { on_tick(tick).await })
            .catch_unwind()
            .await
        {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(panic) => format!("the handler panicked: {}", panic_message(&*panic)),
        };
        tracing::error!(schedule = name, %tick, error, "tick of {name} failed: {error}");
    }

    /// Fires the latest tick if apalis-cron missed it while it started again.
    fn make_up(&self) {
        let missed = previous_tick(&self.cron, now()).map(|tick| tick.timestamp());
        if let Some(missed) = missed
            && missed > self.last.load(Ordering::Relaxed)
        {
            tokio::spawn(self.clone().fire(missed));
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "cron ticks are moments of real time"
)]
fn now() -> DateTime<Utc> {
    Utc::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn the_default_expressions_are_valid() {
        for entry in SCHEDULES {
            assert!(parse_cron(entry.default_cron).is_ok(), "{}", entry.name);
        }
    }

    #[test]
    fn five_fields_mean_second_zero() {
        assert_eq!(
            previous_tick("*/5 * * * *", at("2026-01-02T03:09:59Z")),
            Some(at("2026-01-02T03:05:00Z"))
        );
    }

    #[test]
    fn the_previous_tick_is_at_or_before_now() {
        let cron = SYNC.default_cron;
        let tick = Some(at("2026-01-02T03:04:30Z"));
        assert_eq!(previous_tick(cron, at("2026-01-02T03:04:30Z")), tick);
        assert_eq!(previous_tick(cron, at("2026-01-02T03:04:30.9Z")), tick);
        assert_eq!(previous_tick(cron, at("2026-01-02T03:04:59.999Z")), tick);
        assert_eq!(
            previous_tick(cron, at("2026-01-02T03:05:00Z")),
            Some(at("2026-01-02T03:05:00Z"))
        );
    }

    #[test]
    fn the_previous_tick_may_be_of_a_former_year() {
        assert_eq!(
            previous_tick("59 0 0 1,2 1-5 ? */5", at("2046-04-14T13:26:06Z")),
            Some(at("2045-05-02T00:00:59Z"))
        );
        assert_eq!(
            previous_tick("0 0 0 31 12 *", at("2046-04-14T13:26:06Z")),
            Some(at("2045-12-31T00:00:00Z"))
        );
        assert_eq!(
            previous_tick("0 0 0 1 1 * 2050", at("2046-04-14T13:26:06Z")),
            None
        );
    }

    #[test]
    fn an_interval_is_between_two_ticks() {
        let seconds = |cron, now| interval(cron, at(now)).map(|it| it.num_seconds());
        assert_eq!(seconds(SYNC.default_cron, "2026-01-02T03:04:30Z"), Some(30));
        assert_eq!(
            seconds(SYNC.default_cron, "2026-01-02T03:04:29.9Z"),
            Some(30)
        );
        assert_eq!(seconds("0 0 3 * * *", "2026-01-02T03:04:30Z"), Some(86_400));
        assert_eq!(seconds("nonsense", "2026-01-02T03:04:30Z"), None);
    }

    #[test]
    fn a_wrong_expression_is_named() {
        let error = parse_cron("every now and then").unwrap_err().to_string();
        assert!(error.contains("every now and then"), "{error}");
        assert_eq!(previous_tick("nonsense", at("2026-01-02T03:04:30Z")), None);
    }

    #[tokio::test]
    async fn a_tick_that_apalis_cron_missed_is_made_up_for_once() {
        let (report, mut fired) = tokio::sync::mpsc::unbounded_channel();
        let ticks = Ticks {
            name: "test",
            cron: "0 0 0 1 1 *".into(),
            on_tick: move |tick| {
                let _ = report.send(tick);
                async { Ok(()) }
            },
            last: Arc::default(),
            busy: Arc::new(Semaphore::new(1)),
        };
        ticks.make_up();
        assert_eq!(fired.recv().await, previous_tick("0 0 0 1 1 *", now()));
        ticks.make_up();
        drop(ticks);
        assert_eq!(fired.recv().await, None);
    }
}
