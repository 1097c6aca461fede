//! Whether the process lives, and whether it can do its work: for orchestrators and people.
//!
//! What a part is and how it is asked is said by whoever makes the [`Check`]; here it is asked
//! in bounded time, and an answer never says why a part failed (the log does).
//!
//! A part that does not answer makes the process not ready (503): somebody else may do better.
//! What is late (a tick, an order, a delivery) makes it degraded, and still ready (200): to take
//! the API away because work piles up elsewhere would help nobody. Alerts are for that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures::future::{BoxFuture, join_all};
use poem_openapi::payload::Json;
use poem_openapi::{Enum, Object, OpenApi};
use serde_json::Value;
use tracing::warn;

use super::Tag;
use super::nullable::Nullable;
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

/// Something that happens again and again, and when it did last, or is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Age {
    /// What.
    pub name: &'static str,
    /// For how long; none when it never was, or is not known.
    pub age: Option<TimeDelta>,
    /// Longer is late.
    pub limit: TimeDelta,
}

impl Age {
    fn is_late(&self) -> bool {
        self.age.is_none_or(|age| age > self.limit)
    }
}

type Watch = dyn Fn() -> BoxFuture<'static, Vec<Age>> + Send + Sync;

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

/// Whether something happens when it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename = "Punctuality", rename_all = "snake_case")]
enum Punctuality {
    /// It does.
    Ok,
    /// It is late, or was never seen.
    Late,
}

/// Whether the process can do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename = "Readiness", rename_all = "snake_case")]
enum Readiness {
    /// It can.
    Ok,
    /// It can, but something is late.
    Degraded,
}

/// How long ago something was, or how long it waits.
#[derive(Object)]
#[oai(rename = "Age", rename_all = "camelCase")]
struct AgeView {
    /// Late when it is longer ago than the limit.
    state: Punctuality,
    /// Seconds; null when it never was, or is not known.
    seconds: Nullable<i64>,
    /// Seconds.
    limit_seconds: i64,
}

impl From<Age> for AgeView {
    fn from(age: Age) -> Self {
        Self {
            state: if age.is_late() {
                Punctuality::Late
            } else {
                Punctuality::Ok
            },
            seconds: Nullable(age.age.map(|age| age.num_seconds())),
            limit_seconds: age.limit.num_seconds(),
        }
    }
}

/// The process can do its work.
#[derive(Object)]
struct Ready {
    /// `degraded` when something is late; when a part does not answer, the answer is a problem.
    status: Readiness,
    /// Each part by its name.
    parts: BTreeMap<String, State>,
    /// What may be late, by its name: the last ticks, the oldest order and delivery that are due.
    #[oai(skip_serializing_if_is_none)]
    ages: Option<BTreeMap<String, AgeView>>,
}

/// The health routes.
#[derive(Clone)]
pub struct HealthApi {
    checks: Arc<[Check]>,
    watch: Option<Arc<Watch>>,
}

impl HealthApi {
    /// Ready when all of `checks` pass.
    pub fn new(checks: Vec<Check>) -> Self {
        Self {
            checks: checks.into(),
            watch: None,
        }
    }

    /// Degraded when something of what `watch` tells of is late.
    #[must_use]
    pub fn watching<A>(mut self, watch: impl Fn() -> A + Send + Sync + 'static) -> Self
    where
        A: Future<Output = Vec<Age>> + Send + 'static,
    {
        self.watch = Some(Arc::new(move || Box::pin(watch())));
        self
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
    /// the state of each in its member `parts`. When all answer and something is late, the
    /// status is `degraded` (200): a tick that is three intervals old (at least a minute), an
    /// order that has been due for fifteen minutes, a delivery that has been due for five. Ages
    /// are read every five seconds at most, those of orders and deliveries every thirty.
    #[oai(path = "/health/ready", method = "get", operation_id = "get_readiness")]
    async fn ready(&self) -> Result<Json<Ready>, Problem> {
        let states = join_all(self.checks.iter().map(Check::state)).await;
        let parts = self.checks.iter().zip(&states);
        if states.iter().all(|state| *state == State::Ok) {
            let parts = parts
                .map(|(check, state)| (check.name.to_owned(), *state))
                .collect();
            let ages = match &self.watch {
                Some(watch) => Some(watch().await),
                None => None,
            };
            let is_late = ages.iter().flatten().any(Age::is_late);
            let view = |age: Age| (age.name.to_owned(), age.into());
            return Ok(Json(Ready {
                status: if is_late {
                    Readiness::Degraded
                } else {
                    Readiness::Ok
                },
                parts,
                ages: ages.map(|ages| ages.into_iter().map(view).collect()),
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
