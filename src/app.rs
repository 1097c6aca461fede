//! What every handler works with: the database, the queue, the clock, the way out.

use std::sync::Arc;
use std::time::Duration;

use jobs::{Queue, QueueOptions};
use secrecy::ExposeSecret;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::Settings;
use crate::db::{Db, DbError};
use crate::ids::Ids;
use crate::lease::LeaseTimes;
use crate::marketplace::Imports;
use crate::marketplace::connector::Connector;

/// How long an import waits for somebody else's outcome before it answers "in progress".
const IMPORT_WAIT: Duration = Duration::from_secs(15);

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
    /// Callers that wait for an import of this process.
    pub imports: Imports,
    /// How long an import waits for somebody else's outcome.
    pub import_wait: Duration,
    /// How long the lease of a run lasts.
    pub lease_times: LeaseTimes,
    /// Work that goes on when its caller goes away; a shutdown waits for it.
    pub tasks: TaskTracker,
}

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It has no database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// It has no queue.
    #[error("the queue is unreachable: {0}")]
    Queue(#[from] jobs::QueueError),
}

impl App {
    /// Puts a service together over a migrated database.
    pub fn new(
        settings: Settings,
        db: Db,
        queue: Queue,
        clock: Clock,
        ids: Ids,
        connector: Arc<dyn Connector>,
    ) -> Self {
        Self {
            settings,
            db,
            queue,
            clock,
            ids,
            connector,
            imports: Imports::default(),
            import_wait: IMPORT_WAIT,
            lease_times: LeaseTimes::default(),
            tasks: TaskTracker::new(),
        }
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
pub async fn open_queue(settings: &Settings, db: &Db) -> Result<Queue, jobs::QueueError> {
    let options = QueueOptions { prefix: settings.queue_prefix.clone(), ..QueueOptions::default() };
    match (db, &settings.redis_url) {
        (Db::Sqlite { writer, .. }, _) => Queue::open_sqlite(writer, options).await,
        (Db::Postgres(_), Some(url)) => Queue::connect_redis(url.expose_secret(), options).await,
        (Db::Postgres(_), None) => unreachable!("settings with PostgreSQL have a Redis"),
    }
}
