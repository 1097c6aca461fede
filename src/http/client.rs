//! Where a request comes from.
//!
//! Proxies that the settings trust are believed when they say, in `X-Forwarded-For`, for whom
//! they ask: each appends the address it saw, so the client is the rightmost one that is not
//! itself such a proxy. What stands left of it anybody may have written. From everybody else the
//! header means nothing.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use poem::Request;
use poem::http::{HeaderMap, HeaderValue};
use poem::web::RemoteAddr;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Who shares an allowance: an IPv4 address, or the /64 that one IPv6 customer has to choose
/// addresses from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(IpAddr);

impl std::fmt::Display for Network {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(formatter),
            IpAddr::V6(address) => write!(formatter, "{address}/64"),
        }
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from(address.to_bits() >> 64 << 64).into(),
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// Proxies that are believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Arc<[Block]>);

impl TrustedProxies {
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|block| block.contains(address))
    }

    /// The network of whoever sent a request; `None` when it did not come over the internet
    /// protocol.
    pub fn client(&self, request: &Request) -> Option<Network> {
        let RemoteAddr(remote) = request.remote_addr();
        let remote = remote.as_socket_addr()?.ip();
        Some(self.client_behind(remote, request.headers()))
    }

    fn client_behind(&self, remote: IpAddr, headers: &HeaderMap) -> Network {
        let mut client = remote.to_canonical();
        // Bytes, because what a client wrote may be no text, on the line that a proxy went on with.
        let lines: Vec<&[u8]> = headers
            .get_all(FORWARDED_FOR)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect();
        let mut hops = lines
            .iter()
            .rev()
            .flat_map(|line| line.rsplit(|byte| *byte == b','));
        while self.trusts(client) {
            match hops.next().and_then(address_of) {
                Some(hop) => client = hop,
                None => break,
            }
        }
        client.into()
    }
}

/// An address, as proxies write it: alone, in brackets, with a port.
fn address_of(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?.trim();
    let alone = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']'));
    let address = alone.unwrap_or(hop).parse().ok();
    let with_port = || hop.parse::<SocketAddr>().ok().map(|hop| hop.ip());
    address
        .or_else(with_port)
        .map(|address: IpAddr| address.to_canonical())
}

impl FromStr for TrustedProxies {
    type Err = String;

    /// Addresses and CIDR blocks, separated by commas.
    fn from_str(text: &str) -> Result<Self, String> {
        let blocks = text
            .split(',')
            .map(str::trim)
            .filter(|block| !block.is_empty());
        blocks
            .map(Block::from_str)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug)]
struct Block {
    first: IpAddr,
    bits: u8,
}

impl Block {
    fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let differ = first.to_bits() ^ address.to_bits();
                differ.leading_zeros() >= self.bits.into()
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let differ = first.to_bits() ^ address.to_bits();
                differ.leading_zeros() >= self.bits.into()
            }
            _ => false,
        }
    }
}

