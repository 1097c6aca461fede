//! The circuit breaker of an endpoint: who fails again and again is left in peace for a while.
//!
//! It opens with the tenth failure in a row. While it is open, nothing is sent, and what is owed
//! waits without an attempt being counted. When its time is up, one delivery is let through: a
//! success closes it, a failure opens it for twice as long, up to an hour.

use chrono::TimeDelta;

/// Failures in a row that open it.
pub(super) const THRESHOLD: i32 = 10;
/// How long it is open at first.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(60);
/// It is never open for longer.
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(1);

/// Whether nothing but a probe may be sent.
pub(super) fn is_tripped(consecutive_failures: i32) -> bool {
    consecutive_failures >= THRESHOLD
}

/// For how long it opens after a failure, the last of so many in a row; none when it stays as it
/// is. Requests that were on the way when it opened do not make it worse.
pub(super) fn pause(consecutive_failures: i32, is_probe: bool) -> Option<TimeDelta> {
    let failed_probes = consecutive_failures - THRESHOLD;
    if failed_probes < 0 || failed_probes > 0 && !is_probe {
        return None;
    }
    // An hour is reached after six doublings.
    let doublings = failed_probes.clamp(0, 10);
    Some((FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_opens_with_the_tenth_failure_and_for_longer_with_each_probe() {
        let seconds = |failures, is_probe| pause(failures, is_probe).map(|it| it.num_seconds());
        assert_eq!((seconds(1, false), seconds(9, false)), (None, None));
        assert_eq!(seconds(10, false), Some(60));
        let probes: Vec<_> = (11..=17).filter_map(|it| seconds(it, true)).collect();
        insta::assert_compact_debug_snapshot!(probes, @"[120, 240, 480, 960, 1920, 3600, 3600]");
        assert_eq!(seconds(i32::MAX, true), Some(3600));
        assert_eq!(seconds(11, false), None, "a straggler");
    }

    proptest! {
        #[test]
        fn a_pause_has_bounds_and_never_shrinks_with_failures(failures in 0..i32::MAX) {
            prop_assert_eq!(pause(failures, true).is_some(), is_tripped(failures));
            let [now, then] = [failures, failures + 1].map(|it| pause(it, true));
            prop_assert!(now <= then);
            prop_assert!(now.is_none_or(|it| (FIRST_PAUSE..=LONGEST_PAUSE).contains(&it)));
            prop_assert_eq!(pause(failures, false).is_some(), failures == THRESHOLD);
        }
    }
}
