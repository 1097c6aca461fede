//! Counts of jobs, and the statistics that the board's page knows by title.

use std::ops::AddAssign;

use apalis_core::{
    backend::{StatType, Statistic},
    task::status::Status,
};

/// Every state of a job, in the order in which [`Counts`] holds them.
pub(super) const STATUSES: [Status; 5] = [
    Status::Pending,
    Status::Queued,
    Status::Running,
    Status::Failed,
    Status::Done,
];

/// How many jobs are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts([u64; STATUSES.len()]);

impl Counts {
    pub(super) fn add(&mut self, status: &Status, count: u64) {
        if let Some(position) = STATUSES.iter().position(|known| known == status) {
            self.0[position] += count;
        }
    }

    fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl From<[u64; STATUSES.len()]> for Counts {
    fn from(counts: [u64; STATUSES.len()]) -> Self {
        Self(counts)
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        for (sum, count) in self.0.iter_mut().zip(other.0) {
            *sum += count;
        }
    }
}

pub(super) const SECONDS_A_DAY: u64 = 86_400;

/// Jobs a day (UTC), for the last seven days, today last.
#[derive(Debug, Default)]
pub(super) struct Activity([usize; 7]);

impl Activity {
    /// Counts jobs of a day that is this many days ago; what is older is left out.
    pub(super) fn add(&mut self, days_ago: u64, jobs: usize) {
        let day = usize::try_from(days_ago).ok();
        let day = day.and_then(|days_ago| self.0.iter_mut().nth_back(days_ago));
        if let Some(count) = day {
            *count += jobs;
        }
    }

    pub(super) fn into_days(self) -> Vec<usize> {
        self.0.to_vec()
    }
}

/// The statistics of a queue, or of all of them. The page translates exactly these titles;
/// it also takes the length of its lists from them.
pub(super) fn statistics(counts: &Counts) -> Vec<Statistic> {
    let [pending, queued, running, failed, done] = counts.0;
    let finished = failed + done;
    let mut statistics = vec![
        number("RUNNING_JOBS", 1, running),
        number("PENDING_JOBS", 1, pending),
        number("FAILED_JOBS", 2, failed),
        number("ACTIVE_JOBS", 2, pending + queued + running),
        number("DONE_JOBS", 4, done),
        number("KILLED_JOBS", 4, 0),
        number("TOTAL_JOBS", 4, counts.total()),
    ];
    if finished > 0 {
        statistics.push(Statistic {
            title: "SUCCESS_RATE".to_owned(),
            stat_type: StatType::Percentage,
            value: percentage(done, finished),
            priority: Some(4),
        });
    }
    statistics
}

fn number(title: &str, priority: u64, value: u64) -> Statistic {
    Statistic {
        title: title.to_owned(),
        stat_type: StatType::Number,
        value: value.to_string(),
        priority: Some(priority),
    }
}

/// A share in per cent, rounded down to one decimal, so that 100 means all of them.
fn percentage(part: u64, whole: u64) -> String {
    let per_mille = u128::from(part) * 1000 / u128::from(whole.max(1));
    format!("{}.{}", per_mille / 10, per_mille % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_per_cent_means_all() {
        assert_eq!(percentage(2000, 2000), "100.0");
        assert_eq!(percentage(1999, 2000), "99.9");
        assert_eq!(percentage(0, 7), "0.0");
    }

    #[test]
    fn today_is_the_last_day_of_the_activity() {
        let mut activity = Activity::default();
        for (days_ago, jobs) in [(0, 5), (6, 2), (7, 100), (0, 1)] {
            activity.add(days_ago, jobs);
        }
        assert_eq!(activity.into_days(), [2, 0, 0, 0, 0, 0, 6]);
    }

    #[test]
    fn the_total_is_the_sum_of_all_states() {
        let statistics = statistics(&Counts([1, 2, 3, 4, 6]));
        let value = |title: &str| {
            let statistic = statistics.iter().find(|found| found.title == title);
            statistic.map(|found| found.value.as_str())
        };
        assert_eq!(value("TOTAL_JOBS"), Some("16"));
        assert_eq!(value("ACTIVE_JOBS"), Some("6"));
        assert_eq!(value("FAILED_JOBS"), Some("4"));
        assert_eq!(value("DONE_JOBS"), Some("6"));
        assert_eq!(value("SUCCESS_RATE"), Some("60.0"));
    }
}
