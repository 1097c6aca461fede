//! What every handler works with: the database, the queue, the clock, the way out.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jobs::{Queue, QueueError, QueueOptions};
use reqwest::Url;
use secrecy::ExposeSecret;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::clock::Clock;
use crate::config::{Listener, Settings};
use crate::db::{Db, DbError, Trouble};
use crate::encryption::{MissingKey, check_keys};
use crate::http::admission::Organizations;
use crate::http::rates::Rates;
use crate::ids::Ids;
use crate::keys::StartWithoutKey;
use crate::lease::LeaseTimes;
use crate::marketplace::connector::{Connector, MockClient, http_client};
use crate::marketplace::{Imports, SyncLanes, Together};
use crate::metrics::Metrics;
use crate::retry::{Backoff, Jitter};
use crate::stock::connector::Adapters;
use crate::stock::turns::Turns;
use crate::traces::Traces;
use crate::webhooks::{DeliverySteps, Guard, Lanes, Sender};

/// How long an import waits for somebody else's outcome before it answers "in progress".
const IMPORT_WAIT: Duration = Duration::from_secs(15);

/// How often a start looks for a database or a queue that is not there.
const LOOK_AGAIN: Backoff = Backoff {
    base: Duration::from_millis(250),
    max: Duration::from_secs(8),
};

