//! Whether an order takes more and more room.
//!
//! A database grows by every order, so its size says nothing; the bytes an order do. But files grow
//! in steps of megabytes, and what autovacuum gives back comes at once: taken from the first and
//! the last size of a stretch, the bytes an order of one minute differ by a sixth from those of the
//! next, and those of two thirds of ten minutes by more than what is to be found. Such noise is
//! one of sizes, and does not add up. So a line is put through the sizes of each half of the time,
//! by how many orders there were: the median of the slopes between any two of them (Theil and
//! Sen), which no step and no outlier moves far. What the slopes differ by is how much the bytes
//! an order changed from the middle of one half to the middle of the other; twice that is what
//! they changed by from the beginning to the end, if they changed evenly, and more than that if they
//! did at once.

use serde::Serialize;

/// What an order may take more in the end, in percent: less than five, so that five are found
/// in spite of the chance that is left in an hour …
const LIMIT: f64 = 3.0;
/// … unless it is less than noise, in bytes of all orders: two steps of a large file.
const NOISE: f64 = 4.0 * 1024.0 * 1024.0;
/// Sizes of a half that are looked at: all pairs of them.
const POINTS: usize = 300;
/// Parts of a half, which tell how much chance there is.
const PARTS: usize = 4;

/// How the bytes an order develop.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Growth {
    bytes_an_order_first: f64,
    bytes_an_order_last: f64,
    percent: f64,
    /// What chance may make of nothing: two standard errors of [`Growth::percent`].
    chance_percent: f64,
    /// What the orders took more than if they had all been as the first ones.
    more_bytes: f64,
}

impl Growth {
    /// By numbers of orders and sizes, in the order of time; none when there are too few.
    pub(super) fn of(sizes: &[(f64, f64)]) -> Option<Self> {
        let (before, after) = sizes.split_at(sizes.len() / 2);
        let chance = error_of_mean(before).hypot(error_of_mean(after)) * 2.0;
        let (before, after) = (slope(before)?, slope(after)?);
        let half = (after - before) / 2.0;
        let (first, last) = (before - half, after + half);
        let percent_of_first = |bytes: f64| {
            if first > 0.0 {
                bytes / first * 100.0
            } else {
                0.0
            }
        };
        let orders = sizes.last()?.0 - sizes.first()?.0;
        Some(Self {
            bytes_an_order_first: first,
            bytes_an_order_last: last,
            percent: percent_of_first(last - first),
            chance_percent: percent_of_first(chance * 2.0),
            more_bytes: (after - before) * orders,
        })
    }

    /// Whether an order takes about as much in the end as in the beginning, as far as can be said.
    pub(super) fn is_even(&self) -> bool {
        self.percent <= LIMIT.max(self.chance_percent) || self.more_bytes <= NOISE
    }

    /// For people.
    pub(super) fn line(&self) -> String {
        let verdict = if self.is_even() { "steady" } else { "DRIFTS" };
        format!(
            "{verdict}: database bytes an order {:.0} after warming up, {:.0} in the end \
             ({:+.1} %, ± {:.1})",
            self.bytes_an_order_first, self.bytes_an_order_last, self.percent, self.chance_percent
        )
    }
}

/// By how much the mean of the slopes of the parts may be wrong: its standard error.
fn error_of_mean(points: &[(f64, f64)]) -> f64 {
    let part = (points.len() / PARTS).max(1);
    let slopes: Vec<f64> = points.chunks_exact(part).filter_map(slope).collect();
    let count = slopes.iter().map(|_| 1.0).sum::<f64>();
    let mean = slopes.iter().sum::<f64>() / count;
    let squares: f64 = slopes.iter().map(|slope| (slope - mean).powi(2)).sum();
    if count > 1.0 {
        (squares / (count - 1.0) / count).sqrt()
    } else {
        0.0
    }
}

