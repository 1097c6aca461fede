//! What came of one HTTP call, and what a status means wherever a marketplace says nothing else.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use super::reply::reason;
use super::{CallFailure, Called, Exchange, FailureKind, PollOutcome};
use crate::retry::retry_after;

/// A marketplace that says "come back next week" is asked again tomorrow.
const LONGEST_PAUSE: Duration = Duration::from_hours(24);
/// A larger number in a reset header is an instant, not a delay.
const YEAR_SECONDS: i64 = 366 * 86_400;

/// What came back, if anything did.
pub(super) struct Answer {
    pub(super) exchange: Exchange,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) end: End,
}

/// How an answer ended.
pub(super) enum End {
    Whole,
    /// It was longer than is read.
    TooLong,
    /// The connection was lost, before or after the status.
    Lost(&'static str),
    /// It was not asked at all.
    NotSent(CallFailure),
}

impl Answer {
    /// The status, if there was an answer.
    pub(super) fn status(&self) -> Option<u16> {
        self.exchange.status
    }

    /// What was sent back; none unless it is whole and its status is good.
    pub(super) fn good(&self) -> Option<&[u8]> {
        let is_good = matches!(self.status(), Some(200..=299)) && matches!(self.end, End::Whole);
        is_good.then_some(self.body.as_slice())
    }

    /// What was sent back, without secrets; empty if nothing was.
    pub(super) fn text(&self) -> &str {
        self.exchange.response.as_deref().unwrap_or_default()
    }

    /// A header, as a text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Why the call came to nothing, by the rules that all marketplaces share. Of an answer that
    /// is whole and good: that nobody can read it.
    pub(super) fn failure(&self) -> CallFailure {
        let kind = match (&self.end, self.status()) {
            (End::NotSent(why), _) => return why.clone(),
            (End::Lost(why), None | Some(200..=299)) => {
                return failure(FailureKind::Ambiguous, why);
            }
            (End::TooLong, Some(200..=299)) => {
                let kind = FailureKind::Protocol {
                    may_be_applied: true,
                };
                return failure(kind, "the answer is too long");
            }
            (_, Some(200..=299)) => FailureKind::Protocol {
                may_be_applied: true,
            },
            (_, Some(400 | 413 | 422)) => FailureKind::BadRequest,
            (_, Some(401 | 403)) => FailureKind::Unauthorized,
            (_, Some(429)) => self.rate_limited(false),
            (_, Some(504 | 524)) => FailureKind::TooSlow,
            (_, None | Some(408 | 500..)) => FailureKind::Ambiguous,
            (_, Some(_)) => FailureKind::Protocol {
                may_be_applied: false,
            },
        };
        self.said(kind)
    }

    /// A failure of this kind, in the marketplace's words.
    pub(super) fn said(&self, kind: FailureKind) -> CallFailure {
        let status = self
            .status()
            .map_or_else(|| "nothing".to_owned(), |status| status.to_string());
        failure(
            kind,
            &format!("the marketplace answered {status}: {}", reason(self.text())),
        )
    }

    /// Asked too often.
    pub(super) fn rate_limited(&self, is_for_address: bool) -> FailureKind {
        FailureKind::RateLimited {
            retry_after: self.pause(),
            is_for_address,
        }
    }

    /// How long the marketplace wants to be left in peace, if it says so. Dates are read by its own
    /// clock.
    fn pause(&self) -> Option<TimeDelta> {
        let date = self
            .header(DATE.as_str())
            .and_then(|date| DateTime::parse_from_rfc2822(date).ok());
        let now: Option<DateTime<Utc>> = date.map(|date| date.to_utc());
        let asked = self
            .header(RETRY_AFTER.as_str())
            .and_then(|text| match now {
                Some(now) => retry_after(text, now, LONGEST_PAUSE),
                // Without a date to compare with, only seconds say something.
                None => text.trim().parse().ok().map(Duration::from_secs),
            });
        let asked = asked.or_else(|| {
            let reset: i64 = self.header("x-ratelimit-reset")?.trim().parse().ok()?;
            let seconds = if reset > YEAR_SECONDS {
                reset - now?.timestamp()
            } else {
                reset
            };
            Some(Duration::from_secs(u64::try_from(seconds).ok()?))
        });
        TimeDelta::from_std(asked?.min(LONGEST_PAUSE)).ok()
    }

    /// The call for the log, and why it was no good, if it was not.
    pub(super) fn into_exchange(self, failure: Option<&CallFailure>) -> Exchange {
        Exchange {
            error: failure.map(|failure| failure.message.clone()),
            ..self.exchange
        }
    }

