//! How much gets done, all the time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};

use super::form::Form;
use crate::support::counting_marketplace::CountingMarketplace;
use crate::support::subscriber::Subscriber;

const BEAT: Duration = Duration::from_millis(100);

/// What was done up to a moment.
#[derive(Clone, Copy, Debug)]
struct Beat {
    at: Instant,
    orders: usize,
    deliveries: usize,
}

/// What gets done in a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) orders: usize,
    deliveries: usize,
}

impl Pace {
    /// How much of another it is, in percent: of orders or of deliveries, whichever is less.
    fn percent_of(self, before: Self) -> usize {
        let orders = self.orders * 100 / before.orders.max(1);
        orders.min(self.deliveries * 100 / before.deliveries.max(1))
    }
}

/// Watches until it is dropped.
pub(super) struct Pulse {
    form: Form,
    beats: Arc<Mutex<Vec<Beat>>>,
    task: JoinHandle<()>,
}

impl Pulse {
    /// Orders that the marketplace gave out, and requests that came to the subscriber.
    pub(super) fn of(
        form: Form,
        marketplace: CountingMarketplace,
        subscriber: Arc<Subscriber>,
    ) -> Self {
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
        Self { form, beats, task }
    }

    /// Waits for the pace from now on.
    pub(super) async fn take(&self) -> Pace {
        let from = Instant::now();
        self.pace(from).await
    }

    /// Waits until enough of the pace before is back; tells how long after `ended` it was, and how
    /// much, or how it was instead.
    pub(super) async fn is_back(
        &self,
        before: Pace,
        ended: Instant,
    ) -> Result<(Duration, usize), String> {
        let Form {
            percent, within, ..
        } = self.form;
        let mut paces = Vec::new();
        let mut from = ended;
        while from <= ended + within {
            let pace = self.pace(from).await;
            if pace.percent_of(before) >= percent {
                return Ok((from - ended, pace.percent_of(before)));
            }
            paces.push(pace);
            from += BEAT;
        }
        let of = |count: fn(&Pace) -> usize| paces.iter().step_by(10).map(count).collect();
        let orders: Vec<usize> = of(|pace| pace.orders);
        let deliveries: Vec<usize> = of(|pace| pace.deliveries);
        Err(format!(
            "not back at {percent} % of {before:?} within {within:?}: {orders:?} orders, \
             {deliveries:?} deliveries"
        ))
    }

    async fn pace(&self, from: Instant) -> Pace {
        let window = self.form.window;
        tokio::time::sleep_until(from + window + 2 * BEAT).await;
        let beats = self.beats.lock().unwrap();
        let at = |moment| beats[beats.partition_point(|beat| beat.at < moment)];
        let (start, end) = (at(from), at(from + window));
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
