//! How often somebody may ask: an address, a key, a sync token; and how often an address may be
//! wrong about a key.
//!
//! Every request spends of the allowance of its address first, before anything is done for it;
//! probes of the health spend of one of their own, so that a busy client beside an orchestrator
//! does not take the service out of rotation. A key that is wrong counts against its address.
//! The same wrong key again does not: it tells whoever guesses nothing, and is what a client that
//! was forgotten sends, maybe from the same address as clients that work.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use poem::Request;
use tracing::warn;
use uuid::Uuid;

use super::auth::KeyHash;
use super::client::{Network, TrustedProxies};
use super::problem::Problem;
use crate::clock::Clock;
use crate::rate::Limiter;

/// So many wrong keys of an address at once, and one more each [`FAILURE_EVERY`].
const FAILURES: NonZeroU32 = NonZeroU32::new(20).unwrap();
const FAILURE_EVERY: Duration = Duration::from_secs(3);
/// A wrong key counts again after this time.
const SAME_FAILURE: Duration = Duration::from_mins(10);

/// What opens something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A key, by its hash.
    Key([u8; 32]),
    /// The sync token of a store.
    Token(Uuid),
}

/// How often somebody may ask. Clones share what was spent.
#[derive(Clone, Debug)]
pub struct Rates(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    proxies: TrustedProxies,
    per_key: Option<Limiter<Credential>>,
    per_address: Option<PerAddress>,
}

#[derive(Debug)]
struct PerAddress {
    requests: Limiter<(Network, bool)>,
    failures: Failures,
}

impl Rates {
    /// Requests a second of each key and of each address; zero is as many as they like.
    pub fn new(per_key: u32, per_address: u32, proxies: TrustedProxies, clock: &Clock) -> Self {
        let per_address = NonZeroU32::new(per_address).map(|rate| PerAddress {
            requests: Limiter::per_second(rate, clock),
            failures: Failures::new(FAILURE_EVERY, FAILURES, clock),
        });
        Self(Arc::new(Inner {
            proxies,
            per_key: NonZeroU32::new(per_key).map(|rate| Limiter::per_second(rate, clock)),
            per_address,
        }))
    }

    /// As often as they like.
    pub fn unlimited() -> Self {
        Self::new(0, 0, TrustedProxies::default(), &Clock::system())
    }

    /// Spends of the allowance of whoever sent a request; the result is to be attached to it.
    pub(super) fn admit(&self, request: &Request) -> Result<Visitor, Problem> {
        let network = self.0.proxies.client(request);
        let is_probe = request.uri().path().starts_with("/health/");
        if let (Some(limits), Some(network)) = (&self.0.per_address, network) {
            let spent = limits.requests.spend(&(network, is_probe));
            spent.map_err(too_often)?;
        }
        Ok(Visitor {
            rates: self.clone(),
            network,
        })
    }

    /// Spends of the allowance of what opens something.
    pub fn spend(&self, credential: Credential) -> Result<(), Problem> {
        match &self.0.per_key {
            Some(limiter) => limiter.spend(&credential).map_err(too_often),
            None => Ok(()),
        }
    }
}

/// Whoever sent a request.
#[derive(Clone, Debug)]
pub struct Visitor {
    rates: Rates,
    network: Option<Network>,
}

impl Visitor {
    /// Where they are.
    pub(super) fn network(&self) -> Option<Network> {
        self.network
    }

    /// Whether they may try a key at all.
    pub(super) fn may_try(&self) -> Result<(), Problem> {
        match self.failures() {
            Some((failures, network)) => failures.check(network).map_err(too_often),
            None => Ok(()),
        }
    }

    /// They tried one that nobody knows.
    pub(super) fn failed(&self, key: KeyHash) {
        if let Some((failures, network)) = self.failures() {
            failures.note(network, key);
        }
    }

    /// They tried one that is known.
    pub(super) fn spend(&self, key: KeyHash) -> Result<(), Problem> {
        self.rates.spend(Credential::Key(key.0))
    }

    fn failures(&self) -> Option<(&Failures, Network)> {
        let limits = self.rates.0.per_address.as_ref()?;
        Some((&limits.failures, self.network?))
    }
}

/// Tries of addresses that failed.
#[derive(Debug)]
pub struct Failures {
    left: Limiter<Network>,
    seen: Limiter<(Network, [u8; 32])>,
}

impl Failures {
    /// `burst` at once, and one more each `period`.
    pub fn new(period: Duration, burst: NonZeroU32, clock: &Clock) -> Self {
        Self {
            left: Limiter::one_per(period, burst, clock),
            seen: Limiter::one_per(SAME_FAILURE, NonZeroU32::MIN, clock),
        }
    }

    /// How long an address has to wait before it may try again, if it has.
    pub fn check(&self, network: Network) -> Result<(), Duration> {
        self.left.wait(&network).map_or(Ok(()), Err)
    }

    /// An address tried what has this hash, and it was wrong.
    pub fn note(&self, network: Network, tried: KeyHash) {
        let tried = (network, tried.0);
        if self.seen.remembers(&tried) {
            return;
        }
        // Whether there is a place to remember it in or not: it counts.
        self.seen.spend(&tried).ok();
        if self.left.spend(&network).is_err() {
            return;
        }
        if self.check(network).is_err() {
            warn!(
                event = "too_many_failed_logins",
                network = %network,
                "{network} was wrong too often and has to wait"
            );
        }
    }
}

/// 429, in whole seconds that are enough.
pub(crate) fn too_often(wait: Duration) -> Problem {
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    Problem::rate_limited(u64::try_from(seconds).unwrap_or(u64::MAX))
}
