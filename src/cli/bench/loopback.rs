//! Who is asked by the service that is measured, and answers with JSON as fast as it can.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Collected, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What a request is answered with.
pub(super) type Answer = (StatusCode, Bytes);

/// Listens on the loopback interface until it is dropped.
pub(super) struct Loopback {
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Loopback {
    /// Has each request answered, given without its body, and its body.
    pub(super) async fn serve<A, F>(answer: A) -> Result<Self>
    where
        A: Fn(Request<()>, Bytes) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Answer> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.context("the marketplace cannot listen")?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).ok();
                let answer = answer.clone();
                let service = service_fn(move |request| respond(request, answer.clone()));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self { address, task })
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn respond<F: Future<Output = Answer>>(
    request: Request<Incoming>,
    answer: impl Fn(Request<()>, Bytes) -> F,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    // To its end, or the connection is not used again.
    let body = body.collect().await;
    let body = body.map(Collected::to_bytes).unwrap_or_default();
    let (status, body) = answer(Request::from_parts(head, ()), body).await;
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}
