//! What surrounds every request of a listener, from the outside in: its id and span, its line in
//! the log, limits and time, panics, errors, and the headers of the answer.
//!
//! Each request has exactly one `http_request` line, also when the client leaves before the
//! answer (status 499). It never holds a query, a header or a body.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use poem::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use poem::{Endpoint, IntoResponse, Request, Response};
use tracing::{Instrument, error_span, info, warn};
use uuid::Uuid;

use super::admission::Admission;
use super::auth::Access;
use super::errors;
use super::idempotency;
use super::limits::Limits;
use super::problem::Problem;
use super::rates::Rates;
use super::request_id;
use super::routes::{Entry, Routes};
use crate::metrics::known_method;
use crate::traces::{self, NewSpan, Traces};

/// The status of a request whose client left before the answer.
const CLIENT_LEFT: u16 = 499;

/// Hears of every request that was served.
pub type Observer = Arc<dyn Fn(&Served<'_>) + Send + Sync>;

/// A request that was served, for metrics.
#[derive(Debug)]
pub struct Served<'a> {
    /// The method.
    pub method: &'a Method,
    /// The template of the path; `None` when no route matched.
    pub route: Option<&'a str>,
    /// The status of the answer.
    pub status: u16,
    /// From the head of the request to the head of the answer.
    pub duration: Duration,
}

/// What a listener needs to serve requests.
#[derive(Clone)]
pub struct Shell {
    /// Makes the id of a request that brings none.
    pub new_id: Arc<dyn Fn() -> Uuid + Send + Sync>,
    /// Who may call.
    pub access: Access,
    /// How often they may.
    pub rates: Rates,
    /// How many requests are at work at the same time.
    pub admission: Admission,
    /// What a request may cost.
    pub limits: Limits,
    /// Hears of every request.
    pub observer: Option<Observer>,
    /// A span for every request.
    pub traces: Traces,
}

/// Surrounds an endpoint; the result answers every request and never fails.
pub fn wrap<E: Endpoint + 'static>(endpoint: E, routes: Routes, shell: Shell) -> Wrapped<E> {
    Wrapped {
        endpoint: Arc::new(endpoint),
        routes,
        shell,
    }
}

/// An endpoint with all that surrounds it.
pub struct Wrapped<E> {
    endpoint: Arc<E>,
    routes: Routes,
    shell: Shell,
}

impl<E: Endpoint + 'static> Endpoint for Wrapped<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let id = request_id::take_or_make(&request, || (self.shell.new_id)().to_string());
        // An error span, so that the id is there whatever level the log is set to.
        let span = error_span!("request", requestId = %id);
        let mut response = request_id::scope(id.clone(), self.traced(request, &id))
            .instrument(span)
            .await;
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&id) {
            headers.insert(request_id::HEADER, id);
        }
        add_security_headers(headers);
        Ok(response)
    }
}

impl<E: Endpoint + 'static> Wrapped<E> {
    async fn traced(&self, request: Request, id: &str) -> Response {
        let traceparent = request.header(traces::HEADER).map(ToOwned::to_owned);
        let method = request.method().clone();
        let template = self.routes.find(request.uri().path());
        let template = template.map(|route| route.template.as_str());
        let span = || {
            let method = known_method(&method);
            NewSpan::request(method, template, traceparent.as_deref())
                .with("request.id", id.to_owned())
        };
        let work = async {
            // In a box: a future that is wrapped again and again takes its size each time.
            let response = Box::pin(self.serve(request)).await;
            let status = response.status();
            traces::note("http.response.status_code", i64::from(status.as_u16()));
            if status.is_server_error() {
                traces::note_failure(status.as_str().to_owned());
            }
            response
        };
        self.shell.traces.within(span, work).await
    }

    async fn serve(&self, request: Request) -> Response {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let route = self.routes.find(&path);
        let mut line = AccessLine {
            method: &method,
            path: &path,
            route,
            observer: self.shell.observer.as_ref(),
            start: Instant::now(),
            status: CLIENT_LEFT,
        };
        let response = self.answer(request, &method, route).await;
        line.status = response.status().as_u16();
        response
    }

    async fn answer(
        &self,
        mut request: Request,
        method: &Method,
        route: Option<&Entry>,
    ) -> Response {
        let visitor = match self.shell.rates.admit(&request) {
            Ok(visitor) => visitor,
            Err(problem) => return problem.into_response(),
        };
        if let Err(problem) = self.shell.limits.check(&request) {
            return problem.into_response();
        }
        // Kept until there is an answer.
        let entrance = self.shell.admission.entrance(visitor.network());
        request.set_data(entrance.clone());
        request.set_data(visitor);
        request.set_data(self.shell.access.clone());
        request.set_data(self.shell.limits);
        let template = route.map(|route| route.template.as_str());
        let work = idempotency::call(&self.endpoint, request, template);
        let work = AssertUnwindSafe(work).catch_unwind();
        match tokio::time::timeout(self.shell.limits.request_time, work).await {
            Ok(Ok(Ok(response))) => response.into_response(),
            Ok(Ok(Err(error))) => errors::answer(error, method, route),
            // The panic hook has logged it, with the id of this request.
            Ok(Err(_panic)) => Problem::unexpected().into_response(),
            Err(_elapsed) => {
                warn!(
                    event = "http_request_timeout",
                    "gave up a request that took too long"
                );
                Problem::unavailable(1)
                    .detail("The request took too long")
                    .into_response()
            }
        }
    }
}

/// Written when the request is done, or when its client is gone and it is dropped.
struct AccessLine<'a> {
    method: &'a Method,
    path: &'a str,
    route: Option<&'a Entry>,
    observer: Option<&'a Observer>,
    start: Instant,
    status: u16,
}

impl Drop for AccessLine<'_> {
    fn drop(&mut self) {
        let Self { method, status, .. } = *self;
        let duration = self.start.elapsed();
        let template = self.route.map(|route| route.template.as_str());
        let path = without_values(self.path);
        let route = template.unwrap_or(&path);
        let milliseconds = (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0;
        info!(
            event = "http_request",
            method = %method,
            route,
            status,
            durationMs = milliseconds,
            "answered {method} {route} with {status}"
        );
        if let Some(observer) = self.observer {
            observer(&Served {
                method,
                route: template,
                status,
                duration,
            });
        }
    }
}

/// A path that is none of ours, without what may be a secret in the wrong place.
fn without_values(path: &str) -> String {
    let is_word = |segment: &str| {
        let is_letter = |byte: u8| matches!(byte, b'a'..=b'z' | b'-' | b'_' | b'.');
        segment.len() <= 32 && segment.bytes().all(is_letter)
    };
    let segments = path.split('/');
    let shown = segments.map(|segment| if is_word(segment) { segment } else { "…" });
    shown.collect::<Vec<_>>().join("/")
}

/// Answers are data, never to be guessed at, framed, kept by a cache or told to other sites.
fn add_security_headers(headers: &mut HeaderMap) {
    let defaults: [(HeaderName, &'static str); 4] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in defaults {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
}
