//! The connector of the mock marketplace: JSON over HTTP with Basic credentials.

use std::collections::HashMap;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::{Connector, ConnectorError, ReceiptRequest, ReplyBody, Verdict, reply};
use crate::clock::Clock;
use crate::marketplace::model::Marketplace;
use crate::traces;

/// A Basic Auth pair.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user, without a colon.
    pub username: String,
    /// The password; a colon in it is fine.
    pub password: SecretString,
}

impl Credentials {
    /// A pair.
    pub fn new(username: impl Into<String>, password: impl Into<SecretString>) -> Self {
        Self {
            username: username.into(),
            password: password.into(),
        }
    }

    /// Whether both halves are set; an empty one counts as not configured.
    pub fn is_complete(&self) -> bool {
        !self.username.is_empty() && !self.password.expose_secret().is_empty()
    }
}

/// Asks the mock marketplace, over a pooled client that the caller built.
#[derive(Debug)]
pub struct MockClient {
    http: reqwest::Client,
    base_url: String,
    credentials: HashMap<Marketplace, Credentials>,
    timeout: Duration,
    clock: Clock,
}

#[derive(Serialize)]
struct Question<'a> {
    receipt: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<&'a str>,
}

impl MockClient {
    /// A client of the marketplace at `base_url`. An answer takes at most `timeout`, whatever
    /// the pooled client allows; the clock reads `Retry-After` dates.
    pub fn new(
        http: reqwest::Client,
        base_url: &Url,
        credentials: HashMap<Marketplace, Credentials>,
        timeout: Duration,
        clock: Clock,
    ) -> Self {
        Self {
            http,
            base_url: base_url.as_str().trim_end_matches('/').to_owned(),
            credentials,
            timeout,
            clock,
        }
    }

    async fn ask(&self, request: ReceiptRequest<'_>) -> Result<Verdict, ConnectorError> {
        let credentials = request
            .credentials_override
            .as_ref()
            .or_else(|| self.configured(request.marketplace))
            .ok_or_else(|| not_configured(request.marketplace))?;
        let url = format!("{}/mock/{}/validate", self.base_url, request.marketplace);
        let mut question = self.http.post(url);
        if let Some(traceparent) = traces::traceparent() {
            question = question.header(traces::HEADER, traceparent);
        }
        let response = question
            .timeout(self.timeout)
            .basic_auth(
                &credentials.username,
                Some(credentials.password.expose_secret()),
            )
            .json(&Question {
                receipt: request.receipt,
                currency: request.currency,
            })
            .send()
            .await
            .map_err(|error| ConnectorError::no_answer(&error))?;
        reply::judge(response, self.clock.now()).await
    }

    fn configured(&self, marketplace: Marketplace) -> Option<&Credentials> {
        self.credentials
            .get(&marketplace)
            .filter(|credentials| credentials.is_complete())
    }
}

fn not_configured(marketplace: Marketplace) -> ConnectorError {
    ConnectorError::Marketplace {
        status: None,
        message: format!("Marketplace credentials not configured for {marketplace}").into(),
        body: ReplyBody::default(),
    }
}

impl Connector for MockClient {
    fn validate<'a>(
        &'a self,
        request: ReceiptRequest<'a>,
    ) -> BoxFuture<'a, Result<Verdict, ConnectorError>> {
        self.ask(request).boxed()
    }
}
