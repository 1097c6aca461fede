//! Traces: what caused what, over requests, jobs and calls to others (OpenTelemetry, OTLP over
//! HTTP). Off unless `OTEL_EXPORTER_OTLP_ENDPOINT` is set; then nothing here costs more than a
//! look at an empty option.
//!
//! A span is what a future does ([`Traces::within`]); whatever it starts meanwhile is below it.
//! A trace goes on where it can: a request takes the caller's `traceparent`, an event keeps it on
//! its row, because a job carries an identity and nothing else, and requests to marketplaces and
//! webhooks carry it on. A run of a store begins a trace of its own: what made its rows due was
//! long ago. `tracestate` is not carried on.
//!
//! Spans are not log lines: `RUST_LOG` says nothing about them, and they have the attributes that
//! are given here and no others: routes, marketplaces, outcomes, ids of rows. No query, header,
//! body or secret. They are collected in bounded memory and sent in the background; a collector
//! that is slow or gone costs spans and nothing else.

mod export;
mod parent;

use std::borrow::Cow;
use std::time::Duration;

use opentelemetry::trace::{
    FutureExt as _, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use reqwest::Url;
use tracing::warn;

use self::export::exporter;

/// How long a shutdown waits for the last spans to be sent.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Where traces go.
#[derive(Clone, Debug)]
pub struct TraceSettings {
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: the collector, without `/v1/traces`.
    pub endpoint: Option<Url>,
    /// `OTEL_SERVICE_NAME`.
    pub service_name: String,
}

/// The traces of one service; off by default. Clones share where they go.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Tracing>);

#[derive(Clone, Debug)]
struct Tracing {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// What a span begins with.
#[derive(Debug)]
pub(crate) struct NewSpan {
    name: Cow<'static, str>,
    kind: SpanKind,
    parent: Context,
    attributes: Vec<KeyValue>,
}

impl NewSpan {
    /// A request of somebody, below the span that the caller says it is.
    pub(crate) fn request(method: &str, route: Option<&str>, traceparent: Option<&str>) -> Self {
        let name = match route {
            Some(route) => format!("{method} {route}"),
            None => method.to_owned(),
        };
        let route = route.map(|route| KeyValue::new("http.route", route.to_owned()));
        let method = KeyValue::new("http.request.method", method.to_owned());
        Self {
            name: name.into(),
            kind: SpanKind::Server,
            parent: parent::context(traceparent),
            attributes: std::iter::once(method).chain(route).collect(),
        }
    }

    /// A job, below the span that made it due, if that is known.
    pub(crate) fn job(name: &'static str, traceparent: Option<&str>) -> Self {
        Self {
            name: name.into(),
            kind: SpanKind::Consumer,
            parent: parent::context(traceparent),
            attributes: Vec::new(),
        }
    }

    /// A call to somebody else, below what is going on.
    pub(crate) fn call(name: &'static str) -> Self {
        Self {
            name: name.into(),
            kind: SpanKind::Client,
            parent: Context::current(),
            attributes: Vec::new(),
        }
    }

    /// With one more attribute.
    pub(crate) fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.push(KeyValue::new(key, value));
        self
    }
}

impl Traces {
    /// On, when there is somewhere to send them to. Must be called in a runtime, which does the
    /// sending.
    pub fn new(settings: &TraceSettings) -> Self {
        let Some(endpoint) = &settings.endpoint else {
            return Self::default();
        };
        let exporter = match exporter(endpoint) {
            Ok(exporter) => exporter,
            Err(error) => {
                warn!(
                    event = "traces_off",
                    error, "traces cannot be sent: {error}"
                );
                return Self::default();
            }
        };
        let resource = Resource::builder()
            .with_service_name(settings.service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build();
        let tracer = provider.tracer("marketplace-sync");
        Self(Some(Tracing { provider, tracer }))
    }

    /// Does work in a span of its own; the span is made only when traces are on.
    pub(crate) async fn within<F: Future>(
        &self,
        span: impl FnOnce() -> NewSpan,
        work: F,
    ) -> F::Output {
        let Some(Tracing { tracer, .. }) = &self.0 else {
            return work.await;
        };
        let span = span();
        let started = tracer
            .span_builder(span.name)
            .with_kind(span.kind)
            .with_attributes(span.attributes)
            .start_with_context(tracer, &span.parent);
        let context = span.parent.with_span(started);
        let output = work.with_context(context.clone()).await;
        // Whatever it left running may go on below it.
        context.span().end();
        output
    }

    /// Sends what was collected so far.
    pub async fn flush(&self) {
        if let Some(Tracing { provider, .. }) = &self.0 {
            let provider = provider.clone();
            // It blocks until the runtime has sent them.
            let _ = tokio::task::spawn_blocking(move || provider.force_flush()).await;
        }
    }

    /// Sends what was collected and ends; bounded in time.
    pub async fn close(&self) {
        if let Some(Tracing { provider, .. }) = &self.0 {
            let provider = provider.clone();
            let closed = move || provider.shutdown_with_timeout(LAST_WORDS);
            let _ = tokio::task::spawn_blocking(closed).await;
        }
    }
}

/// Tells more of the span that is going on, if there is one.
pub(crate) fn note(key: &'static str, value: impl Into<Value>) {
    Context::map_current(|context| context.span().set_attribute(KeyValue::new(key, value)));
}

/// The span that is going on failed, for this reason.
pub(crate) fn note_failure(reason: impl Into<Cow<'static, str>>) {
    let status = Status::error(reason);
    Context::map_current(|context| context.span().set_status(status));
}

/// Goes on in the same span in another task.
pub(crate) fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    work.with_current_context()
}

/// The `traceparent` of what is going on; none when traces are off.
pub(crate) fn traceparent() -> Option<String> {
    Context::map_current(|context| parent::header(context.span().span_context()))
}

/// The header of [`traceparent`].
pub(crate) const HEADER: &str = "traceparent";
