//! What half the load does to the service in the long run: nothing, or it is a leak.
//!
//! A `serve` process of its own works on imports and deliveries at a steady rate, half of what it
//! can do, with ticks every second. Its memory, that of Redis, the size of the database and the
//! latencies of the last third are held against those of the second; the first third is for
//! warming up.
//!
//! | file | what |
//! |---|---|
//! | [`child`] | the service |
//! | [`world`] | the marketplace and the receiver that it talks to |
//! | [`load`] | shops that import orders |
//! | [`samples`] | what is looked at, and when |
//! | [`steadiness`] | the table, and the verdict |

mod child;
mod load;
mod samples;
mod steadiness;
mod world;

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use tokio::time::sleep;

use self::child::Child;
use self::load::Load;
use self::steadiness::{Steadiness, Watched};
use self::world::World;
use super::Profile;
use crate::config::Settings;

/// How long it does all that it can, to find out what half of it is.
const FULL_LOAD: Duration = Duration::from_secs(20);
/// Until what the full load left behind is done.
const SETTLE: Duration = Duration::from_secs(5);

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
    pub(super) async fn run(self, profile: Profile, settings: &Settings) -> Result<Steadiness> {
        let world = World::start().await?;
        let service = Child::start(settings, &world).await?;
        let load = Load::prepare(&service.base_url(), self.shops, &world).await?;
        let rate = match self.rate {
            Some(rate) => rate,
            None => load.at_full(FULL_LOAD).await? / 2,
        };
        sleep(SETTLE).await;
        world.forget_latencies();
        let length = Duration::from_secs(self.seconds.into());
        let started = Instant::now();
        let selling = load.at_rate(rate.max(1), length);
        let watching = samples::take(settings, &service, &world, &load, length);
        let (imports, samples) = tokio::try_join!(selling, watching)?;
        service.stop();
        Ok(Steadiness::new(&Watched {
            profile,
            rate,
            started,
            length,
            samples,
            errors: imports.errors,
            imports: imports.latencies,
            deliveries: world.latencies(),
        }))
    }
}
