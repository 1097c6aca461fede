//! What caused what, as a collector receives it.

use std::sync::Arc;
use std::time::Duration;

use marketplace_sync::App;
use marketplace_sync::marketplace::connector::MockClient;
use poem::Response;
use poem::http::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};
use crate::support::marketplace::client;
use crate::support::receiver::Receiver;
use crate::support::scripted_connector::unauthorized;
use crate::support::subscriber::Answer::Status;
use crate::support::subscriber::Subscriber;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// A collector of OTLP over HTTP.
struct Collector(Receiver);

impl Collector {
    async fn start() -> Self {
        Self(
            Receiver::answering(|| {
                Response::builder()
                    .content_type("application/json")
                    .body("{}")
            })
            .await,
        )
    }

    /// The settings of an app that sends there.
    fn settings(&self) -> [(&'static str, String); 1] {
        [("OTEL_EXPORTER_OTLP_ENDPOINT", self.0.url())]
    }

    /// All spans that the app has ended, oldest first.
    async fn spans(&self, app: &App) -> Vec<Span> {
        app.traces.flush().await;
        let mut spans: Vec<Span> = Vec::new();
        for request in self.0.received() {
            assert_eq!(request.header("content-type"), "application/json");
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            for resource in list(&body["resourceSpans"]) {
                assert_eq!(
                    attribute(&resource["resource"], "service.name"),
                    json!("marketplace-sync")
                );
                let scopes = list(&resource["scopeSpans"]).iter();
                spans.extend(
                    scopes
                        .flat_map(|scope| list(&scope["spans"]))
                        .cloned()
                        .map(Span),
                );
            }
        }
        spans.sort_by_key(|span| {
            span.0["startTimeUnixNano"]
                .as_str()
                .unwrap()
                .parse::<u64>()
                .unwrap()
        });
        spans
    }

    fn text(&self) -> String {
        let bodies = self.0.received().into_iter().map(|request| request.body);
        String::from_utf8(bodies.flatten().collect()).unwrap()
    }
}

#[derive(Clone, Debug)]
struct Span(Value);

impl Span {
    fn text(&self, member: &str) -> &str {
        self.0[member].as_str().unwrap_or_default()
    }

    fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.text("traceId"), self.text("spanId"))
    }

    fn attribute(&self, key: &str) -> Value {
        attribute(&self.0, key)
    }

    #[track_caller]
    fn assert_below(&self, parent: &Self) {
        assert_eq!(self.text("traceId"), parent.text("traceId"));
        assert_eq!(self.text("parentSpanId"), parent.text("spanId"));
    }

    fn has_failed(&self) -> bool {
        self.0["status"]["code"] == 2
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn attribute(of: &Value, key: &str) -> Value {
    let found = list(&of["attributes"]).iter().find(|it| it["key"] == key);
    let value = found.map(|it| &it["value"]);
    let value = value.and_then(|value| value.as_object()?.values().next());
    value.cloned().unwrap_or_default()
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans
        .iter()
        .filter(|span| span.text("name") == name)
        .collect()
}

/// An app that sends its traces to a collector.
async fn traced(on: Profile, change: impl FnOnce(&mut App)) -> (TestApp, Collector) {
    let collector = Collector::start().await;
    let settings = collector.settings();
    let settings: Vec<(&str, &str)> = settings
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect();
    (TestApp::build(on, &settings, change).await, collector)
}

/// NF-2: the caller's trace goes on to the marketplace, over the task that outlives the caller.
#[rstest]
#[tokio::test]
async fn a_request_is_a_span_of_its_callers_trace(
    #[values(Embedded, Server)] on: Profile,
    #[values(None, Some("key-1"))] idempotency_key: Option<&str>,
) {
    let marketplace = Receiver::answering(|| {
        Response::builder()
            .status(StatusCode::UNAUTHORIZED)
            .finish()
    })
    .await;
    let client: MockClient = client(&marketplace.url().parse().unwrap());
    let (app, collector) = traced(on, |app| app.connector = Arc::new(client)).await;
    let store = app.register("shop").await;
    let body = json!({ "syncToken": store.token, "receipt": "order-1" });
    let request = app.http.post(app.server.url("/orders/import")).json(&body);
    let request = request.header("traceparent", format!("00-{TRACE}-{CALLER}-01"));
    let request = idempotency_key.into_iter().fold(request, |request, key| {
        request.header("idempotency-key", key)
    });
    app.send(request.header("x-request-id", "r-1")).await;

    let spans = collector.spans(&app.app).await;
    let [request] = named(&spans, "POST /orders/import")[..] else {
        panic!("{spans:?}");
    };
    assert_eq!(
        (request.text("traceId"), request.text("parentSpanId")),
        (TRACE, CALLER)
    );
    assert_eq!(request.0["kind"], 2);
    assert_eq!(request.attribute("http.route"), "/orders/import");
    assert_eq!(request.attribute("request.id"), "r-1");
    let [call] = named(&spans, "ask marketplace")[..] else {
        panic!("{spans:?}");
    };
    call.assert_below(request);
    assert_eq!(call.0["kind"], 3);
    assert_eq!(call.attribute("marketplace"), "etsy");
    assert_eq!(call.attribute("outcome"), "auth_error");
    assert!(call.has_failed() && !request.has_failed());
    let received = marketplace.received();
    assert_eq!(received[0].header("traceparent"), call.traceparent());
    let [register] = named(&spans, "POST /stores/register")[..] else {
        panic!("{spans:?}");
    };
    assert_ne!(
        register.text("traceId"),
        TRACE,
        "whoever brings no trace begins one"
    );
}

/// NF-2: run, event and delivery are one trace, over the queue and over a retry.
#[rstest]
#[tokio::test]
async fn a_run_and_the_deliveries_of_its_events_are_one_trace(
    #[values(Embedded, Server)] on: Profile,
) {
    let (app, collector) = traced(on, |_| ()).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    app.subscribe("sync.completed", &subscriber.url("/hook"))
        .await;
    subscriber.answer("/hook", [Status(500), Status(200)]);
    app.insert_due_rows(store, 2).await;
    app.schedule().await;
    app.run_jobs().await;
    app.after(Duration::from_mins(2)).await;
    assert_eq!(subscriber.count("/hook"), 2);

    let spans = collector.spans(&app.app).await;
    let [run] = named(&spans, "sync-store")[..] else {
        panic!("{spans:?}");
    };
    assert_eq!(run.text("parentSpanId"), "");
    assert_eq!(run.attribute("store.id"), store.id.to_string());
    let asked = named(&spans, "ask marketplace");
    assert_eq!(asked.len(), 2);
    for call in asked {
        call.assert_below(run);
    }
    let jobs = named(&spans, "deliver-callback");
    let calls = named(&spans, "call webhook");
    assert_eq!((jobs.len(), calls.len()), (2, 2));
    for ((job, call), request) in jobs.iter().zip(&calls).zip(subscriber.received("/hook")) {
        job.assert_below(run);
        call.assert_below(job);
        assert_eq!(request.header("traceparent"), call.traceparent());
    }
    assert!(calls[0].has_failed() && !calls[1].has_failed());
    assert_eq!(calls[0].attribute("http.response.status_code"), "500");
}

/// A-83, for traces.
#[rstest]
#[tokio::test]
async fn no_span_holds_a_secret(#[values(Embedded, Server)] on: Profile) {
    let (app, collector) = traced(on, |_| ()).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    app.subscribe("sync.started", &subscriber.url("/hook/secret-path"))
        .await;
    app.marketplace.reply("secret-receipt", [unauthorized()]);
    app.import(store, "secret-receipt").await;
    app.sync_status(store).await;
    app.get("/no/secret-path?token=secret-query").await;
    app.make_due(store, "secret-receipt").await;
    app.schedule().await;
    app.run_jobs().await;
    assert!(collector.spans(&app.app).await.len() > 5);
    let text = collector.text();
    assert!(text.contains("/orders/import") && text.contains("call webhook"));
    let token = store.token.to_string();
    for secret in ["secret", &token, "whsec", "org-1"] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}

/// Nobody asked for traces: nobody is sent any.
#[rstest]
#[tokio::test]
async fn without_a_collector_there_are_no_traces(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    app.subscribe("sync.completed", &subscriber.url("/hook"))
        .await;
    app.insert_due_rows(store, 1).await;
    app.schedule().await;
    app.run_jobs().await;
    let received = subscriber.received("/hook");
    assert_eq!(received[0].find("traceparent"), None);
    let kept = app.count("SELECT COUNT(*) FROM callback_outbox WHERE traceparent IS NOT NULL");
    assert_eq!(kept.await, 0);
}

/// A collector that is gone, fails or hangs costs spans and nothing else.
#[rstest]
#[case::gone(None)]
#[case::fails(Some(StatusCode::INTERNAL_SERVER_ERROR))]
#[tokio::test]
async fn a_collector_that_does_not_work_disturbs_nobody(
    #[case] answers: Option<StatusCode>,
    #[values(Embedded, Server)] on: Profile,
) {
    let collector = match answers {
        Some(status) => {
            Some(Receiver::answering(move || Response::builder().status(status).finish()).await)
        }
        None => None,
    };
    let url = collector
        .as_ref()
        .map_or("http://127.0.0.1:9".to_owned(), Receiver::url);
    let app = TestApp::start_with(on, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)]).await;
    let store = app.register("shop").await;
    let (status, _) = app.import(store, "order-1").await;
    assert_eq!(status, StatusCode::OK);
    app.app.traces.flush().await;
    let closed = tokio::time::timeout(Duration::from_secs(20), app.app.traces.close());
    closed.await.expect("a shutdown is bounded");
    let (status, _) = app.import(store, "order-3").await;
    assert_eq!(status, StatusCode::OK, "also after the end of traces");
}
