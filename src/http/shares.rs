//! How many connections of one address may be open at a time.
//!
//! Places are limited, and a connection that asks for something now and then keeps its own: without
//! a share one client could take all of them. A trusted proxy is exempt, because it brings
//! everybody's connections; whoever it brings is held to rates instead ([`rates`](super::rates)).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

use super::client::{Network, TrustedProxies};

/// How often the log tells of connections that were closed.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// The shares of the addresses at one listener. Clones share them.
#[derive(Clone)]
pub(super) struct Shares(Arc<Inner>);

struct Inner {
    most: usize,
    proxies: TrustedProxies,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// No more addresses than there are open connections.
    open: HashMap<Network, usize>,
    closed_since_told: u64,
    told_at: Option<Instant>,
}

/// A connection's part of the share of its address, until it is dropped.
pub(super) struct Share(Option<(Shares, Network)>);

impl Shares {
    /// So many connections each; zero is as many as they like.
    pub(super) fn new(most: usize, proxies: TrustedProxies) -> Self {
        Self(Arc::new(Inner {
            most,
            proxies,
            table: Mutex::default(),
        }))
    }

    /// Takes of the share of an address, if there is something left.
    pub(super) fn take(&self, address: Option<IpAddr>) -> Option<Share> {
        let bound = address.filter(|it| self.0.most > 0 && !self.0.proxies.trusts(*it));
        let Some(network) = bound.map(Network::from) else {
            return Some(Share(None));
        };
        let mut table = self.lock();
        let open = table.open.entry(network).or_default();
        if *open >= self.0.most {
            let count = table.refuse();
            // Whoever writes the log may be slow, and everybody needs the table.
            drop(table);
            if let Some(count) = count {
                self.tell(network, count);
            }
            return None;
        }
        *open += 1;
        drop(table);
        Some(Share(Some((self.clone(), network))))
    }

    fn tell(&self, network: Network, count: u64) {
        let most = self.0.most;
        warn!(event = "connections_refused", address = %network, count, "closed {count} connections that were too many, the last one of {network}, which has {most} open (`MAX_CONNECTIONS_PER_IP`)");
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Counts one more; how many the log is to tell of, but not each time.
    fn refuse(&mut self) -> Option<u64> {
        self.closed_since_told += 1;
        let now = Instant::now();
        if self.told_at.is_some_and(|at| now - at < TOLD_EVERY) {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.closed_since_told))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some((shares, network)) = &self.0 else {
            return;
        };
        let mut table = shares.lock();
        if let Some(open) = table.open.get_mut(network) {
            *open -= 1;
            if *open == 0 {
                table.open.remove(network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(most: usize) -> Shares {
        Shares::new(most, "10.0.0.0/8".parse().unwrap())
    }

    fn take(shares: &Shares, address: &str) -> Option<Share> {
        shares.take(Some(address.parse().unwrap()))
    }

    #[test]
    fn an_address_has_its_share_and_no_more_until_something_is_given_back() {
        let shares = shares(2);
        let [first, _second] = [(); 2].map(|()| take(&shares, "192.0.2.1").unwrap());
        assert!(take(&shares, "192.0.2.1").is_none());
        assert!(take(&shares, "::ffff:192.0.2.1").is_none(), "the same one");
        let _other = take(&shares, "192.0.2.2").unwrap();
        drop(first);
        assert!(take(&shares, "192.0.2.1").is_some());
    }

    #[test]
    fn who_has_a_block_of_addresses_has_one_share() {
        let shares = shares(1);
        let _one = take(&shares, "2001:db8:0:1::1").unwrap();
        assert!(take(&shares, "2001:db8:0:1::2").is_none());
        assert!(take(&shares, "2001:db8:0:2::1").is_some());
    }

    #[test]
    fn trusted_proxies_and_a_share_of_zero_have_no_bound() {
        let (some, any) = (shares(1), shares(0));
        let many = |shares: &Shares, address| (0..9).all(|_| take(shares, address).is_some());
        assert!(many(&some, "10.1.2.3"));
        let kept: Vec<_> = (0..9).map(|_| take(&some, "10.1.2.3")).collect();
        assert!(kept.iter().all(Option::is_some));
        let kept: Vec<_> = (0..9).map(|_| take(&any, "192.0.2.1")).collect();
        assert!(kept.iter().all(Option::is_some));
    }

    #[test]
    fn nothing_is_remembered_of_who_has_gone() {
        let shares = shares(1);
        let share = take(&shares, "192.0.2.1").unwrap();
        assert!(take(&shares, "192.0.2.1").is_none());
        drop(share);
        assert!(shares.lock().open.is_empty());
    }
}
