//! What one request means for the delivery it was made for: a pure function.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::StatusCode;

use super::outbox::CallbackStatus;
use super::send::{Reply, Sent};
use crate::config::CallbackSettings;
use crate::metrics::DeliveryOutcome;
use crate::retry::{Jitter, retry_after};
use crate::timestamp;

/// An endpoint that says "come back next week" is asked again in an hour.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);

/// What a delivery is after a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Its status now.
    pub(super) status: CallbackStatus,
    /// What the endpoint answered.
    pub(super) http_status: Option<i32>,
    /// Failures so far.
    pub(super) attempt: i32,
    /// When it is tried again.
    pub(super) next_attempt_at: Option<DateTime<Utc>>,
    /// What went wrong.
    pub(super) last_error: Option<String>,
    /// The endpoint said that it is no more.
    pub(super) is_gone: bool,
}

impl Outcome {
    /// After a request, of a delivery that had failed `failures` times before.
    pub(super) fn of(
        sent: &Sent,
        failures: i32,
        settings: &CallbackSettings,
        jitter: &Jitter,
        now: DateTime<Utc>,
    ) -> Self {
        let reply = sent.reply.as_ref();
        let http_status = reply.ok().map(|reply| i32::from(reply.status));
        if reply.is_ok_and(Reply::is_success) {
            return Self {
                status: CallbackStatus::Success,
                http_status,
                attempt: failures,
                next_attempt_at: None,
                last_error: None,
                is_gone: false,
            };
        }
        let attempt = failures.saturating_add(1);
        let is_last = attempt.unsigned_abs() >= settings.max_attempts;
        let delay = jitter.spread(backoff(&settings.backoff, attempt));
        let delay = pause(reply.ok(), now).map_or(delay, |pause| delay.max(pause));
        Self {
            status: if is_last {
                CallbackStatus::Failed
            } else {
                CallbackStatus::Pending
            },
            http_status,
            attempt,
            next_attempt_at: (!is_last).then(|| timestamp::truncate(now + delay)),
            last_error: Some(match &sent.reply {
                Ok(reply) => describe(reply.status),
                Err(error) => error.to_string(),
            }),
            is_gone: http_status == Some(i32::from(StatusCode::GONE.as_u16())),
        }
    }
}

impl Outcome {
    /// What metrics call it.
    pub(super) fn counted_as(&self) -> DeliveryOutcome {
        match self.status {
            CallbackStatus::Success => DeliveryOutcome::Success,
            CallbackStatus::Pending => DeliveryOutcome::Failure,
            CallbackStatus::Failed => DeliveryOutcome::DeadLetter,
        }
    }
}

/// The delay after failure number `attempt`; the last one repeats.
fn backoff(delays: &[Duration], attempt: i32) -> Duration {
    let index = usize::try_from(attempt - 1).unwrap_or_default();
    let delay = delays.get(index).or(delays.last());
    delay.copied().unwrap_or_default()
}

/// How long the endpoint wants to be left in peace, if it may say so.
fn pause(reply: Option<&Reply>, now: DateTime<Utc>) -> Option<Duration> {
    let reply = reply.filter(|reply| matches!(reply.status, 429 | 503))?;
    retry_after(reply.retry_after.as_deref()?, now, LONGEST_RETRY_AFTER)
}

/// `HTTP 500 Internal Server Error`
fn describe(status: u16) -> String {
    let reason = StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason());
    match reason {
        Some(reason) => format!("HTTP {status} {reason}"),
        None => format!("HTTP {status}"),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::config::Settings;
    use crate::webhooks::send::SendError;

    fn noon() -> DateTime<Utc> {
        "2024-01-01T12:00:00Z".parse().unwrap()
    }

    fn outcome(reply: Result<Reply, SendError>, failures: i32) -> Outcome {
        let settings = Settings::from_lookup(&|_| None).unwrap().callback;
        let duration = Duration::from_millis(3);
        let sent = Sent { duration, reply };
        Outcome::of(&sent, failures, &settings, &Jitter::seeded(1), noon())
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "a reply is one of two ways a request ends"
    )]
    fn reply(status: u16, retry_after: Option<&str>) -> Result<Reply, SendError> {
        Ok(Reply {
            status,
            retry_after: retry_after.map(ToOwned::to_owned),
            excerpt: String::new(),
        })
    }

    /// Minutes until the next attempt.
    fn minutes(outcome: &Outcome) -> f64 {
        let delay = outcome.next_attempt_at.unwrap() - noon();
        delay.to_std().unwrap().as_secs_f64() / 60.0
    }

    #[test]
    fn two_hundred_and_two_hundred_one_are_success_and_nothing_else_is() {
        for status in [200, 201] {
            let outcome = outcome(reply(status, None), 1);
            assert_eq!(outcome.status, CallbackStatus::Success);
            assert_eq!((outcome.attempt, outcome.next_attempt_at), (1, None));
            assert_eq!(outcome.last_error, None);
        }
        for status in [100, 202, 204, 206, 302, 404, 410, 429, 500, 599, 999] {
            let outcome = outcome(reply(status, None), 0);
            assert_eq!(outcome.status, CallbackStatus::Pending, "{status}");
            assert_eq!(outcome.attempt, 1);
            assert_eq!(outcome.http_status, Some(i32::from(status)));
        }
    }

    #[test]
    fn a_failure_says_what_went_wrong() {
        let error = |reply| outcome(reply, 0).last_error.unwrap();
        assert_eq!(error(reply(500, None)), "HTTP 500 Internal Server Error");
        assert_eq!(error(reply(599, None)), "HTTP 599");
        assert_eq!(error(Err(SendError::Timeout)), "timeout");
    }

    #[test]
    fn retries_come_after_one_and_five_minutes_and_the_third_failure_is_the_last() {
        let first = outcome(Err(SendError::Timeout), 0);
        assert!((0.9..=1.1).contains(&minutes(&first)), "{first:?}");
        let second = outcome(Err(SendError::Timeout), 1);
        assert!((4.5..=5.5).contains(&minutes(&second)), "{second:?}");
        let third = outcome(Err(SendError::Timeout), 2);
        assert_eq!(
            (third.status, third.attempt, third.next_attempt_at),
            (CallbackStatus::Failed, 3, None)
        );
    }

    #[test]
    fn the_last_step_of_the_schedule_repeats() {
        let delays = [60, 300].map(Duration::from_secs);
        let seconds: Vec<_> = (1..5).map(|it| backoff(&delays, it).as_secs()).collect();
        insta::assert_compact_debug_snapshot!(seconds, @"[60, 300, 300, 300]");
    }

    #[test]
    fn an_endpoint_may_ask_for_up_to_an_hour_of_peace() {
        let pause = |status, text| minutes(&outcome(reply(status, Some(text)), 0));
        for status in [429, 503] {
            assert!((pause(status, "600") - 10.0).abs() < 0.01);
            assert!((pause(status, "86400") - 60.0).abs() < 0.01);
            assert!(pause(status, "Mon, 01 Jan 2024 12:20:00 GMT") > 19.9);
            assert!(pause(status, "1") >= 0.9, "never sooner than without it");
            assert!(pause(status, "soon") <= 1.1);
        }
        assert!(pause(500, "600") <= 1.1);
    }

    #[test]
    fn only_410_says_that_an_endpoint_is_no_more() {
        assert!(outcome(reply(410, None), 0).is_gone);
        assert!(!outcome(reply(404, None), 0).is_gone);
        let next = outcome(reply(410, None), 0).next_attempt_at.unwrap();
        assert!(
            next > noon() + TimeDelta::seconds(50),
            "kept for its return"
        );
    }
}