    /// One call and what came of it.
    pub(super) fn called<T>(
        self,
        read: Result<T, CallFailure>,
        failed: fn(CallFailure) -> T,
    ) -> Called<T> {
        let exchanges = vec![self.into_exchange(read.as_ref().err())];
        Called {
            exchanges,
            outcome: read.unwrap_or_else(failed),
        }
    }
}

/// No call, and why.
pub(super) fn not_called<T>(why: &str, failed: fn(CallFailure) -> T) -> Called<T> {
    let failure = failure(FailureKind::Unauthorized, why);
    Called {
        exchanges: Vec::new(),
        outcome: failed(failure),
    }
}

/// What comes of asking for results that came at once: nobody has to, and nobody knows the push.
pub(super) fn nothing_to_poll<'a>() -> BoxFuture<'a, Called<PollOutcome>> {
    std::future::ready(Called {
        exchanges: Vec::new(),
        outcome: PollOutcome::Gone,
    })
    .boxed()
}

/// A failure, and what is said of it.
pub(super) fn failure(kind: FailureKind, message: &str) -> CallFailure {
    CallFailure {
        kind,
        message: message.to_owned(),
    }
}

#[cfg(test)]
impl Answer {
    /// A whole answer.
    pub(super) fn of(status: u16, body: &str) -> Self {
        Self {
            exchange: Exchange {
                kind: crate::stock::model::ApiLogType::UpdateStock,
                method: "POST",
                url: "http://localhost/".into(),
                request: None,
                response: Some(body.to_owned()),
                status: Some(status),
                error: None,
                duration: Duration::ZERO,
                correlation_id: None,
            },
            headers: HeaderMap::new(),
            body: body.as_bytes().to_vec(),
            end: End::Whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16) -> FailureKind {
        Answer::of(status, "").failure().kind
    }

    #[test]
    fn a_status_means_the_same_everywhere() {
        let limited = FailureKind::RateLimited {
            retry_after: None,
            is_for_address: false,
        };
        let refused = FailureKind::Protocol {
            may_be_applied: false,
        };
        let unread = FailureKind::Protocol {
            may_be_applied: true,
        };
        for (status, expected) in [
            (200, unread),
            (204, unread),
            (302, refused),
            (400, FailureKind::BadRequest),
            (401, FailureKind::Unauthorized),
            (403, FailureKind::Unauthorized),
            (404, refused),
            (405, refused),
            (408, FailureKind::Ambiguous),
            (413, FailureKind::BadRequest),
            (415, refused),
            (422, FailureKind::BadRequest),
            (429, limited),
            (500, FailureKind::Ambiguous),
            (502, FailureKind::Ambiguous),
            (503, FailureKind::Ambiguous),
            (504, FailureKind::TooSlow),
            (524, FailureKind::TooSlow),
            (599, FailureKind::Ambiguous),
        ] {
            assert_eq!(kind(status), expected, "{status}");
        }
    }

    #[test]
    fn how_an_answer_ended_matters_only_when_its_status_is_good() {
        let ended = |status, end| {
            let answer = Answer {
                end,
                ..Answer::of(status, "")
            };
            assert_eq!(answer.good(), None);
            answer.failure().kind
        };
        let unread = FailureKind::Protocol {
            may_be_applied: true,
        };
        assert_eq!(ended(200, End::TooLong), unread);
        assert_eq!(ended(200, End::Lost("lost")), FailureKind::Ambiguous);
        assert_eq!(ended(400, End::TooLong), FailureKind::BadRequest);
        assert_eq!(ended(403, End::Lost("lost")), FailureKind::Unauthorized);
    }

    #[test]
    fn a_pause_is_what_a_header_says_up_to_a_day() {
        let pause = |headers: &[(&'static str, &str)]| {
            let mut answer = Answer::of(429, "");
            for (name, value) in headers {
                answer.headers.insert(*name, value.parse().unwrap());
            }
            answer.pause().map(|pause| pause.num_seconds())
        };
        let date = ("date", "Wed, 21 Oct 2015 07:28:00 GMT");
        assert_eq!(pause(&[]), None);
        assert_eq!(pause(&[("retry-after", "30")]), Some(30));
        assert_eq!(pause(&[("retry-after", "99999999")]), Some(86_400));
        assert_eq!(pause(&[("retry-after", "soon")]), None);
        let later = ("retry-after", "Wed, 21 Oct 2015 07:30:00 GMT");
        assert_eq!(pause(&[date, later]), Some(120));
        // Without the other side's clock a date says nothing.
        assert_eq!(pause(&[later]), None);
        assert_eq!(pause(&[("x-ratelimit-reset", "12")]), Some(12));
        assert_eq!(
            pause(&[date, ("x-ratelimit-reset", "1445412510")]),
            Some(30)
        );
        assert_eq!(pause(&[("x-ratelimit-reset", "1445412510")]), None);
        assert_eq!(pause(&[("x-ratelimit-reset", "-5")]), None);
        let both = [("retry-after", "7"), ("x-ratelimit-reset", "12")];
        assert_eq!(pause(&both), Some(7));
    }

    #[test]
    fn a_failure_repeats_what_the_marketplace_said() {
        let said = |body| Answer::of(400, body).failure().message;
        let begin = "the marketplace answered 400: ";
        for (body, expected) in [
            (
                r#"{"errors":[{"key":"k","message":"m","errorCode":"c"}]}"#,
                "c: m",
            ),
            (r#"{"errors":["one","two"]}"#, "one: two"),
            (
                r#"{"errors":"[API] Invalid API key"}"#,
                "[API] Invalid API key",
            ),
            (
                r#"{"exception":"ClientApiAuthenticationException"}"#,
                "ClientApiAuthenticationException",
            ),
            (
                r#"{"error":"Forbidden","message":"no\nUser-Agent"}"#,
                "Forbidden: no User-Agent",
            ),
            ("<html>bad gateway</html>", "<html>bad gateway</html>"),
            ("", ""),
        ] {
            assert_eq!(said(body), format!("{begin}{expected}"), "{body}");
        }
        assert!(said(&"x".repeat(10_000)).chars().count() < 400);
    }
}
