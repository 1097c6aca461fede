//! Sends spans to a collector: OTLP over HTTP, in JSON, with the client everything else uses.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::SpanData;
use reqwest::Url;
use tokio::runtime::Handle;
use tracing::warn;

use crate::marketplace::connector::http_client;

/// How long a collector may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// A collector that is gone is told of so often.
const COMPLAIN_EVERY: Duration = Duration::from_mins(1);

/// An exporter that sends on the runtime it was made in: the SDK collects in a thread of its own,
/// where nothing that waits for the network can run.
#[derive(Debug)]
pub(super) struct OnRuntime {
    exporter: Arc<SpanExporter>,
    runtime: Handle,
    complained: Mutex<Option<Instant>>,
}

/// An exporter to a collector.
pub(super) fn exporter(endpoint: &Url) -> Result<OnRuntime, String> {
    let runtime = Handle::try_current().map_err(|error| error.to_string())?;
    let client = http_client(PATIENCE).map_err(|error| error.to_string())?;
    let endpoint = format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/'));
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpJson)
        .with_endpoint(endpoint)
        .with_timeout(PATIENCE)
        .build()
        .map_err(|error| error.to_string())?;
    Ok(OnRuntime {
        exporter: Arc::new(exporter),
        runtime,
        complained: Mutex::default(),
    })
}

impl OnRuntime {
    /// Not at each batch: a collector may be gone for days.
    fn complain(&self, error: &OTelSdkError) {
        let mut complained = self
            .complained
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
            *complained = Some(Instant::now());
            warn!(event = "trace_export_failed", %error, "failed to send traces; they are lost, and nothing else is");
        }
    }
}

impl opentelemetry_sdk::trace::SpanExporter for OnRuntime {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exporter = self.exporter.clone();
        let sent = self.runtime.spawn(async move {
            opentelemetry_sdk::trace::SpanExporter::export(&*exporter, batch).await
        });
        let sent = match sent.await {
            Ok(sent) => sent,
            Err(ended) => Err(OTelSdkError::InternalFailure(ended.to_string())),
        };
        if let Err(error) = &sent {
            self.complain(error);
        }
        sent
    }

    fn set_resource(&mut self, resource: &Resource) {
        // Nobody else has it yet: the resource is set before the first span.
        if let Some(exporter) = Arc::get_mut(&mut self.exporter) {
            opentelemetry_sdk::trace::SpanExporter::set_resource(exporter, resource);
        }
    }
}
