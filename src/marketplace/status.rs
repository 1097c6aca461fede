//! How a store is doing: one pure function, used by import, worker and status endpoint alike.

use super::model::{SyncLogStatus, SyncStatus};

/// How many of the newest tried rows count.
pub const WINDOW: usize = 20;

/// The status of a store whose rows are `newest_first`: by creation, so that a retry does not
/// make an old row the newest. Rows that are still pending tell nothing and are left out.
///
/// A query needs to give only the newest [`WINDOW`] rows that are not pending.
pub fn sync_status(newest_first: impl IntoIterator<Item = SyncLogStatus>) -> SyncStatus {
    let mut window = newest_first
        .into_iter()
        .filter(|status| *status != SyncLogStatus::Pending)
        .take(WINDOW)
        .peekable();
    let Some(&newest) = window.peek() else {
        return SyncStatus::Pending;
    };
    let (mut any_success, mut any_bad) = (false, false);
    for status in window {
        match status {
            SyncLogStatus::Success => any_success = true,
            SyncLogStatus::Failed | SyncLogStatus::RateLimited => any_bad = true,
            SyncLogStatus::Pending => {}
        }
    }
    match (newest, any_success, any_bad) {
        (SyncLogStatus::Success, _, false) => SyncStatus::Success,
        (SyncLogStatus::Failed, false, _) => SyncStatus::Failed,
        _ => SyncStatus::Partial,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `S`, `F`, `R` and `P`, newest first.
    fn rows(letters: &str) -> Vec<SyncLogStatus> {
        let status = |letter| match letter {
            'S' => SyncLogStatus::Success,
            'F' => SyncLogStatus::Failed,
            'R' => SyncLogStatus::RateLimited,
            _ => SyncLogStatus::Pending,
        };
        letters.chars().map(status).collect()
    }

    #[test]
    fn the_table_t1_to_t17_holds() {
        use SyncStatus::{Failed, Partial, Pending, Success};
        let twenty = |newer: &str, oldest: &str| newer.repeat(20) + oldest;
        for (name, letters, expected) in [
            ("T1", String::new(), Pending),
            ("T2", "S".into(), Success),
            ("T3", twenty("S", "F"), Success),
            ("T4", "SF".into(), Partial),
            ("T5", "SR".into(), Partial),
            ("T6", "FS".into(), Partial),
            ("T7", "RS".into(), Partial),
            ("T8", "F".into(), Failed),
            ("T9", "FR".into(), Failed),
            ("T10", "R".into(), Partial),
            ("T11", "RF".into(), Partial),
            ("T12", twenty("F", "S"), Failed),
            ("T13", twenty("R", "S"), Partial),
            ("T14", "P".into(), Pending),
            ("T15", "PS".into(), Success),
            ("T16", "PF".into(), Failed),
            ("T17", "SPS".into(), Success),
        ] {
            assert_eq!(sync_status(rows(&letters)), expected, "{name}: {letters}");
        }
    }

    #[test]
    fn pending_rows_do_not_use_up_the_window() {
        assert_eq!(
            sync_status(rows(&("P".repeat(30) + "S"))),
            SyncStatus::Success
        );
        assert_eq!(
            sync_status(rows(&("SP".repeat(19) + "SF"))),
            SyncStatus::Success
        );
        assert_eq!(
            sync_status(rows(&("SP".repeat(19) + "F"))),
            SyncStatus::Partial
        );
    }

    /// The rules as they are written, one after another.
    fn naive(rows: &[SyncLogStatus]) -> SyncStatus {
        let tried: Vec<_> = rows
            .iter()
            .copied()
            .filter(|row| *row != SyncLogStatus::Pending)
            .collect();
        let window = &tried[..tried.len().min(20)];
        let success = window.contains(&SyncLogStatus::Success);
        let bad =
            window.contains(&SyncLogStatus::Failed) || window.contains(&SyncLogStatus::RateLimited);
        if window.is_empty() {
            SyncStatus::Pending
        } else if window[0] == SyncLogStatus::Success && !bad {
            SyncStatus::Success
        } else if success && bad {
            SyncStatus::Partial
        } else if window[0] == SyncLogStatus::Failed && !success {
            SyncStatus::Failed
        } else {
            SyncStatus::Partial
        }
    }

    proptest! {
        #[test]
        fn the_written_rules_give_the_same_answer(letters in "(S|S|S|S|F|R|P){0,45}") {
            let rows = rows(&letters);
            prop_assert_eq!(sync_status(rows.iter().copied()), naive(&rows));
        }

        #[test]
        fn rows_beyond_the_window_change_nothing(newer in "[SFR]{20}", older in "[SFRP]{0,9}") {
            prop_assert_eq!(sync_status(rows(&newer)), sync_status(rows(&(newer + &older))));
        }
    }
}
