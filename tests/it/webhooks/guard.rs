//! What the text of a URL says: nothing is sent to where only we can reach. Names and
//! connections: `send.rs`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use marketplace_sync::webhooks::Guard;
use marketplace_sync::webhooks::guard::{GuardError, is_public};
use proptest::prelude::*;

const NOT_PUBLIC: &[&str] = &[
    // This machine.
    "localhost",
    "LOCALHOST",
    "localhost.",
    "localhost..",
    "2130706433..",
    "any.localhost",
    "any.localhost.",
    "loc%61lhost",
    "ⓛocalhost",
    "127.0.0.1",
    "127.0.0.1.",
    "127.255.255.254",
    // Other spellings of it.
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0X7F.1",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "127%2e0%2e0%2e1",
    "%31%32%37.0.0.1",
    "127。0。0。1",
    "①②⑦.⓪.⓪.①",
    "１２７.0.0.1",
    "0",
    "0.0.0.0",
    "0x",
    "0.1.2.3",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::ffff:127.0.0.1]",
    "[::FFFF:7F00:1]",
    "[0:0:0:0:0:ffff:7f00:1]",
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::]",
    "[2001::80ff:fffe]",
    // Its network.
    "10.0.0.1",
    "10.255.255.255",
    "012.0.0.1",
    "0xa.1",
    "167772161",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "169.254.0.1",
    "[::ffff:10.0.0.1]",
    "[::ffff:192.168.0.1]",
    "[64:ff9b::10.0.0.1]",
    "[64:ff9b::c0a8:1]",
    "[64:ff9b:1::1]",
    "[2002:a00:1::1]",
    "[2002:c0a8:1::1]",
    "[2001:0:53aa:64c:0:0:f5ff:fffe]",
    "[fc00::1]",
    "[fd12:3456::1]",
    "[fe80::1]",
    "[febf::1]",
    "[fec0::1]",
    // Metadata services.
    "169.254.169.254",
    "0xa9fea9fe",
    "2852039166",
    "0251.0376.0251.0376",
    "169.254.43518",
    "169.254.170.2",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "[fd00:ec2::254]",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    // Nobody's, or everybody's.
    "192.0.2.1",
    "198.51.100.1",
    "203.0.113.1",
    "198.18.0.1",
    "198.19.255.255",
    "192.88.99.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "4294967295",
    "[2001:db8::1]",
    "[3fff:fff::1]",
    "[2001:2::1]",
    "[2001:10::1]",
    "[100::1]",
    "[5f00::1]",
    "[ff02::1]",
    "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]",
];

///
#[test]
fn every_spelling_of_an_address_that_is_not_public_is_refused() {
    for host in NOT_PUBLIC {
        for url in [
            format!("http://{host}/"),
            format!("https://{host}:8443/webhook?a=b#c"),
            format!("HTTP://{host}"),
        ] {
            let verdict = Guard::new(false).check_url(&url);
            assert_eq!(
                verdict.map(String::from),
                Err(GuardError::NotPublic),
                "{url}"
            );
            assert!(
                Guard::new(true).check_url(&url).is_ok(),
                "{url} when allowed"
            );
        }
    }
}

