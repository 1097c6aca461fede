//! Whether the process lives, and whether it can do its work: for orchestrators and people.
//!
//! What a part is and how it is asked is said by whoever makes the [`Check`]; here it is asked
//! in bounded time, and an answer never says why a part failed (the log does).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use poem_openapi::payload::Json;
use poem_openapi::{Enum, Object, OpenApi};
use serde_json::Value;
use tracing::warn;

use super::Tag;
use super::problem::Problem;

/// How long one part may take to answer, unless its check says otherwise.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why a part is not ready.
pub type CheckError = Box<dyn std::error::Error + Send + Sync>;

type Ask = dyn Fn() -> BoxFuture<'static, Result<(), CheckError>> + Send + Sync;

/// One part the service cannot work without, and how to ask it.
#[derive(Clone)]
pub struct Check {
    name: &'static str,
    ask: Arc<Ask>,
    patience: Duration,
}

impl Check {
    /// `Check::new("database", move || { let db = db.clone(); async move { db.ping().await } })`.
    pub fn new<A, E>(name: &'static str, ask: impl Fn() -> A + Send + Sync + 'static) -> Self
    where
        A: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<CheckError>,
    {
        let ask = move || -> BoxFuture<'static, Result<(), CheckError>> {
            let answer = ask();
            Box::pin(async move { answer.await.map_err(Into::into) })
        };
        Self {
            name,
            ask: Arc::new(ask),
            patience: PATIENCE,
        }
    }

    /// Gives the part another time to answer than two seconds.
    #[must_use]
    pub fn within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    async fn state(&self) -> State {
        match tokio::time::timeout(self.patience, (self.ask)()).await {
            Ok(Ok(())) => State::Ok,
            Ok(Err(error)) => {
                warn!(event = "not_ready", part = self.name, error = %error, "{} is not ready: {error}", self.name);
                State::Failed
            }
            Err(_) => {
                warn!(
                    event = "not_ready",
                    part = self.name,
                    "{} did not answer in time",
                    self.name
                );
                State::TimedOut
            }
        }
    }
}

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename = "PartState", rename_all = "snake_case")]
enum State {
    /// It answered.
    Ok,
    /// It answered with an error.
    Failed,
    /// It did not answer in time.
    TimedOut,
}

/// The process runs.
#[derive(Object)]
struct Live {
    /// Always `ok`.
    status: String,
}

/// The process can do its work.
#[derive(Object)]
struct Ready {
    /// Always `ok`; otherwise the answer is a problem.
    status: String,
    /// Each part by its name.
    parts: BTreeMap<String, State>,
}

/// The health routes.
#[derive(Clone)]
pub struct HealthApi {
    checks: Arc<[Check]>,
}

impl HealthApi {
    /// Ready when all of `checks` pass.
    pub fn new(checks: Vec<Check>) -> Self {
        Self {
            checks: checks.into(),
        }
    }
}

#[OpenApi(tag = "Tag::Health")]
impl HealthApi {
    /// Tell whether the process runs
    #[oai(path = "/health/live", method = "get", operation_id = "get_liveness")]
    #[expect(clippy::unused_async, reason = "poem-openapi awaits every route")]
    async fn live(&self) -> Json<Live> {
        Json(Live {
            status: "ok".to_owned(),
        })
    }

    /// Tell whether the service can do its work
    ///
    /// Each part is asked and has two seconds. When one does not answer, the problem (503) has
    /// the state of each in its member `parts`.
    #[oai(path = "/health/ready", method = "get", operation_id = "get_readiness")]
    async fn ready(&self) -> Result<Json<Ready>, Problem> {
        let states = join_all(self.checks.iter().map(Check::state)).await;
        let parts = self.checks.iter().zip(&states);
        if states.iter().all(|state| *state == State::Ok) {
            let parts = parts
                .map(|(check, state)| (check.name.to_owned(), *state))
                .collect();
            return Ok(Json(Ready {
                status: "ok".to_owned(),
                parts,
            }));
        }
        let parts: serde_json::Map<String, Value> = parts
            .filter_map(|(check, state)| {
                Some((
                    check.name.to_owned(),
                    poem_openapi::types::ToJSON::to_json(state)?,
                ))
            })
            .collect();
        Err(Problem::unavailable(1)
            .detail("A part of the service is not ready")
            .with("parts", parts))
    }
}