impl FromStr for Block {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("`{text}` is neither an address nor a block like 10.0.0.0/8");
        let (first, bits) = match text.split_once('/') {
            Some((first, bits)) => (first, Some(bits)),
            None => (text, None),
        };
        let first: IpAddr = first.parse().map_err(|_| fault())?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().map_err(|_| fault())?,
            None => most,
        };
        if bits > most {
            return Err(fault());
        }
        Ok(Self { first, bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The client of a request from `remote`, with these lines of the header.
    fn client(trusted: &str, remote: &str, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        let trusted: TrustedProxies = trusted.parse().unwrap();
        let client = trusted.client_behind(remote.parse().unwrap(), &headers);
        client.to_string()
    }

    #[test]
    fn the_header_of_a_stranger_means_nothing() {
        let lines = &["198.51.100.7"];
        assert_eq!(client("", "203.0.113.1", lines), "203.0.113.1");
        assert_eq!(client("10.0.0.0/8", "203.0.113.1", lines), "203.0.113.1");
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_is_no_proxy() {
        let of = |lines: &[&str]| client("10.0.0.0/8, 2001:db8:1::/48", "10.0.0.1", lines);
        assert_eq!(of(&["203.0.113.9"]), "203.0.113.9");
        assert_eq!(of(&["1.1.1.1, 203.0.113.9 , 10.9.9.9"]), "203.0.113.9");
        assert_eq!(
            of(&["1.1.1.1", "203.0.113.9,10.9.9.9", "10.1.1.1"]),
            "203.0.113.9"
        );
        assert_eq!(of(&["1.1.1.1, 2001:db8:1::5"]), "1.1.1.1");
        assert_eq!(of(&["203.0.113.9:4711"]), "203.0.113.9");
        assert_eq!(of(&["[2001:db8:7::9]:4711"]), "2001:db8:7::/64");
        assert_eq!(of(&["[2001:db8:7::9]"]), "2001:db8:7::/64");
        assert_eq!(of(&["::ffff:203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn what_no_proxy_wrote_is_where_it_ends() {
        let of = |lines: &[&str]| client("10.0.0.0/8", "10.0.0.1", lines);
        assert_eq!(of(&[]), "10.0.0.1");
        assert_eq!(of(&[""]), "10.0.0.1");
        assert_eq!(of(&["unknown"]), "10.0.0.1");
        assert_eq!(of(&["1.1.1.1, nonsense, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(of(&["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
    }

    #[test]
    fn a_mapped_address_is_the_one_it_stands_for() {
        let of = |remote: &str| client("10.0.0.0/8", remote, &["203.0.113.9"]);
        assert_eq!(of("::ffff:10.0.0.1"), "203.0.113.9");
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
    }

    #[test]
    fn addresses_of_one_customer_are_one_network() {
        let network = |text: &str| Network::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:0:0:9"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }

    #[test]
    fn a_list_of_proxies_is_read_whole_or_not_at_all() {
        for good in [
            "",
            "10.0.0.1",
            "10.0.0.0/8,::1,fd00::/8 , 0.0.0.0/0",
            "::/0",
        ] {
            assert!(good.parse::<TrustedProxies>().is_ok(), "{good}");
        }
        for bad in [
            "proxy",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "::/129",
            "10.0.0/8",
        ] {
            assert!(bad.parse::<TrustedProxies>().is_err(), "{bad}");
        }
        let everybody: TrustedProxies = "0.0.0.0/0".parse().unwrap();
        assert!(everybody.trusts("203.0.113.9".parse().unwrap()));
        assert!(!everybody.trusts("2001:db8::1".parse().unwrap()));
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;
    use crate::fuzz::fuzz;

    #[test]
    fn nothing_that_a_client_writes_makes_it_somebody_else() {
        fuzz!(|source| {
            let proxies: TrustedProxies = "10.0.0.0/8".parse().unwrap();
            let proxy = IpAddr::from([10, 0, 0, 1]);
            let client = IpAddr::from([203, 0, 113, source.byte()]);
            let hops = [
                "10.0.0.2",
                "1.1.1.1",
                "::ffff:10.0.0.3",
                "[::1]:80",
                ",",
                "unknown",
            ];
            let mut written = source.text(&hops).into_bytes();
            let mut headers = HeaderMap::new();
            // What no server lets in a header.
            written.retain(|byte| *byte >= b' ' && *byte != 0x7f);
            if source.flag() {
                let line = HeaderValue::from_bytes(&written).unwrap();
                headers.append(FORWARDED_FOR, line);
                written.clear();
            } else {
                written.extend_from_slice(b", ");
            }
            written.extend_from_slice(client.to_string().as_bytes());
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(&written).unwrap());
            assert_eq!(proxies.client_behind(proxy, &headers), client.into());
            assert_eq!(proxies.client_behind(client, &headers), client.into());
        });
    }
}