#[test]
fn what_programs_read_differently_is_refused_even_where_private_targets_are_allowed() {
    for (url, expected) in [
        ("", GuardError::NotHttp),
        ("not a url", GuardError::NotHttp),
        ("ftp://x", GuardError::NotHttp),
        ("file:///etc/passwd", GuardError::NotHttp),
        ("gopher://8.8.8.8/", GuardError::NotHttp),
        ("//8.8.8.8/", GuardError::NotHttp),
        ("http:8.8.8.8", GuardError::NotHttp),
        ("http:/8.8.8.8/", GuardError::NotHttp),
        ("http:///8.8.8.8/", GuardError::NotHttp),
        ("http://", GuardError::NotHttp),
        ("http://?", GuardError::NotHttp),
        ("http://:80/", GuardError::NotHttp),
        (" http://8.8.8.8/", GuardError::NotHttp),
        ("http://8.8.8.8/\n", GuardError::NotHttp),
        ("ht\ttp://8.8.8.8/", GuardError::NotHttp),
        ("http://8.8.8.8\\@127.0.0.1/", GuardError::NotHttp),
        ("http://8.8.8.8%00.example.com/", GuardError::NotHttp),
        ("http://256.0.0.1/", GuardError::NotHttp),
        ("http://exam\"ple.com/", GuardError::NotHttp),
        ("http://1.2.3.4.5/", GuardError::NotHttp),
        ("http://[::1%25eth0]/", GuardError::NotHttp),
        ("http://[::1/", GuardError::NotHttp),
        ("http://8.8.8.8:99999/", GuardError::NotHttp),
        ("http://user@8.8.8.8/", GuardError::UserInfo),
        ("http://user:password@8.8.8.8/", GuardError::UserInfo),
        ("http://:password@8.8.8.8/", GuardError::UserInfo),
        ("http://@8.8.8.8/", GuardError::UserInfo),
        ("http://8.8.8.8@127.0.0.1/", GuardError::UserInfo),
        ("http://127.0.0.1:80@8.8.8.8/", GuardError::UserInfo),
        (
            "http://8.8.8.8#@127.0.0.1@8.8.8.8/\u{0}",
            GuardError::NotHttp,
        ),
    ] {
        for allows_private in [false, true] {
            let verdict = Guard::new(allows_private).check_url(url);
            assert_eq!(verdict.map(String::from), Err(expected), "{url:?}");
        }
    }
    let url = |length: usize| format!("http://h/{}", "ü".repeat(length - 9));
    assert!(Guard::new(false).check_url(&url(2048)).is_ok());
    assert_eq!(
        Guard::new(false).check_url(&url(2049)),
        Err(GuardError::TooLong)
    );
}

#[test]
fn the_public_internet_is_allowed_up_to_its_edges() {
    for host in [
        "example.com",
        "example.com.",
        "bücher.example",
        "localhost.example.com",
        "127.0.0.1.example.com",
        "8.8.8.8",
        "134744072",
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.15",
        "168.63.129.17",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.0.3.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "203.0.114.0",
        "223.255.255.255",
        "[2606:4700:4700::1111]",
        "[2001:200::1]",
        "[2001:4860:4860::8888]",
        "[2001:db9::1]",
        "[2003::1]",
        "[3fff:1000::1]",
        "[::ffff:8.8.8.8]",
        "[64:ff9b::8.8.8.8]",
    ] {
        for url in [
            format!("http://{host}"),
            format!("https://{host}:444/a?b=http://c@localhost/"),
        ] {
            assert!(Guard::new(false).check_url(&url).is_ok(), "{url}");
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), rest in "[0-9a-fx%.:@\\[\\]/?#\\\\ ⓪①。]{0,24}") {
        for text in [text.clone(), format!("http://{text}"), format!("http://{rest}")] {
            for allows_private in [false, true] {
                Guard::new(allows_private).check_url(&text).ok();
            }
        }
    }

    #[test]
    fn an_ipv4_address_is_judged_alike_in_every_spelling(bits in any::<u32>()) {
        let address = Ipv4Addr::from_bits(bits);
        let [a, b, c, d] = address.octets();
        let expected = is_public(IpAddr::V4(address));
        for host in [
            format!("{address}"),
            format!("{address}."),
            format!("{bits}"),
            format!("{bits:#x}"),
            format!("0{bits:o}"),
            format!("{a}.{}", bits & 0xff_ffff),
            format!("{a:#x}.{b:#x}.{}", bits & 0xffff),
            format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
            format!("[::ffff:{address}]"),
            format!("[64:ff9b::{address}]"),
        ] {
            let verdict = Guard::new(false).check_url(&format!("http://{host}/"));
            prop_assert_eq!(verdict.is_ok(), expected, "{}", host);
        }
    }

    /// What the standard library knows, it agrees with.
    #[test]
    fn what_is_known_to_be_special_is_not_public(bits in any::<u32>(), bits6 in any::<u128>()) {
        let v4 = Ipv4Addr::from_bits(bits);
        let special = v4.is_private() || v4.is_loopback() || v4.is_link_local()
            || v4.is_broadcast() || v4.is_documentation() || v4.is_multicast();
        prop_assert!(!(special && is_public(v4.into())), "{}", v4);
        let v6 = Ipv6Addr::from_bits(bits6);
        let special = v6.is_multicast() || v6.is_unique_local() || v6.is_unicast_link_local();
        prop_assert!(!(special && is_public(v6.into())), "{}", v6);
    }
}
