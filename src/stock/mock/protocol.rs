//! What a mock marketplace is asked, and what it answers.

use std::fmt::Debug;

use chrono::{DateTime, Utc};
use poem::http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use super::state::{Operation, World};

/// The routes and rules of one marketplace. What it remembers is in the [`World`].
pub trait Protocol: Debug + Send + Sync + 'static {
    /// What a request is about; none when the marketplace has no such route.
    fn route(&self, method: &Method, path: &[&str]) -> Option<Route>;

    /// Does what was asked.
    fn answer(&self, incoming: &Incoming<'_>, world: &mut World) -> Answer;

    /// 429.
    fn too_many(&self) -> Answer;
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// What for.
    pub operation: Operation,
    /// Whose store.
    pub seller: String,
    /// Which batch, if it is about one.
    pub batch: Option<String>,
}

/// A request of the marketplace's own API.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// Its place among all requests, from 1.
    pub number: usize,
    /// When it came.
    pub now: DateTime<Utc>,
    /// What it is about.
    pub route: Route,
    /// All of its headers.
    pub headers: &'a HeaderMap,
    /// The pairs of its query.
    pub query: Vec<(String, String)>,
    /// Its body.
    pub body: &'a [u8],
}

impl Incoming<'_> {
    /// A header, as a text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The values of a parameter: given several times, or separated by commas.
    pub fn parameters(&self, name: &str) -> Vec<&str> {
        let given = self.query.iter().filter(|(given, _)| given == name);
        given
            .flat_map(|(_, value)| value.split(','))
            .filter(|value| !value.is_empty())
            .collect()
    }

    /// The parameters of a query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(given, _)| given == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What is answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// Headers beside those that every answer has.
    pub headers: Vec<(&'static str, String)>,
    /// The body; a text is sent as it is.
    pub body: Value,
}

impl Answer {
    /// JSON with a status.
    pub fn new(status: StatusCode, body: Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body,
        }
    }

    /// JSON, and all is well.
    pub fn ok(body: Value) -> Self {
        Self::new(StatusCode::OK, body)
    }
}
