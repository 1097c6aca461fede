//! What surrounds a route whose request has a key: it goes on without its client, its claim is
//! renewed while it runs, and its answer is kept, replaced by the earlier one, or forgotten.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{Either, select};
use poem::http::{Method, StatusCode, header};
use poem::{Endpoint, IntoResponse, Request, Response};
use tokio::time::sleep;
use tracing::{Instrument, Span};

use super::KEY_HEADER;
use super::claim::RENEW_EVERY;
use super::once::{Answer, Keyed, Progress};
use crate::http::request_id;

/// Calls the endpoint; `template` is the path of the route, if there is one.
pub(in crate::http) async fn call<E: Endpoint + 'static>(
    endpoint: &Arc<E>,
    mut request: Request,
    template: Option<&str>,
) -> poem::Result<Response> {
    let has_key = request.method() == Method::POST && request.headers().contains_key(KEY_HEADER);
    let Some(template) = template.filter(|_| has_key) else {
        return endpoint
            .call(request)
            .await
            .map(IntoResponse::into_response);
    };
    let keyed = Arc::new(Keyed::new(&request, template));
    request.set_data(keyed.clone());
    let endpoint = endpoint.clone();
    let work = async move { run(&*endpoint, request, &keyed).await };
    let id = request_id::current().unwrap_or_default();
    let work = request_id::scope(id, work).instrument(Span::current());
    match tokio::spawn(work).await {
        Ok(outcome) => outcome,
        // A panic goes on where it would have gone; nobody else ends the task.
        Err(error) => resume_unwind(error.into_panic()),
    }
}

async fn run<E: Endpoint>(endpoint: &E, request: Request, keyed: &Keyed) -> poem::Result<Response> {
    let work = Box::pin(AssertUnwindSafe(endpoint.call(request)).catch_unwind());
    // Both are polled: a renewal may wait for the connection that the work has.
    let renewal = Box::pin(renew(keyed));
    let outcome = match select(work, renewal).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right((never, _)) => match never {},
    };
    let response = match outcome {
        Ok(Ok(output)) => output.into_response(),
        Ok(Err(error)) if error.is_from_response() => error.into_response(),
        Ok(Err(error)) => {
            release(keyed).await;
            return Err(error);
        }
        Err(panic) => {
            release(keyed).await;
            resume_unwind(panic);
        }
    };
    Ok(finish(response, keyed).await)
}

async fn renew(keyed: &Keyed) -> std::convert::Infallible {
    loop {
        sleep(RENEW_EVERY).await;
        if let Progress::Claimed(claim) = keyed.progress() {
            claim.renew().await;
        }
    }
}

async fn release(keyed: &Keyed) {
    if let Progress::Claimed(claim) = keyed.progress() {
        claim.release().await;
    }
}

/// Gives the answer that the key has or gets.
async fn finish(response: Response, keyed: &Keyed) -> Response {
    let claim = match keyed.progress() {
        Progress::Unclaimed | Progress::Kept => return response,
        Progress::Answered(answer) => return answer.replay(),
        Progress::Claimed(claim) => claim,
    };
    if keyed.is_provisional() || !is_final(&response) {
        claim.release().await;
        return response;
    }
    let (parts, body) = response.into_parts();
    let bytes = body.into_bytes().await.unwrap_or_default();
    let content_type = parts.headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    match Answer::of(parts.status, content_type.unwrap_or_default(), &bytes) {
        Some(answer) => claim.keep_late(&answer).await,
        None => claim.release().await,
    }
    Response::from_parts(parts, bytes.into())
}

/// Whether an answer says how it ended, and does not invite to ask again.
fn is_final(response: &Response) -> bool {
    let status = response.status();
    let is_passing = matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
    );
    !status.is_server_error()
        && !is_passing
        && !response.headers().contains_key(header::RETRY_AFTER)
}
