//! How far an organization is with pushing its stock, and whether it may go on to the last phase.
//!
//! The phases: development against mocks, staging against test environments, one store live for a
//! week while the others only try it out, and all stores. The figures are of the last seven days;
//! whether an oversold order has an explanation is for people to say, so any is shown.

use chrono::{DateTime, TimeDelta, Utc};

use super::error::Error;
use super::queries::push_log::{self as queries, StoreModes};
use crate::App;

/// What the figures are of.
const PERIOD: TimeDelta = TimeDelta::days(7);
/// Rows of each store that are looked at.
const ROWS: i64 = 10_000;
/// So much may be refused, and so much may be late.
const TOLERATED: f64 = 0.01;

/// Where an organization is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Against mocks: nothing is pushed.
    Development,
    /// Against test environments, or without requests.
    Staging,
    /// One store is live.
    Canary,
    /// More are.
    All,
}

impl Phase {
    /// Its number.
    pub(super) const fn number(self) -> i32 {
        match self {
            Self::Development => 1,
            Self::Staging => 2,
            Self::Canary => 3,
            Self::All => 4,
        }
    }

    fn of(modes: StoreModes) -> Self {
        match modes {
            StoreModes {
                live: 0,
                dry_run: 0,
                ..
            } => Self::Development,
            StoreModes { live: 0, .. } => Self::Staging,
            StoreModes {
                live,
                staged,
                dry_run,
                ..
            } if staged == live + dry_run => Self::Staging,
            StoreModes { live: 1, .. } => Self::Canary,
            _ => Self::All,
        }
    }
}

/// A condition of going on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    pub(super) name: &'static str,
    /// What it demands, in words.
    pub(super) demand: &'static str,
    /// None: nobody knows yet.
    pub(super) value: Option<f64>,
    pub(super) is_met: bool,
}

/// How far an organization is.
#[derive(Clone, Debug)]
pub(super) struct Rollout {
    pub(super) is_enabled: bool,
    pub(super) phase: Phase,
    pub(super) modes: StoreModes,
    pub(super) conditions: Vec<Condition>,
}

/// How far an organization is.
pub(super) async fn rollout(app: &App, organization_id: &str) -> Result<Rollout, Error> {
    let now = app.clock.now();
    let since = now - PERIOD;
    let ttl = app.settings.stock.queue_ttl.num_seconds();
    let mut tx = app.db.read_at_length().await?;
    let modes = queries::store_modes(&mut tx, organization_id).await?;
    let (items, refused) = queries::item_counts(&mut tx, organization_id, since).await?;
    let (rows, late) = queries::late_rows(&mut tx, organization_id, since, ttl, ROWS).await?;
    let shortfall = queries::shortfall_units(&mut tx, organization_id).await?;
    tx.save().await?;
    let conditions = vec![
        lost_updates(modes, now),
        share(
            "rejectedItemRatio",
            "less than 1 % of the items are refused",
            refused,
            items,
        ),
        share(
            "overdueRowRatio",
            "99 % of the rows are not overdue",
            late,
            rows,
        ),
        Condition {
            name: "shortfallUnits",
            demand: "every oversold unit is explained: none is open",
            value: Some(float(shortfall)),
            is_met: shortfall == 0,
        },
        set_accuracy(modes),
    ];
    Ok(Rollout {
        is_enabled: app.settings.stock.enabled,
        phase: Phase::of(modes),
        modes,
        conditions,
    })
}

/// The days since a live store was last found to show something else than it was told.
fn lost_updates(modes: StoreModes, now: DateTime<Utc>) -> Condition {
    let days = |at: DateTime<Utc>| (now - at).as_seconds_f64() / 86_400.0;
    let is_compared = modes.live > 0 && modes.never_reconciled == 0;
    let is_quiet = modes.drifted_at.is_none_or(|at| now - at >= PERIOD);
    Condition {
        name: "daysWithoutLostUpdate",
        demand: "no comparison has found a lost update for 7 days",
        value: modes.drifted_at.map(days),
        is_met: is_compared && is_quiet,
    }
}

fn share(name: &'static str, demand: &'static str, part: i64, whole: i64) -> Condition {
    let ratio = (whole > 0).then(|| float(part) / float(whole));
    Condition {
        name,
        demand,
        value: ratio,
        is_met: ratio.is_some_and(|ratio| ratio < TOLERATED),
    }
}

fn set_accuracy(modes: StoreModes) -> Condition {
    let (checked, accurate) = (modes.sets_checked, modes.sets_accurate);
    Condition {
        name: "setAccuracyRatio",
        demand: "every set is shown as its components make it",
        value: (checked > 0).then(|| float(accurate) / float(checked)),
        is_met: modes.live > 0 && modes.never_reconciled == 0 && accurate == checked,
    }
}

/// Counts stop far below where a float skips whole numbers.
fn float(count: i64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modes(live: i64, dry_run: i64, off: i64, staged: i64) -> StoreModes {
        StoreModes {
            live,
            dry_run,
            off,
            staged,
            drifted_at: None,
            reconciled_at: None,
            never_reconciled: 0,
            sets_checked: 0,
            sets_accurate: 0,
        }
    }

    #[test]
    fn the_phase_is_what_the_stores_are_set_to() {
        let phase = |modes| Phase::of(modes).number();
        assert_eq!(phase(modes(0, 0, 5, 0)), 1);
        assert_eq!(phase(modes(0, 2, 3, 0)), 2);
        assert_eq!(
            phase(modes(2, 1, 0, 3)),
            2,
            "all of them in a test environment"
        );
        assert_eq!(phase(modes(1, 4, 0, 0)), 3);
        assert_eq!(phase(modes(5, 0, 0, 0)), 4);
    }

    #[test]
    fn nothing_is_met_that_nobody_has_looked_at() {
        let now: DateTime<Utc> = "2024-01-08T12:00:00Z".parse().unwrap();
        let never = StoreModes {
            never_reconciled: 1,
            ..modes(1, 0, 0, 0)
        };
        assert!(!lost_updates(never, now).is_met);
        assert!(!set_accuracy(never).is_met);
        assert!(!share("", "", 0, 0).is_met);
        assert!(lost_updates(modes(1, 0, 0, 0), now).is_met);
        let drifted = |days| StoreModes {
            drifted_at: Some(now - TimeDelta::days(days)),
            ..modes(1, 0, 0, 0)
        };
        assert!(!lost_updates(drifted(6), now).is_met);
        assert!(lost_updates(drifted(7), now).is_met);
        assert!(share("", "", 9, 1000).is_met);
        assert!(!share("", "", 10, 1000).is_met);
    }
}
