//! How often each fault happens, and how much of the pace must be back how soon.

use std::time::Duration;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// How often each fault happens.
    pub(super) rounds: u32,
    /// Over so long a pace is taken.
    pub(super) window: Duration,
    /// So much of the pace before the fault …
    pub(super) percent: usize,
    /// … must be back so soon after it.
    pub(super) within: Duration,
}

/// With every run, on a machine that does other things: whether it is back, not how fast it is.
const SHORT: Form = Form {
    rounds: 1,
    window: Duration::from_secs(4),
    percent: 50,
    within: Duration::from_mins(1),
};

impl Form {
    /// The short one, unless `FAULT_ROUNDS` is set: then the promise to the letter, on a machine
    /// that does nothing else.
    pub(super) fn asked_for() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the test's own setting")]
        let rounds = std::env::var("FAULT_ROUNDS");
        let Ok(rounds) = rounds else { return SHORT };
        Self {
            rounds: rounds.parse().expect("a number"),
            window: Duration::from_secs(6),
            percent: 95,
            within: Duration::from_secs(30),
        }
    }
}
