//! What a measurement has to itself: a folder, settings, organizations, stores, endpoints, events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use jobs::{OutboxId, StoreId};
use secrecy::SecretString;
use serde_json::json;
use tempfile::TempDir;

use super::Profile;
use crate::App;
use crate::config::{Settings, environment};
use crate::marketplace::model::{Marketplace, NewStore, SyncToken};
use crate::marketplace::register_store;
use crate::webhooks::endpoints::{self, EndpointChange, NewEndpoint};
use crate::webhooks::model::EndpointId;
use crate::webhooks::{self, EventType, NewEvent, Recorded};

/// Events recorded in one transaction when many are.
const BATCH: usize = 250;

/// Settings that a measurement takes from the environment, if they are there.
const TAKEN: [&str; 14] = [
    "CALLBACK_BACKOFF_SECONDS",
    "CALLBACK_CONCURRENCY",
    "CALLBACK_CRON",
    "CALLBACK_MAX_ATTEMPTS",
    "CALLBACK_TIMEOUT_MS",
    "DATABASE_MAX_CONNECTIONS",
    "LOG_FORMAT",
    "RUST_LOG",
    "STOCK_BATCH_SIZE",
    "STOCK_CONCURRENCY",
    "SYNC_CHUNK_SIZE",
    "SYNC_CONCURRENCY",
    "SYNC_CRON",
    "SYNC_ROW_CONCURRENCY",
];

/// A folder that is gone when it is dropped, and the settings of services that are measured.
pub(in crate::cli) struct Place {
    folder: TempDir,
    profile: Profile,
}

impl Place {
    pub(super) fn new(profile: Profile) -> Result<Self> {
        let folder = tempfile::tempdir().context("the measurement has no temporary folder")?;
        Ok(Self { folder, profile })
    }

    pub(super) fn profile(&self) -> Profile {
        self.profile
    }

    /// The settings of a service, by name: a database in the folder or the servers of the
    /// environment, a queue of its own, free ports.
    pub(super) fn environment(&self) -> Result<BTreeMap<String, String>> {
        let folder = self.folder.path();
        let name = folder.file_name().and_then(|name| name.to_str());
        let mut settings = BTreeMap::from([
            ("PORT", "0".to_owned()),
            ("ADMIN_PORT", "0".to_owned()),
            // Every temporary folder has a name of its own.
            ("QUEUE_PREFIX", format!("{}:", name.unwrap_or("bench"))),
            ("RUST_LOG", "error".to_owned()),
            // What is due is enqueued soon; it is not ticks that are measured.
            ("CALLBACK_CRON", "* * * * * *".to_owned()),
            ("SYNC_CRON", "* * * * * *".to_owned()),
        ]);
        match self.profile {
            Profile::Embedded => {
                let file = format!("sqlite:{}", folder.join("bench.db").display());
                settings.insert("DATABASE_URL", file);
            }
            Profile::Server => {
                for name in ["DATABASE_URL", "REDIS_URL"] {
                    let Some(url) = environment(name) else {
                        bail!("`{name}` must name a server of the server profile");
                    };
                    settings.insert(name, url);
                }
            }
        }
        let mut settings: BTreeMap<String, String> = settings
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let taken = TAKEN.iter();
        settings.extend(taken.filter_map(|name| Some(((*name).to_owned(), environment(name)?))));
        Ok(settings)
    }

    /// A view of the database and the queue of a service with these settings, from outside.
    pub(super) async fn app(&self, settings: &BTreeMap<String, String>) -> Result<Arc<App>> {
        let settings = Settings::from_lookup(&|name| settings.get(name).cloned())?;
        Ok(Arc::new(App::connect(settings, None).await?))
    }

    /// The same, read; an error if they are not of this profile.
    pub(super) fn settings(&self) -> Result<Settings> {
        let environment = self.environment()?;
        let settings = Settings::from_lookup(&|name| environment.get(name).cloned())?;
        if settings.is_server_profile() != (self.profile == Profile::Server) {
            bail!("`DATABASE_URL` and `REDIS_URL` must name the servers of the server profile");
        }
        Ok(settings)
    }
}

