//! One question to the marketplace about one receipt, and what its answer means for the row.
//!
//! An import and a run share this; they differ in what comes after a failure.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures::FutureExt;
use secrecy::SecretString;
use tracing::error;

use super::connector::{ConnectorError, ReceiptRequest, Verdict};
use super::model::{DueRow, RowOutcome, Store, SyncLogId, SyncLogStatus};
use super::money::Money;
use crate::App;
use crate::config::SyncSettings;
use crate::retry::Backoff;
use crate::traces::{self, NewSpan};

/// The marketplace says that the receipt is not one of its orders.
const INVALID_RECEIPT: &str = "invalid_receipt";
/// The marketplace was not asked: what opens it to us cannot be read.
const ACCESS_TOKEN_UNREADABLE: &str = "access_token_unreadable";
/// Something failed on our side of the call.
const INTERNAL: &str = "MarketplaceError: internal error";

/// What one call came to.
#[derive(Clone, Debug)]
pub(super) enum Attempt {
    /// The order exists.
    Success {
        order_id: String,
        amount: Money,
        imported_at: DateTime<Utc>,
    },
    /// It was not imported, for this reason.
    Failed { reason: String },
    /// We are too fast; the marketplace may say for how long.
    RateLimited {
        reason: String,
        retry_after: Option<Duration>,
    },
}

/// Asks the marketplace, unless there is no access token that could be read. Whatever goes wrong,
/// also a panic, is an outcome of this row alone.
pub(super) async fn attempt(
    app: &App,
    store: &Store,
    access_token: Option<&SecretString>,
    receipt: &str,
) -> Attempt {
    if access_token.is_none() {
        return Attempt::Failed {
            reason: ACCESS_TOKEN_UNREADABLE.to_owned(),
        };
    }
    let request = ReceiptRequest {
        marketplace: store.marketplace,
        receipt,
        currency: Some(&store.currency),
        access_token,
        credentials_override: None,
    };
    let started = Instant::now();
    let span = || NewSpan::call("ask marketplace").with("marketplace", store.marketplace.as_str());
    let call = async {
        let answer = AssertUnwindSafe(app.connector.validate(request));
        let answer = answer.catch_unwind().await;
        let outcome = outcome(&answer);
        traces::note("outcome", outcome);
        if !matches!(outcome, "valid" | "invalid") {
            traces::note_failure(outcome);
        }
        (answer, outcome)
    };
    let (answer, outcome) = app.traces.within(span, call).await;
    app.metrics
        .marketplace_request(store.marketplace, outcome, started.elapsed());
    match answer {
        Ok(Ok(Verdict::Valid {
            order_id,
            money,
            imported_at,
        })) => Attempt::Success {
            order_id,
            amount: money,
            imported_at,
        },
        Ok(Ok(Verdict::Invalid)) => Attempt::Failed {
            reason: INVALID_RECEIPT.to_owned(),
        },
        Ok(Err(error @ ConnectorError::RateLimited { retry_after, .. })) => Attempt::RateLimited {
            reason: error.error_details().into_owned(),
            retry_after: retry_after.filter(|pause| !pause.is_zero()),
        },
        Ok(Err(error)) => Attempt::Failed {
            reason: error.error_details().into_owned(),
        },
        Err(_) => {
            error!(storeId = %store.id, "the connector of store {} panicked", store.id);
            Attempt::Failed {
                reason: INTERNAL.to_owned(),
            }
        }
    }
}

/// What metrics call an answer.
fn outcome<P>(answer: &Result<Result<Verdict, ConnectorError>, P>) -> &'static str {
    match answer {
        Ok(Ok(Verdict::Valid { .. })) => "valid",
        Ok(Ok(Verdict::Invalid)) => "invalid",
        Ok(Err(ConnectorError::RateLimited { .. })) => "rate_limited",
        Ok(Err(ConnectorError::Auth { .. })) => "auth_error",
        Ok(Err(ConnectorError::Marketplace { .. })) => "marketplace_error",
        Err(_panic) => "internal_error",
    }
}

impl Attempt {
    /// What is written whoever asked; the retry is up to the caller.
    pub(super) fn row(&self, id: SyncLogId) -> RowOutcome {
        let row = RowOutcome {
            id,
            status: SyncLogStatus::Failed,
            order_id: None,
            amount_minor: None,
            currency: None,
            imported_at: None,
            error_details: None,
            attempt: 0,
            failed_attempt: 0,
            next_retry_at: None,
            dead_at: None,
            claimed_until: None,
        };
        match self {
            Self::Success {
                order_id,
                amount,
                imported_at,
            } => RowOutcome {
                status: SyncLogStatus::Success,
                order_id: Some(order_id.clone()),
                amount_minor: Some(amount.minor()),
                currency: Some(amount.currency().clone()),
                imported_at: Some(*imported_at),
                ..row
            },
            Self::Failed { reason } => RowOutcome {
                error_details: Some(reason.clone()),
                ..row
            },
            Self::RateLimited { reason, .. } => RowOutcome {
                status: SyncLogStatus::RateLimited,
                error_details: Some(reason.clone()),
                ..row
            },
        }
    }

    /// Until when the marketplace wants to be left in peace.
    pub(super) fn pause_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::RateLimited {
                retry_after: Some(pause),
                ..
            } => Some(now + *pause),
            _ => None,
        }
    }

    /// When to try again: after the backoff of this failure, or later if the marketplace says so.
    pub(super) fn retry_at(
        &self,
        backoff: &Backoff,
        failures: u32,
        now: DateTime<Utc>,
    ) -> DateTime<Utc> {
        let due = now + backoff.delay(failures);
        self.pause_until(now).map_or(due, |pause| due.max(pause))
    }

    /// What a due row is after it was asked about again.
    pub(super) fn after(
        &self,
        due: &DueRow,
        settings: &SyncSettings,
        now: DateTime<Utc>,
    ) -> RowOutcome {
        let row = RowOutcome {
            attempt: due.attempt,
            failed_attempt: due.failed_attempt,
            ..self.row(due.id)
        };
        match self {
            Self::Success { .. } => row,
            Self::RateLimited { .. } => {
                let times = due.attempt.saturating_add(1);
                let next = self.retry_at(&settings.backoff, times.unsigned_abs(), now);
                RowOutcome {
                    attempt: times,
                    failed_attempt: 0,
                    next_retry_at: Some(next),
                    ..row
                }
            }
            Self::Failed { .. } => {
                let times = due.failed_attempt.saturating_add(1);
                let is_dead = times.unsigned_abs() >= settings.failed_max_attempts;
                let next = self.retry_at(&settings.backoff, times.unsigned_abs(), now);
                RowOutcome {
                    failed_attempt: times,
                    next_retry_at: (!is_dead).then_some(next),
                    dead_at: is_dead.then_some(now),
                    ..row
                }
            }
        }
    }
}