/// The median of the slopes between any two points.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let step = points.len().div_ceil(POINTS).max(1);
    let points: Vec<_> = points.iter().copied().step_by(step).collect();
    let mut slopes = Vec::new();
    for (place, (x, y)) in points.iter().enumerate() {
        let later = points[place + 1..].iter().filter(|(later, _)| later > x);
        slopes.extend(later.map(|(later, size)| (size - y) / (later - x)));
    }
    slopes.sort_unstable_by(f64::total_cmp);
    slopes.get(slopes.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::split_mix;

    const MEGABYTE: f64 = 1024.0 * 1024.0;

    /// Sizes of a database of some tables, each of which grows by steps of so many megabytes, second
    /// by second; an order takes so much more in the end.
    fn sizes(seconds: u32, step: f64, drift: f64, mut chance: u64) -> Vec<(f64, f64)> {
        let step = step * MEGABYTE;
        let mut random = move || f64::from(u16::try_from(split_mix(&mut chance) >> 48).unwrap());
        let mut tables = [0.5, 0.25, 0.15, 0.1].map(|share| (share, random() / 65_536.0 * step));
        let mut sizes = Vec::new();
        for second in 0..seconds {
            let so_far = f64::from(second) / f64::from(seconds);
            let noise = 0.9 + random() / 65_536.0 * 0.2;
            for (share, bytes) in &mut tables {
                *bytes += *share * 500_000.0 * (1.0 + drift * so_far) * noise;
            }
            let files = tables.map(|(_, bytes)| (bytes / step).floor() * step);
            sizes.push((f64::from(second) * 100.0, files.iter().sum()));
        }
        sizes
    }

    fn growths(seconds: u32, drift: f64) -> impl Iterator<Item = Growth> {
        (1..=20).map(move |chance| Growth::of(&sizes(seconds, 2.0, drift, chance)).unwrap())
    }

    #[test]
    fn minutes_that_differ_by_steps_of_the_files_are_no_drift() {
        // The very noise that the bytes of single minutes have.
        let sizes = sizes(1200, 2.0, 0.0, 1);
        let minutes = sizes.chunks(60).map(|it| it[59].1 - it[0].1);
        let (least, most) = minutes.fold((f64::MAX, 0.0_f64), |(least, most), grown| {
            (least.min(grown), most.max(grown))
        });
        assert!(most / least > 1.1, "{most} of {least}");
        for seconds in [400, 1200] {
            for growth in growths(seconds, 0.0) {
                assert!(growth.is_even(), "{growth:?} in {seconds} s");
            }
        }
    }

    #[test]
    fn five_percent_more_in_the_end_of_an_hour_are_found_and_twenty_in_minutes() {
        for growth in growths(400, 0.2) {
            assert!(!growth.is_even(), "{growth:?}");
        }
        for growth in growths(2400, 0.05) {
            assert!(!growth.is_even(), "{growth:?}");
            assert!(growth.percent < 9.0, "{growth:?}");
            assert!(growth.line().starts_with("DRIFTS"), "{}", growth.line());
        }
    }

    #[test]
    fn what_is_there_for_a_moment_is_no_drift() {
        let mut sizes = sizes(1200, 2.0, 0.0, 1);
        for (_, size) in sizes.iter_mut().skip(600).step_by(16) {
            *size += 64.0 * MEGABYTE;
        }
        let growth = Growth::of(&sizes).unwrap();
        assert!(growth.percent.abs() < LIMIT, "{growth:?}");
    }

    #[test]
    fn what_the_orders_took_more_is_what_is_above_the_line_of_the_first_ones() {
        // From 100 bytes an order to 200.
        let size = |orders: f64| (orders, 100.0 * orders + orders * orders / 20.0);
        let sizes: Vec<_> = (0..=1000).map(|orders| size(orders.into())).collect();
        let growth = Growth::of(&sizes).unwrap();
        assert!((growth.percent - 100.0).abs() < 1.0, "{growth:?}");
        assert!((growth.more_bytes - 50_000.0).abs() < 500.0, "{growth:?}");
    }

    #[test]
    fn nothing_is_said_of_nothing() {
        assert!(Growth::of(&[]).is_none());
        assert!(Growth::of(&[(1.0, 1.0), (2.0, 2.0)]).is_none());
    }
}
