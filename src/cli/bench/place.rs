//! What a measurement has to itself: a folder, organizations, stores, endpoints, events.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use jobs::{OutboxId, StoreId};
use secrecy::SecretString;
use serde_json::json;
use tempfile::TempDir;

use crate::App;
use crate::marketplace::model::{Marketplace, NewStore};
use crate::marketplace::register_store;
use crate::webhooks::endpoints::{self, EndpointChange, NewEndpoint};
use crate::webhooks::model::EndpointId;
use crate::webhooks::{self, EventType, NewEvent, Recorded};

/// Events recorded in one transaction when many are.
const BATCH: usize = 250;

/// A folder that is gone when it is dropped.
pub(in crate::cli) struct Place {
    folder: TempDir,
}

impl Place {
    pub(super) fn new() -> Result<Self> {
        let folder = tempfile::tempdir().context("the measurement has no temporary folder")?;
        Ok(Self { folder })
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// An organization with a store and an endpoint for its events.
pub(super) struct Tenant {
    organization: String,
    store: StoreId,
    endpoint: EndpointId,
}

impl Tenant {
    /// Registers one whose name nobody had before.
    pub(super) async fn new(app: &App, target_url: String) -> Result<Self> {
        let organization_id = format!("bench-{}", app.ids.new_id(app.clock.now()));
        let store = NewStore {
            organization_id: organization_id.clone(),
            marketplace: Marketplace::Etsy,
            external_store_id: "bench".to_owned(),
            store_name: "Bench".to_owned(),
            access_token: SecretString::from("bench"),
            currency: "USD".to_owned(),
        };
        let new = NewEndpoint {
            organization_id: organization_id.clone(),
            event: EventType::SyncCompleted,
            target_url,
        };
        let checked = endpoints::check_endpoint(app, new).await?;
        let mut tx = app.db.write().await?;
        let (store_id, _) = register_store(app, &mut tx, &store).await?;
        let (endpoint, _) = endpoints::register_endpoint(app, &mut tx, checked).await?;
        tx.save().await?;
        Ok(Self {
            organization: organization_id,
            store: store_id,
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

    /// Records so many events while the endpoint is inactive, then activates it: the next tick
    /// finds them all.
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
