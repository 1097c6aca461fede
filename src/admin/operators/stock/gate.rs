//! What keeps a store from being pushed to, as far as it is stored: a back-off, or the window after
//! a run. What only a run finds out (a spent budget, requests outstanding) is not.

use chrono::{DateTime, Utc};

use super::views::GateView;
use crate::admin::operators::queries::stock::stores::Limits;
use crate::stock::model::GateReason;

/// Why nothing is sent to a store, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) reason: GateReason,
    /// None while nobody can tell.
    pub(super) opens_at: Option<DateTime<Utc>>,
}

/// Why nothing is sent to a store now; none if its gate is open.
pub(super) fn closed(is_enabled: bool, limits: &Limits, now: DateTime<Utc>) -> Option<Closed> {
    if !is_enabled {
        let reason = GateReason::Disabled;
        return Some(Closed {
            reason,
            opens_at: None,
        });
    }
    let backoff = limits.backoff_until.filter(|until| *until > now);
    let window = limits.window_opens_at.filter(|opens| *opens > now);
    let reason = match (backoff, window) {
        (None, None) => return None,
        (None, Some(_)) => GateReason::Window,
        (Some(_), _) => {
            let stored = limits.backoff_reason.as_deref();
            let known = stored.and_then(|reason| reason.parse().ok());
            known.unwrap_or(GateReason::Backoff)
        }
    };
    Some(Closed {
        reason,
        // Both have to be over.
        opens_at: backoff.max(window),
    })
}

impl From<Option<Closed>> for GateView {
    fn from(closed: Option<Closed>) -> Self {
        Self {
            is_open: closed.is_none(),
            reason: closed.map(|closed| closed.reason),
            opens_at: closed.and_then(|closed| closed.opens_at).map(Into::into),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn limits(backoff: Option<(i64, &str)>, window: Option<i64>) -> Limits {
        Limits {
            backoff_until: backoff.map(|(until, _)| at(until)),
            backoff_reason: backoff.map(|(_, reason)| reason.to_owned()),
            window_opens_at: window.map(at),
        }
    }

    #[test]
    fn a_gate_is_open_when_all_that_is_stored_is_over() {
        assert_eq!(closed(true, &Limits::default(), at(0)), None);
        let over = limits(Some((10, "AUTH")), Some(10));
        assert_eq!(closed(true, &over, at(10)), None);
    }

    #[test]
    fn a_closed_gate_says_why_and_until_when() {
        let of = |limits: Limits| closed(true, &limits, at(0)).unwrap();
        let closed_until = |reason, seconds| Closed {
            reason,
            opens_at: Some(at(seconds)),
        };
        let auth = of(limits(Some((10, "AUTH")), None));
        assert_eq!(auth, closed_until(GateReason::Auth, 10));
        let window = of(limits(None, Some(900)));
        assert_eq!(window, closed_until(GateReason::Window, 900));
        let both = of(limits(Some((10, "BREAKER")), Some(900)));
        assert_eq!(both, closed_until(GateReason::Breaker, 900));
        let odd = of(limits(Some((10, "of a later version")), None));
        assert_eq!(odd, closed_until(GateReason::Backoff, 10));
    }

    #[test]
    fn nothing_is_sent_while_pushing_is_switched_off() {
        let closed = closed(false, &Limits::default(), at(0)).unwrap();
        assert_eq!(closed.reason, GateReason::Disabled);
        assert_eq!(closed.opens_at, None);
    }
}
