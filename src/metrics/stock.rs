//! What happens with stock, counted where it happens.
//!
//! A store is a label here: which shop's quantities are late, and which marketplace refuses them,
//! is what somebody who watches them has to know. A process tells of the stores that it pushed to.

use std::time::Duration;

use jobs::StoreId;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::names;
use super::recorded::{Histograms, counters, histograms};
use crate::marketplace::model::Marketplace;

/// A store on a marketplace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLabel {
    /// The store.
    pub store_id: StoreId,
    /// Where it is.
    pub marketplace: Marketplace,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StoreLabels {
    store_id: String,
    marketplace: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabels {
    store_id: String,
    marketplace: &'static str,
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    store_id: String,
    marketplace: &'static str,
    operation: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    store_id: String,
    marketplace: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GateLabels {
    store_id: String,
    marketplace: &'static str,
    gate: &'static str,
}

/// A part of the work on a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Taking rows that are due.
    Claim,
    /// Computing their quantities.
    Compute,
    /// The request.
    Send,
    /// Writing what came of it.
    Settle,
}

impl Phase {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Compute => "compute",
            Self::Send => "send",
            Self::Settle => "settle",
        }
    }
}

/// The figures of stock.
#[derive(Debug)]
pub struct StockFigures {
    batch: Histograms<PhaseLabels>,
    requests: Family<RequestLabels, Counter>,
    items: Family<ResultLabels, Counter>,
    rate_limit_hits: Family<GateLabels, Counter>,
    latency: Histograms<StoreLabels>,
    lease_conflicts: Family<StoreLabels, Counter>,
}

impl StockFigures {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            batch: histograms(registry, names::STOCK_BATCH, names::outbound),
            requests: counters(registry, names::STOCK_API_REQUESTS),
            items: counters(registry, names::STOCK_ITEMS),
            rate_limit_hits: counters(registry, names::STOCK_RATE_LIMIT_HITS),
            latency: histograms(registry, names::STOCK_PUSH_LATENCY, names::latency),
            lease_conflicts: counters(registry, names::STOCK_LEASE_CONFLICTS),
        }
    }

    /// A part of the work on a batch is done.
    pub fn batch(&self, of: StoreLabel, phase: Phase, duration: Duration) {
        let labels = PhaseLabels {
            store_id: of.store_id.to_string(),
            marketplace: of.marketplace.as_str(),
            phase: phase.as_str(),
        };
        let batches = self.batch.get_or_create(&labels);
        batches.observe(duration.as_secs_f64());
    }

    /// A marketplace was asked; `operation` and `result` are of few words.
    pub fn request(&self, of: StoreLabel, operation: &'static str, result: &'static str) {
        let labels = RequestLabels {
            store_id: of.store_id.to_string(),
            marketplace: of.marketplace.as_str(),
            operation,
            result,
        };
        self.requests.get_or_create(&labels).inc();
    }

    /// So many items came to `result`, which is of few words.
    pub fn items(&self, of: StoreLabel, result: &'static str, count: usize) {
        if count == 0 {
            return;
        }
        let labels = ResultLabels {
            store_id: of.store_id.to_string(),
            marketplace: of.marketplace.as_str(),
            result,
        };
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.items.get_or_create(&labels).inc_by(count);
    }

    /// A gate was found closed.
    pub fn rate_limit_hit(&self, of: StoreLabel, gate: &'static str) {
        let labels = GateLabels {
            store_id: of.store_id.to_string(),
            marketplace: of.marketplace.as_str(),
            gate,
        };
        self.rate_limit_hits.get_or_create(&labels).inc();
    }

    /// A marketplace shows what it has to, so long after that was so.
    pub fn push_latency(&self, of: StoreLabel, latency: Duration) {
        let latencies = self.latency.get_or_create(&store_labels(of));
        latencies.observe(latency.as_secs_f64());
    }

    /// A run found another one at work.
    pub fn lease_conflict(&self, of: StoreLabel) {
        self.lease_conflicts.get_or_create(&store_labels(of)).inc();
    }
}

fn store_labels(of: StoreLabel) -> StoreLabels {
    StoreLabels {
        store_id: of.store_id.to_string(),
        marketplace: of.marketplace.as_str(),
    }
}
