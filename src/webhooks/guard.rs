//! Keeps what we send away from where only we can reach (SSRF): this machine, its network, the
//! metadata service of its cloud.
//!
//! A URL is judged when an endpoint is registered and again before each send
//! ([`Guard::check_url`]); a name is judged by the addresses that are really connected to,
//! because the guard is the resolver of the only client that sends ([`http_client`]). That
//! client follows no redirects and knows no proxy.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url};
use tokio::time::timeout;

use crate::tls;

/// Characters of a URL.
pub const MAX_URL: usize = 2048;
/// How long a registration waits for a name.
const LOOKUP_TIME: Duration = Duration::from_secs(2);

/// Why nothing is sent to a URL. Never repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// More than [`MAX_URL`] characters.
    #[error("Expected at most {MAX_URL} characters")]
    TooLong,
    /// Not a URL, or one of another scheme.
    #[error("Expected an absolute http or https URL")]
    NotHttp,
    /// A name or a password in front of the host.
    #[error("A user name or a password is not allowed in the URL")]
    UserInfo,
    /// It leads to where only we can reach.
    #[error("The host is not on the public internet")]
    NotPublic,
}

/// Reads a URL that events may be sent to, as far as its text says.
pub fn parse_target(text: &str) -> Result<Url, GuardError> {
    if text.chars().count() > MAX_URL {
        return Err(GuardError::TooLong);
    }
    // Programs differ in what they make of these.
    let is_odd = |letter: char| letter.is_whitespace() || letter.is_control() || letter == '\\';
    if text.contains(is_odd) {
        return Err(GuardError::NotHttp);
    }
    let (scheme, rest) = text.split_once("://").ok_or(GuardError::NotHttp)?;
    let is_http = |known: &&str| scheme.eq_ignore_ascii_case(known);
    if !["http", "https"].iter().any(is_http) {
        return Err(GuardError::NotHttp);
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() {
        return Err(GuardError::NotHttp);
    }
    if authority.contains('@') {
        return Err(GuardError::UserInfo);
    }
    let url = Url::parse(text).map_err(|_| GuardError::NotHttp)?;
    // The parser takes names that no request can be sent to.
    let is_sent_to = |letter: char| letter.is_ascii_alphanumeric() || "-._[]:".contains(letter);
    if url
        .host_str()
        .is_some_and(|host| host.chars().all(is_sent_to))
    {
        Ok(url)
    } else {
        Err(GuardError::NotHttp)
    }
}

/// Says where events may be sent to.
#[derive(Clone)]
pub struct Guard {
    allows_private: bool,
    resolver: Arc<dyn Resolve>,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Guard")
            .field("allows_private", &self.allows_private)
            .finish_non_exhaustive()
    }
}

impl Guard {
    /// A guard over the system's resolver.
    pub fn new(allows_private: bool) -> Self {
        Self::over(allows_private, Arc::new(SystemResolver))
    }

    /// A guard over another resolver.
    pub fn over(allows_private: bool, resolver: Arc<dyn Resolve>) -> Self {
        Self {
            allows_private,
            resolver,
        }
    }

    /// Judges the text of a URL; the addresses of a name are judged by [`Guard::check_target`]
    /// and at each send.
    pub fn check_url(&self, text: &str) -> Result<Url, GuardError> {
        let url = parse_target(text)?;
        let host = url.host_str().ok_or(GuardError::NotHttp)?;
        let is_public = match literal(host) {
            Some(address) => is_public(address),
            None => !is_local_name(host),
        };
        if is_public || self.allows_private {
            Ok(url)
        } else {
            Err(GuardError::NotPublic)
        }
    }

    /// Judges a URL and, when it has a name, the addresses that the name has now. A name without
    /// any, or whose server is slow, passes: nothing is sent before it is judged again.
    pub async fn check_target(&self, text: &str) -> Result<Url, GuardError> {
        let url = self.check_url(text)?;
        let host = url.host_str().unwrap_or_default();
        if self.allows_private || literal(host).is_some() {
            return Ok(url);
        }
        let Ok(name) = host.parse::<Name>() else {
            return Err(GuardError::NotHttp);
        };
        let addresses = timeout(LOOKUP_TIME, self.resolver.resolve(name)).await;
        if let Ok(Ok(mut addresses)) = addresses
            && addresses.any(|address| !is_public(address.ip()))
        {
            return Err(GuardError::NotPublic);
        }
        Ok(url)
    }
}

