//! A service that has done something of everything with stock, for who looks at what it tells of it.

use marketplace_sync::metrics::Metrics;
use marketplace_sync::stock::connector::{FailureKind, RejectionClass};
use marketplace_sync::stock::enqueue_comparisons;
use marketplace_sync::stock::model::Reason;

use super::scripted_adapter::{Fault, ScriptedAdapter};
use super::shop::{Shops, adapters};
use crate::support::app::{Profile, TestApp};
use crate::support::scrape::ALWAYS;

impl Shops {
    /// With metrics that are never older than the scrape.
    pub(crate) async fn watched(on: Profile) -> Self {
        let adapter = ScriptedAdapter::new();
        let all = adapters(&adapter);
        let change = |app: &mut marketplace_sync::App| {
            app.metrics = Metrics::new(ALWAYS);
            app.adapters = all;
        };
        let app = TestApp::build(on, &[], change).await;
        adapter.go_by(&app.clock);
        Self { app, adapter }
    }

    /// Has a marketplace told a set and its component, refuse a product, be compared, and take the
    /// credentials no more; two runs meet on the way.
    pub(crate) async fn keep_busy(&self) {
        let store = self.live_store("busy").await;
        let component = self.list(store, "component", 6).await;
        let set = self.product(Some("set"), "SET").await;
        self.list_product(store, set, 0).await;
        self.make_of(set, &[(component, 2)]).await;
        let refused = self.list(store, "refused", 1).await;
        self.adapter
            .reject("refused", "ListingFrozen", RejectionClass::Permanent);
        let all = [component, set, refused];
        self.enqueue(store, &all, Reason::Manual).await;
        self.adapter.hold();
        let run = self.spawn_push(store);
        self.adapter.in_flight(1).await;
        self.push(store).await;
        self.adapter.release();
        run.await.unwrap().unwrap();

        enqueue_comparisons(&self.app.app).await.unwrap();
        self.compare(store).await;
        let unauthorized = Fault::Refuse(FailureKind::Unauthorized);
        self.adapter.fail([unauthorized]);
        self.change(store, component, 5, Reason::OrderCreated).await;
        self.push(store).await;
        // The gate is closed by now.
        self.push(store).await;
        assert_eq!(self.closed(store).await.unwrap().0, "AUTH");
    }
}
