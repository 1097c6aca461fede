//! The adapter of each marketplace.

use std::collections::HashMap;
use std::sync::Arc;

use super::amazon::Amazon;
use super::call::Caller;
use super::etsy::Etsy;
use super::hepsiburada::Hepsiburada;
use super::shopify::Shopify;
use super::trendyol::Trendyol;
use super::{Adapter, Bucket};
use crate::config::StockSettings;
use crate::marketplace::connector::http_client;
use crate::marketplace::model::Marketplace;

/// The adapters of a service; they share one pooled client. Clones share everything.
#[derive(Clone, Debug, Default)]
pub struct Adapters(HashMap<Marketplace, Arc<dyn Adapter>>);

impl Adapters {
    /// Those of all marketplaces, by these settings.
    pub fn new(settings: &StockSettings) -> reqwest::Result<Self> {
        let caller = Caller::new(http_client(settings.timeout)?, settings.timeout);
        let adapter = |marketplace| -> Arc<dyn Adapter> {
            let base = settings.base_urls.get(&marketplace).cloned();
            let caller = caller.clone();
            match marketplace {
                Marketplace::Trendyol => {
                    let permanent = &settings.trendyol_permanent_reasons;
                    Arc::new(Trendyol::new(caller, base, permanent))
                }
                Marketplace::Hepsiburada => Arc::new(Hepsiburada::new(caller, base)),
                Marketplace::Shopify => Arc::new(Shopify::new(caller, base)),
                Marketplace::Amazon => Arc::new(Amazon::new(caller, base)),
                Marketplace::Etsy => Arc::new(Etsy::new(caller, base)),
            }
        };
        let all = Marketplace::ALL.map(|marketplace| (marketplace, adapter(marketplace)));
        Ok(Self(all.into()))
    }

    /// These and no others.
    pub fn with(adapters: HashMap<Marketplace, Arc<dyn Adapter>>) -> Self {
        Self(adapters)
    }

    /// The adapter of a marketplace, if there is one.
    pub fn get(&self, marketplace: Marketplace) -> Option<&dyn Adapter> {
        self.0.get(&marketplace).map(AsRef::as_ref)
    }
}

/// A bucket of a shop, or of whatever else a rate is meant for.
pub(super) fn bucket(
    marketplace: Marketplace,
    whose: &str,
    what: &str,
    capacity: u32,
    seconds: u64,
) -> Bucket {
    Bucket {
        key: format!("{marketplace}:{whose}:{what}"),
        capacity,
        per: std::time::Duration::from_secs(seconds),
    }
}