impl Resolve for Guard {
    /// The addresses of a name, or none of them when one is not public.
    fn resolve(&self, name: Name) -> Resolving {
        let resolving = self.resolver.resolve(name);
        let allows_private = self.allows_private;
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = resolving.await?.collect();
            if !allows_private && !addresses.iter().all(|address| is_public(address.ip())) {
                return Err(GuardError::NotPublic.into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// What the operating system says.
#[derive(Debug)]
struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The port is that of the URL; this one is only asked for by the function.
            let addresses = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let addresses: Vec<SocketAddr> = addresses.collect();
            if addresses.is_empty() {
                return Err(io::Error::from(io::ErrorKind::NotFound).into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// The client of everything that is sent to an endpoint; make one a process.
///
/// It judges names; a URL with an address in it needs [`Guard::check_url`] before each send.
pub fn http_client(guard: &Guard, timeout: Duration) -> reqwest::Result<Client> {
    tls::install_provider();
    Client::builder()
        .timeout(timeout)
        .connect_timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .dns_resolver(Arc::new(guard.clone()))
        .user_agent(concat!("marketplace-sync/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// The address that a URL's host is, if it is one and not a name. The parser has made one form
/// of all spellings: decimal, octal, hexadecimal, shortened, percent-encoded, full-width.
fn literal(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(bracketed) => bracketed.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
        None => host.parse().ok().map(IpAddr::V4),
    }
}

/// Names of this machine, whatever a resolver says of them (RFC 6761), and what is no name but may
/// be taken for one.
fn is_local_name(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    name.is_empty() || host.contains("..") || name == "localhost" || name.ends_with(".localhost")
}

/// Whether an address is one of the public internet.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// Networks that are not of the public internet, and the bits that name them.
const NOT_PUBLIC: [([u8; 4], u32); 18] = [
    ([0, 0, 0, 0], 8),        // this network
    ([10, 0, 0, 0], 8),       // private
    ([100, 64, 0, 0], 10),    // carrier-grade NAT; Alibaba's metadata service
    ([127, 0, 0, 0], 8),      // loopback
    ([168, 63, 129, 16], 32), // Azure's wire server
    ([169, 254, 0, 0], 16),   // link-local; most metadata services
    ([172, 16, 0, 0], 12),    // private
    ([192, 0, 0, 0], 24),     // IETF protocols; Oracle's metadata service
    ([192, 0, 2, 0], 24),     // documentation
    ([192, 31, 196, 0], 24),  // AS112
    ([192, 88, 99, 0], 24),   // 6to4 relays
    ([192, 168, 0, 0], 16),   // private
    ([192, 175, 48, 0], 24),  // AS112
    ([198, 18, 0, 0], 15),    // benchmarks
    ([198, 51, 100, 0], 24),  // documentation
    ([203, 0, 113, 0], 24),   // documentation
    ([224, 0, 0, 0], 4),      // multicast
    ([240, 0, 0, 0], 4),      // reserved, broadcast
];

fn is_public_v4(address: Ipv4Addr) -> bool {
    let is_in = |&(network, length): &([u8; 4], u32)| {
        (address.to_bits() ^ u32::from_be_bytes(network)) >> (32 - length) == 0
    };
    !NOT_PUBLIC.iter().any(is_in)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(inner) = address.to_ipv4_mapped() {
        return is_public_v4(inner);
    }
    match address.segments() {
        // NAT64: the packet comes out as IPv4 elsewhere.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => is_public_v4(joined(high, low)),
        // IETF protocols (Teredo, benchmarks, ORCHID), documentation, 6to4.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // Global unicast: all that is assigned. Not loopback, unspecified, unique-local,
        // link-local, site-local, multicast, IPv4-compatible, translated or discarded.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

fn joined(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod fuzz {
    use super::*;
    use crate::fuzz::fuzz;

    /// The registries of special addresses (IANA), and what clouds use, as they are published.
    const SPECIAL_V4: &str = "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 168.63.129.16/32 \
        169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.31.196.0/24 192.88.99.0/24 \
        192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 \
        240.0.0.0/4";
    const SPECIAL_V6: &str = "::/128 ::1/128 ::/96 64:ff9b:1::/48 100::/64 2001::/23 \
        2001:db8::/32 2002::/16 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8";

    fn is_in<A, N>(networks: &str, address: A, bits: fn(A) -> N, shift: fn(N, u32) -> N) -> bool
    where
        A: std::str::FromStr<Err: std::fmt::Debug> + Copy,
        N: PartialEq,
    {
        networks.split_whitespace().any(|network| {
            let (start, length) = network.split_once('/').unwrap();
            let (start, length) = (start.parse().unwrap(), length.parse().unwrap());
            shift(bits(start), length) == shift(bits(address), length)
        })
    }

    /// Said once more, by the standard library and by the registries.
    fn is_global(address: IpAddr) -> bool {
        let v4 = |it: Ipv4Addr| {
            let cut = |bits: u32, length| bits.checked_shr(32 - length).unwrap_or(0);
            let is_known = it.is_private()
                || it.is_loopback()
                || it.is_link_local()
                || it.is_broadcast()
                || it.is_documentation()
                || it.is_multicast()
                || it.is_unspecified();
            !is_known && !is_in(SPECIAL_V4, it, Ipv4Addr::to_bits, cut)
        };
        let it = match address.to_canonical() {
            IpAddr::V4(address) => return v4(address),
            IpAddr::V6(address) => address,
        };
        let octets = it.octets();
        if octets.starts_with(&[0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0]) {
            return v4(Ipv4Addr::new(
                octets[12], octets[13], octets[14], octets[15],
            ));
        }
        let cut = |bits: u128, length| bits.checked_shr(128 - length).unwrap_or(0);
        let is_known = it.is_loopback()
            || it.is_unspecified()
            || it.is_multicast()
            || it.is_unique_local()
            || it.is_unicast_link_local();
        let is_assigned = octets[0] >> 5 == 1;
        is_assigned && !is_known && !is_in(SPECIAL_V6, it, Ipv6Addr::to_bits, cut)
    }

    /// Pieces of URLs, and what parsers differ about.
    const PIECES: [&str; 27] = [
        "http://",
        "https://",
        "ftp://",
        "127.0.0.1",
        "0x7f",
        ".1",
        "2130706433",
        "0177.0.0",
        "[::1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::a9fe:a9fe]",
        "localhost",
        "LOCALHOST.",
        "①27",
        "169.254.169.254",
        "%31",
        "example.com",
        "@",
        ":80",
        "/",
        "?",
        "#",
        "\\",
        "user:pw@",
        "8.8.8.8",
        "。",
        "\u{ad}",
    ];

    /// What the C library makes of a host: one to four numbers, decimal, octal or hexadecimal.
    fn inet_aton(host: &str) -> Option<Ipv4Addr> {
        let number = |text: &str| match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None if text.len() > 1 && text.starts_with('0') => u32::from_str_radix(text, 8).ok(),
            None => text.parse().ok(),
        };
        let parts: Option<Vec<u32>> = host.split('.').map(number).collect();
        let (last, first) = parts.as_ref()?.split_last()?;
        let mut bits = *last;
        for (index, part) in first.iter().enumerate() {
            let is_byte = index < 3 && *part < 256;
            bits |= is_byte.then(|| part << (24 - 8 * index))?;
        }
        let room = 32 - 8 * u32::try_from(first.len()).ok()?;
        (u64::from(*last) < 1 << room).then(|| Ipv4Addr::from_bits(bits))
    }

    #[test]
    fn an_address_is_public_where_the_registries_say_so() {
        let networks = format!("{SPECIAL_V4} {SPECIAL_V6} 2000::/3 ::ffff:0:0/96 64:ff9b::/96");
        let starts: Vec<IpAddr> = networks
            .split_whitespace()
            .map(|network| network.split_once('/').unwrap().0.parse().unwrap())
            .collect();
        fuzz!(|source| {
            // Anywhere, or next to where a network begins or, a bit further, ends.
            let offset = 1_u128
                .checked_shl(u32::from(source.byte() & 0x7f))
                .unwrap_or(0);
            let offset = offset
                .wrapping_add(u128::from(source.byte()))
                .wrapping_sub(2);
            let address = match (source.below(4), source.pick(&starts)) {
                (0, _) => IpAddr::from(source.bytes::<4>()),
                (1, _) => IpAddr::from(source.bytes::<16>()),
                (_, IpAddr::V4(start)) => {
                    let low = u32::try_from(offset & u128::from(u32::MAX)).unwrap();
                    Ipv4Addr::from_bits(start.to_bits().wrapping_add(low)).into()
                }
                (_, IpAddr::V6(start)) => {
                    Ipv6Addr::from_bits(start.to_bits().wrapping_add(offset)).into()
                }
            };
            assert_eq!(is_public(address), is_global(address), "{address}");
        });
    }

    #[test]
    fn no_url_that_passes_leads_to_where_only_we_can_reach() {
        fuzz!(|source| {
            let mut text = source.text(&PIECES);
            if source.flag() {
                text = format!("{}{text}", source.pick(&["http://", "HTTPS://"]));
            }
            let Ok(url) = Guard::new(false).check_url(&text) else {
                return;
            };
            assert!(["http", "https"].contains(&url.scheme()), "{text:?}");
            assert!(
                url.username().is_empty() && url.password().is_none(),
                "{text:?}"
            );
            let rest = text.split_once("://").unwrap().1;
            let given = rest.split(['/', '?', '#']).next().unwrap();
            let given = match given.rsplit_once(':') {
                Some((host, port)) if port.bytes().all(|it| it.is_ascii_digit()) => host,
                _ => given,
            };
            // As it was given, and as the client reads it.
            for host in [given, url.host_str().unwrap()] {
                let host = host.trim_matches(['[', ']']).trim_end_matches('.');
                let literal = host.parse().ok().or(inet_aton(host).map(IpAddr::V4));
                assert!(literal.is_none_or(is_global), "{text:?}: {host}");
                let name = host.to_lowercase();
                assert!(
                    name != "localhost" && !name.ends_with(".localhost"),
                    "{text:?}"
                );
            }
            // Another parser reads the same host out of what is sent to it.
            let uri: Result<poem::http::Uri, _> = url.as_str().parse();
            let Ok(uri) = uri else {
                panic!("nothing can be sent to {url} ({text:?})");
            };
            assert_eq!(uri.host(), url.host_str(), "{text:?}");
            assert_eq!(uri.port_u16(), url.port(), "{text:?}");
        });
    }
}
