//! Everything a measurement of the whole service has running: a marketplace, the service, stores,
//! and a history that is there already.

use std::sync::Arc;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use jobs::StoreId;

use super::history;
use super::marketplace::Marketplace;
use super::place::{Place, new_store};
use super::subject::Subject;
use super::usage::Watch;
use crate::App;
use crate::marketplace::model::SyncToken;

/// A store of the measurement.
#[derive(Clone, Debug)]
pub(super) struct Shop {
    pub(super) id: StoreId,
    pub(super) token: SyncToken,
}

/// The scene of a measurement.
pub(super) struct Stage {
    pub(super) marketplace: Marketplace,
    pub(super) subject: Subject,
    /// The same database and queue, from outside.
    pub(super) app: Arc<App>,
    pub(super) shops: Vec<Shop>,
}

impl Stage {
    /// Starts a service with these roles, `shops` new stores, and `rows` receipts and a tenth as
    /// many events that all these stores had long ago.
    pub(super) async fn set(place: &Place, roles: &str, shops: usize, rows: u64) -> Result<Self> {
        let marketplace = Marketplace::start().await?;
        let settings = place.environment()?;
        let subject = Subject::start(&settings, roles, marketplace.address()).await?;
        let app = place.app(&settings).await?;
        let mut opened = Vec::new();
        for _ in 0..shops {
            let (_, id, token) = new_store(&app).await?;
            opened.push(Shop { id, token });
        }
        let stage = Self {
            marketplace,
            subject,
            app,
            shops: opened,
        };
        history::write(&stage.app, &stage.shops, rows).await?;
        Ok(stage)
    }

    /// Watches what the service and its servers cost.
    pub(super) fn watch(&self) -> Watch {
        Watch::start(self.subject.pid())
    }
}

/// A bar for people; nothing when nobody looks.
pub(super) fn progress(what: &'static str, length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length).with_message(what);
    let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {eta}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