/// The service, once its database and queue are there.
pub struct App {
    /// How it is set.
    pub settings: Settings,
    /// The database.
    pub db: Db,
    /// The queue.
    pub queue: Queue,
    /// The time.
    pub clock: Clock,
    /// New ids.
    pub ids: Ids,
    /// The way out to the marketplaces.
    pub connector: Arc<dyn Connector>,
    /// The way out to the marketplaces for quantities.
    pub adapters: Adapters,
    /// The way out to webhooks.
    pub webhooks: Sender,
    /// Requests of this process to each of them.
    pub lanes: Lanes,
    /// Stores of each organization that are synced by this process.
    pub sync_lanes: SyncLanes,
    /// Spreads the retries of deliveries.
    pub jitter: Jitter,
    /// How often somebody may call.
    pub rates: Rates,
    /// Whose keys and tokens are, for sharing fairly.
    pub organizations: Organizations,
    /// Whether an API key was seen: anonymous access by default ends with the first.
    pub key_exists: Arc<AtomicBool>,
    /// Orders that wait for their turn to change reservations.
    pub(crate) turns: Turns,
    /// Callers that wait for an import of this process.
    pub imports: Imports,
    /// What callers of this process have done together.
    pub(crate) together: Together,
    /// What deliveries of this process have done together.
    pub(crate) deliveries: DeliverySteps,
    /// How long an import waits for somebody else's outcome.
    pub import_wait: Duration,
    /// How long the lease of a run lasts.
    pub lease_times: LeaseTimes,
    /// What operators watch.
    pub metrics: Metrics,
    /// What caused what.
    pub traces: Traces,
    /// Work that goes on when its caller goes away; a shutdown waits for it.
    pub tasks: TaskTracker,
    /// Fires when the process shuts down.
    pub stop: CancellationToken,
}

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It has no database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// It could not read the secrets in it.
    #[error(transparent)]
    MissingKey(#[from] MissingKey),
    /// It has no queue.
    #[error("the queue is unreachable: {0}")]
    Queue(#[from] QueueError),
    /// It has no way out.
    #[error("the HTTP client cannot be set up: {0}")]
    Http(#[from] reqwest::Error),
    /// Nobody could call it.
    #[error(transparent)]
    NoKey(#[from] StartWithoutKey),
    /// Nobody can say where it is.
    #[error("{0}")]
    Host(String),
}

impl StartError {
    /// Whether it may be gone in a while without anybody changing a setting.
    fn passes(&self) -> bool {
        match self {
            Self::Db(error) => error.passes(),
            // The queue of the embedded profile is in the database.
            Self::Queue(QueueError::Sqlite(error)) => Trouble::of(error).is_some(),
            Self::Queue(error) => error.passes(),
            Self::MissingKey(_) | Self::Http(_) | Self::Host(_) | Self::NoKey(_) => false,
        }
    }
}

/// How long a start waits for what is not there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// Not at all: whoever started a command is told.
    None,
    /// Until it is there: nobody may be there to start a service again.
    Endless,
}

impl Patience {
    /// Tries until it works, or fails for a reason that does not pass.
    pub(crate) async fn wait_for<T, E>(
        self,
        part: &'static str,
        open: impl AsyncFn() -> Result<T, E>,
    ) -> Result<T, StartError>
    where
        StartError: From<E>,
    {
        let mut attempt = 0;
        loop {
            let error = match open().await {
                Ok(opened) => return Ok(opened),
                Err(error) => StartError::from(error),
            };
            if matches!(self, Self::None) || !error.passes() {
                return Err(error);
            }
            attempt += 1;
            let delay = LOOK_AGAIN.delay(attempt);
            let seconds = delay.as_secs_f64();
            warn!(event = "waiting_to_start", part, attempt, retryInSeconds = seconds, %error, "{error}; trying again in {seconds} s");
            sleep(delay).await;
        }
    }
}

impl App {
    /// Connects to everything, and migrates. `own` is where this process serves its API: the
    /// mock marketplace is there unless the settings say otherwise.
    pub async fn connect(settings: Settings, own: Option<SocketAddr>) -> Result<Self, StartError> {
        Self::connect_with(Patience::None, settings, own).await
    }

    /// The same, but may wait for a database or a queue that is not there yet.
    pub(crate) async fn connect_with(
        patience: Patience,
        settings: Settings,
        own: Option<SocketAddr>,
    ) -> Result<Self, StartError> {
        // First, because it installs the TLS provider that a `rediss://` queue needs.
        let http = http_client(settings.marketplace_timeout)?;
        let base_url = match &settings.mock.base_url {
            Some(url) => url.clone(),
            None => own_url(&settings.public, own)?,
        };
        let clock = Clock::system();
        let client = MockClient::new(
            http,
            &base_url,
            settings.mock.credentials.clone(),
            settings.marketplace_timeout,
            clock.clone(),
        );
        let db = patience
            .wait_for("database", async || {
                let db = open_database(&settings).await?;
                let checked = check_keys(&db, &settings.encryption).await;
                checked.map_err(DbError::from)??;
                Ok::<_, StartError>(db)
            })
            .await?;
        let queue = patience
            .wait_for("queue", async || open_queue(&settings, &db).await)
            .await?;
        let client = Arc::new(client);
        Self::new(settings, db, queue, clock, Ids::system(), client).map_err(StartError::Http)
    }

    /// Puts a service together over a migrated database.
    pub fn new(
        settings: Settings,
        db: Db,
        queue: Queue,
        clock: Clock,
        ids: Ids,
        connector: Arc<dyn Connector>,
    ) -> reqwest::Result<Self> {
        let guard = Guard::new(settings.webhook.allow_private_targets);
        let webhooks = Sender::new(guard, settings.callback.timeout)?;
        let adapters = Adapters::new(&settings.stock)?;
        let traces = Traces::new(&settings.traces);
        let turns = Turns::new(settings.database_max_connections);
        let rates = &settings.rates;
        let proxies = rates.proxies.clone();
        let rates = Rates::new(rates.per_key, rates.per_address, proxies, &clock);
        Ok(Self {
            sync_lanes: SyncLanes::new(settings.sync.concurrency),
            settings,
            db,
            queue,
            clock,
            ids,
            connector,
            adapters,
            webhooks,
            lanes: Lanes::default(),
            jitter: Jitter::system(),
            rates,
            organizations: Organizations::default(),
            key_exists: Arc::default(),
            turns,
            imports: Imports::default(),
            together: Together::default(),
            deliveries: DeliverySteps::default(),
            import_wait: IMPORT_WAIT,
            lease_times: LeaseTimes::default(),
            metrics: Metrics::default(),
            traces,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        })
    }
}

/// Opens the database of these settings and brings its schema up to date.
pub async fn open_database(settings: &Settings) -> Result<Db, DbError> {
    let url = settings.database_url.expose_secret();
    let db = Db::connect(url, settings.database_max_connections).await?;
    db.migrate().await?;
    Ok(db)
}

/// Opens the queue that goes with this database: Redis, or tables of the SQLite file.
pub async fn open_queue(settings: &Settings, db: &Db) -> Result<Queue, QueueError> {
    let options = QueueOptions {
        prefix: settings.queue_prefix.clone(),
        ..QueueOptions::default()
    };
    match (db, &settings.redis_url) {
        (Db::Sqlite { writer, .. }, _) => Queue::open_sqlite(writer, options).await,
        (Db::Postgres(_), Some(url)) => Queue::connect_redis(url.expose_secret(), options).await,
        (Db::Postgres(_), None) => unreachable!("settings with PostgreSQL have a Redis"),
    }
}

/// Where the API of this machine can be reached from here.
fn own_url(listener: &Listener, bound: Option<SocketAddr>) -> Result<Url, StartError> {
    let mut address = match bound {
        Some(address) => address,
        None => listener
            .address()
            .map_err(|error| StartError::Host(format!("`HOST`: {error}")))?,
    };
    if address.ip().is_unspecified() {
        match address {
            SocketAddr::V4(_) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            SocketAddr::V6(_) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        }
    }
    let url = format!("http://{address}");
    Ok(Url::parse(&url).expect("an address makes a URL"))
}
