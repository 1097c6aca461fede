//! Where the service listens, who may call it, and how often.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use anyhow::{Result, anyhow};

use crate::http::auth::ListedKey;
use crate::http::client::TrustedProxies;

/// An address to listen on.
#[derive(Clone, Debug)]
pub struct Listener {
    /// A name or an address.
    pub host: String,
    /// 0 takes a free one.
    pub port: u16,
}

impl Listener {
    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self
                .host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }

    /// The address to bind.
    pub fn address(&self) -> Result<SocketAddr> {
        (self.host.as_str(), self.port)
            .to_socket_addrs()
            .ok()
            .and_then(|mut addresses| addresses.next())
            .ok_or_else(|| anyhow!("`{}` is not an address of this machine", self.host))
    }
}

/// Who may call.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    /// `AUTH`: whether a key is needed.
    pub mode: AuthMode,
    /// `API_KEYS`: keys that count beside the stored ones.
    pub listed: Vec<ListedKey>,
}

/// How often somebody may call.
#[derive(Clone, Debug)]
pub struct RateSettings {
    /// `RATE_LIMIT_PER_KEY`: requests a second of one API key or sync token; 0: no limit.
    pub per_key: u32,
    /// `RATE_LIMIT_PER_IP`: requests a second of one address; 0: no limit.
    pub per_address: u32,
    /// `TRUSTED_PROXIES`: whose `X-Forwarded-For` is believed.
    pub proxies: TrustedProxies,
}

/// Whether a key is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// No.
    Anonymous,
    /// No, until one is made: the default where only this machine can call.
    AnonymousWithoutKeys,
    /// Yes: the default elsewhere.
    Required,
}