/// An organization with a store and an endpoint for its events.
pub(super) struct Tenant {
    organization: String,
    store: StoreId,
    endpoint: EndpointId,
}

/// Registers a store whose name nobody had before, of an organization of its own.
pub(super) async fn new_store(app: &App) -> Result<(String, StoreId, SyncToken)> {
    let organization_id = format!("bench-{}", app.ids.new_id(app.clock.now()));
    let store = NewStore {
        organization_id: organization_id.clone(),
        marketplace: Marketplace::Etsy,
        external_store_id: "bench".to_owned(),
        store_name: "Bench".to_owned(),
        access_token: SecretString::from("bench"),
        currency: "USD".to_owned(),
    };
    let mut tx = app.db.write().await?;
    let (id, token) = register_store(app, &mut tx, &store).await?;
    tx.save().await?;
    Ok((organization_id, id, token))
}

impl Tenant {
    /// Registers one whose name nobody had before.
    pub(super) async fn new(app: &App, target_url: String) -> Result<Self> {
        let (organization, store, _) = new_store(app).await?;
        let new = NewEndpoint {
            organization_id: organization.clone(),
            event: EventType::SyncCompleted,
            target_url,
        };
        let checked = endpoints::check_endpoint(app, new).await?;
        let mut tx = app.db.write().await?;
        let (endpoint, _) = endpoints::register_endpoint(app, &mut tx, checked).await?;
        tx.save().await?;
        Ok(Self {
            organization,
            store,
            endpoint: endpoint.id,
        })
    }

    /// Records an event as a run does, and enqueues it; tells when it began.
    pub(super) async fn publish(&self, app: &App) -> Result<(OutboxId, Instant)> {
        let started = Instant::now();
        let mut tx = app.db.write().await?;
        let (id, recorded) = self.record(app, &mut tx).await?;
        tx.save().await?;
        webhooks::enqueue_recorded(app, recorded).await;
        Ok((id, started))
    }

    /// Records so many events while the endpoint is inactive, and leaves it so: once it is active,
    /// the next tick finds them all.
    pub(super) async fn owe(&self, app: &App, events: usize) -> Result<()> {
        self.set_active(app, false).await?;
        let mut left = events;
        while left > 0 {
            let mut tx = app.db.write().await?;
            for _ in 0..left.min(BATCH) {
                // Nobody can be sent it now, so it is not enqueued.
                let _ = self.record(app, &mut tx).await?;
            }
            tx.save().await?;
            left = left.saturating_sub(BATCH);
        }
        Ok(())
    }

    pub(super) async fn set_active(&self, app: &App, is_active: bool) -> Result<()> {
        let change = EndpointChange {
            is_active: Some(is_active),
            ..EndpointChange::default()
        };
        endpoints::change_endpoint(app, &self.organization, self.endpoint, change).await?;
        Ok(())
    }

    /// Deletes the endpoint: nothing is owed to it any more.
    pub(super) async fn leave(self, app: &App) -> Result<()> {
        endpoints::delete_endpoint(app, &self.organization, self.endpoint).await?;
        Ok(())
    }

    async fn record(
        &self,
        app: &App,
        tx: &mut crate::db::Tx,
    ) -> sqlx::Result<(OutboxId, Recorded)> {
        let now = app.clock.now();
        let id = OutboxId(app.ids.new_id(now));
        let event = NewEvent {
            id,
            organization_id: &self.organization,
            store_id: self.store,
            event: EventType::SyncCompleted,
            // What the closing event of a run tells.
            data: json!({
                "syncStatus": "success", "processedCount": 10, "successCount": 10,
                "failedCount": 0, "rateLimitedCount": 0, "importedOrders": 10,
                "remainingBacklog": false,
            }),
        };
        Ok((id, webhooks::record(app, tx, &event, now).await?))
    }
}
