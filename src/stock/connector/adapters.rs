//! The adapter of each marketplace.

use std::collections::HashMap;
use std::sync::Arc;

use super::Adapter;
use crate::marketplace::model::Marketplace;

/// The adapters of a service. Clones share everything.
#[derive(Clone, Debug, Default)]
pub struct Adapters(HashMap<Marketplace, Arc<dyn Adapter>>);

impl Adapters {
    /// These and no others.
    pub fn with(adapters: HashMap<Marketplace, Arc<dyn Adapter>>) -> Self {
        Self(adapters)
    }

    /// The adapter of a marketplace, if there is one.
    pub fn get(&self, marketplace: Marketplace) -> Option<&dyn Adapter> {
        self.0.get(&marketplace).map(AsRef::as_ref)
    }
}
