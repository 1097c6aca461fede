//! What the API takes: imports of new receipts, of known ones, in batches, and looks at stores.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request};
use serde_json::json;

use super::load::{Ask, Load};
use super::place::Place;
use super::report::{Report, Round};
use super::stage::{Shop, Stage};

/// Receipts that are known of each store, at least, when something is asked again.
const KNOWN: u64 = 100;
/// Before anything counts.
const WARM_UP: Duration = Duration::from_secs(2);

/// How the API is asked.
#[derive(Clone, Debug, Args)]
pub(super) struct Throughput {
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of a round.
    #[arg(long, value_name = "SECONDS", default_value_t = 8)]
    seconds: u64,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Stores that they are about.
    #[arg(long, default_value_t = 40)]
    stores: usize,
    /// Receipts of a batch.
    #[arg(long, default_value_t = 100)]
    batch: usize,
    /// Receipts that these stores have had before.
    #[arg(long, default_value_t = 10_000)]
    rows: u64,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Imports of receipts that nobody has seen.
    Import,
    /// The same in batches.
    Batch,
    /// Imports of receipts that are there.
    Replay,
    /// How a store is doing.
    Status,
}

impl Throughput {
    pub(super) async fn run(self, place: &Place, question: Question) -> Result<Report> {
        let rows = match question {
            Question::Replay => self.rows.max(KNOWN * self.stores as u64),
            _ => self.rows,
        };
        let stage = Stage::set(place, "api", self.stores, rows).await?;
        let known = rows / self.stores as u64;
        let ask = ask(question, &stage.shops, self.batch, known)?;
        let expects = match question {
            Question::Status => "\"syncStatus\":\"success\"",
            _ => "\"orderId\":\"order-",
        };
        let numbers = Arc::new(AtomicU64::new(0));
        let mut load = Load {
            address: stage.subject.address(),
            connections: self.connections,
            length: WARM_UP,
        };
        load.run(ask.clone(), numbers.clone(), expects).await?;
        load.length = Duration::from_secs(self.seconds);
        let watch = stage.watch();
        let mut rounds = Vec::new();
        for _ in 0..self.rounds {
            let mut round = load.run(ask.clone(), numbers.clone(), expects).await?;
            if question == Question::Batch {
                round.done *= self.batch;
            }
            rounds.push(round);
        }
        let processes = watch.stop();
        let setup = json!({
            "connections": self.connections,
            "secondsARound": self.seconds,
            "stores": self.stores,
            "rows": rows,
            "batch": (question == Question::Batch).then_some(self.batch),
        });
        Ok(report(question, place, setup, rounds).with_processes(processes))
    }
}

fn report(
    question: Question,
    place: &Place,
    setup: serde_json::Value,
    rounds: Vec<Round>,
) -> Report {
    let (name, series) = match question {
        Question::Import => ("import", "receipts imported"),
        Question::Batch => ("batch", "receipts imported in batches"),
        Question::Replay => ("replay", "receipts asked about again"),
        Question::Status => ("status", "stores looked at"),
    };
    Report::new(name, place.profile(), setup, vec![(series, rounds)])
}

/// Requests, spread over the stores.
fn ask(question: Question, shops: &[Shop], batch: usize, known: u64) -> Result<Ask> {
    let tokens: Vec<String> = shops.iter().map(|shop| shop.token.0.to_string()).collect();
    let count = u64::try_from(tokens.len())?;
    tokens.first().context("there are no stores")?;
    Ok(Arc::new(move |number| {
        let token = &tokens[usize::try_from(number % count).unwrap_or_default()];
        match question {
            Question::Import => import(token, &format!("new-{number}")),
            // A stride that is no divisor of anything walks over all of them.
            Question::Replay => {
                let past = number.wrapping_mul(7919) % known.max(1);
                import(token, &format!("past-{past}"))
            }
            Question::Batch => {
                let receipts: Vec<String> = (0..batch)
                    .map(|place| format!("new-{number}-{place}"))
                    .collect();
                let body = json!({ "syncToken": token, "receipts": receipts });
                post("/orders/import/batch", body.to_string())
            }
            Question::Status => {
                let path = format!("/stores/sync-status?syncToken={token}");
                request(Method::GET, &path, String::new())
            }
        }
    }))
}

fn import(token: &str, receipt: &str) -> Request<Full<Bytes>> {
    let body = format!(r#"{{"syncToken":"{token}","receipt":"{receipt}"}}"#);
    post("/orders/import", body)
}

fn post(path: &str, body: String) -> Request<Full<Bytes>> {
    let mut request = request(Method::POST, path, body);
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(CONTENT_TYPE, json);
    request
}

fn request(method: Method, path: &str, body: String) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(Bytes::from(body)));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().expect("a path is a URI");
    let host = HeaderValue::from_static("localhost");
    request.headers_mut().insert(HOST, host);
    request
}
