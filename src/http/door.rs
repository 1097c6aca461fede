//! What a listener serves while the service behind it is not there yet.
//!
//! A listener is bound and answers from the first moment on, so that whoever watches the process
//! can tell one that waits for its database from one that hangs: `/health/live` is 200,
//! everything else 503 with `Retry-After`. Opened, the door leads to the service, also for
//! connections that were made before.

use std::sync::{Arc, OnceLock};

use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem::web::Json;
use poem::{Endpoint, EndpointExt, IntoResponse, Request, Response};
use serde_json::json;

use super::problem::Problem;
use super::routes::Routes;
use super::shell::{Shell, wrap};

const LIVE: &str = "/health/live";
/// When somebody who was sent away should ask again, in seconds.
const ASK_AGAIN: u64 = 2;

/// The endpoint of a listener; clones share it.
#[derive(Clone)]
pub struct Door {
    closed: Arc<BoxEndpoint<'static>>,
    service: Arc<OnceLock<BoxEndpoint<'static>>>,
}

impl Door {
    /// A closed door.
    pub fn closed(shell: Shell) -> Self {
        let routes = Routes::default().with(LIVE, Method::GET);
        Self {
            closed: Arc::new(wrap(Closed, routes, shell).boxed()),
            service: Arc::default(),
        }
    }

    /// Lets requests in; a door opens once.
    pub fn open(&self, service: BoxEndpoint<'static>) {
        let is_first = self.service.set(service).is_ok();
        debug_assert!(is_first, "the door was open");
    }
}

impl Endpoint for Door {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        match self.service.get() {
            Some(service) => service.call(request).await,
            None => self.closed.call(request).await,
        }
    }
}

struct Closed;

impl Endpoint for Closed {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        if request.uri().path() == LIVE && *request.method() == Method::GET {
            return Ok(Json(json!({ "status": "ok" })).into_response());
        }
        let problem = Problem::unavailable(ASK_AGAIN)
            .detail("The service starts: its database or its queue is not there yet");
        Ok(problem.into_response())
    }
}
