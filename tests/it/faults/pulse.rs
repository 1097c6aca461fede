//! How much gets done, all the time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};

use crate::support::counting_marketplace::CountingMarketplace;
use crate::support::subscriber::Subscriber;

/// Over so long a pace is taken.
pub(super) const WINDOW: Duration = Duration::from_secs(6);
/// How soon after a fault the pace must be back.
const BACK_WITHIN: Duration = Duration::from_secs(30);
const BEAT: Duration = Duration::from_millis(100);

/// What was done up to a moment.
#[derive(Clone, Copy, Debug)]
struct Beat {
    at: Instant,
    orders: usize,
    deliveries: usize,
}

/// What gets done in a [`WINDOW`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) orders: usize,
    deliveries: usize,
}

impl Pace {
    /// Whether it is at least 95 % of another.
    fn is_back_at(self, before: Self) -> bool {
        self.orders * 100 >= before.orders * 95 && self.deliveries * 100 >= before.deliveries * 95
    }
}

/// Watches until it is dropped.
pub(super) struct Pulse {
    beats: Arc<Mutex<Vec<Beat>>>,
    task: JoinHandle<()>,
}

impl Pulse {
    /// Orders that the marketplace gave out, and requests that came to the subscriber.
    pub(super) fn of(marketplace: CountingMarketplace, subscriber: Arc<Subscriber>) -> Self {
        let beats = Arc::<Mutex<Vec<Beat>>>::default();
        let kept = beats.clone();
        let task = tokio::spawn(async move {
            let mut ticks = interval(BEAT);
            loop {
                ticks.tick().await;
                let beat = Beat {
                    at: Instant::now(),
                    orders: marketplace.sold(),
                    deliveries: subscriber.total(),
                };
                kept.lock().unwrap().push(beat);
            }
        });
        Self { beats, task }
    }

    /// Waits for the pace from now on.
    pub(super) async fn take(&self) -> Pace {
        let from = Instant::now();
        self.pace(from).await
    }

    /// Waits until the pace is again what it was before; tells how long after `ended` it was, or
    /// how it was instead.
    pub(super) async fn is_back(&self, before: Pace, ended: Instant) -> Result<Duration, String> {
        let mut paces = Vec::new();
        let mut from = ended;
        while from <= ended + BACK_WITHIN {
            let pace = self.pace(from).await;
            if pace.is_back_at(before) {
                return Ok(from - ended);
            }
            paces.push(pace);
            from += BEAT;
        }
        let of = |count: fn(&Pace) -> usize| paces.iter().step_by(10).map(count).collect();
        let orders: Vec<usize> = of(|pace| pace.orders);
        let deliveries: Vec<usize> = of(|pace| pace.deliveries);
        Err(format!(
            "not back at {before:?} within {BACK_WITHIN:?}: {orders:?} orders, {deliveries:?} deliveries"
        ))
    }

    async fn pace(&self, from: Instant) -> Pace {
        tokio::time::sleep_until(from + WINDOW + 2 * BEAT).await;
        let beats = self.beats.lock().unwrap();
        let at = |moment| beats[beats.partition_point(|beat| beat.at < moment)];
        let (start, end) = (at(from), at(from + WINDOW));
        Pace {
            orders: end.orders - start.orders,
            deliveries: end.deliveries - start.deliveries,
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.task.abort();
    }
}
