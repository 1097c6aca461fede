//! What half the load does to the service in the long run: nothing, or it is a leak.
//!
//! A `serve` process of its own works on imports and deliveries at a steady rate, half of what it
//! can do, with ticks every second. The first third of the time is for warming up. After it nothing
//! may drift: memory, that of Redis and the latencies from the second third to the last, the bytes
//! an order by their trend ([`growth`] says why).
//!
//! | file | what |
//! |---|---|
//! | [`load`] | shops that import orders |
//! | [`samples`] | what is looked at, and when |
//! | [`growth`] | whether an order takes more and more room |
//! | [`steadiness`] | the table, and the verdict |

mod growth;
mod load;
mod samples;
mod steadiness;

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use tokio::time::sleep;

use self::load::Load;
use self::steadiness::{Steadiness, Watched};
use super::marketplace::Marketplace;
use super::place::Place;
use super::receiver::Receiver;
use super::subject::Subject;

/// How long it does all that it can, to find out what half of it is.
const FULL_LOAD: Duration = Duration::from_secs(20);
/// Until what the full load left behind is done.
const SETTLE: Duration = Duration::from_secs(5);

/// What makes it busy with everything that it can be busy with, at each of its ticks.
const BUSY: [(&str, &str); 4] = [
    ("SYNC_THROTTLE_SECONDS", "0"),
    ("SYNC_BACKOFF_BASE_SECONDS", "1"),
    ("SYNC_BACKOFF_MAX_SECONDS", "1"),
    ("CALLBACK_BACKOFF_SECONDS", "1"),
];

/// Memory, sizes and latencies of the service over minutes at half load.
#[derive(Clone, Debug, Args)]
pub(super) struct Soak {
    /// How long, without warming up.
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// Orders a second; half of what the service can do if it is not given.
    #[arg(long, value_name = "ORDERS")]
    rate: Option<u32>,
    /// Shops that sell.
    #[arg(long, default_value_t = 60)]
    shops: usize,
}

impl Soak {
    pub(super) async fn run(self, place: &Place) -> Result<Steadiness> {
        let (marketplace, receiver) = (Marketplace::start().await?, Receiver::start().await?);
        let mut environment = place.environment()?;
        environment.extend(BUSY.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let roles = "api,worker,scheduler";
        let service = Subject::start(&environment, roles, marketplace.address()).await?;
        let load = Load::prepare(&service.base_url(), self.shops, &receiver.url("timed")).await?;
        let rate = match self.rate {
            Some(rate) => rate,
            None => load.at_full(FULL_LOAD).await? / 2,
        };
        sleep(SETTLE).await;
        receiver.forget_times();
        let length = Duration::from_secs(self.seconds.into());
        let started = Instant::now();
        let selling = load.at_rate(rate.max(1), length);
        let settings = place.settings()?;
        let watching = samples::take(&settings, &service, &receiver, &load, length);
        let (imports, samples) = tokio::try_join!(selling, watching)?;
        service.stop();
        Ok(Steadiness::new(&Watched {
            profile: place.profile(),
            rate,
            started,
            length,
            samples,
            errors: imports.errors,
            imports: imports.times,
            deliveries: receiver.times(),
        }))
    }
}
