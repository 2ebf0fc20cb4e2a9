//! Addresses: which lie on the open internet, and which others the operator lets accounts reach.
//!
//! Written from IANA's registries of special-purpose addresses
//! ([IPv4](https://www.iana.org/assignments/iana-ipv4-special-registry/iana-ipv4-special-registry.xhtml),
//! [IPv6](https://www.iana.org/assignments/iana-ipv6-special-registry/iana-ipv6-special-registry.xhtml)) and, of IPv6,
//! from what is [unicast at all](https://www.iana.org/assignments/ipv6-address-space/ipv6-address-space.xhtml). Where a
//! registry calls a part of a special block reachable (anycast relays and the like), the block is refused whole: nobody
//! keeps backups there. `IpAddr::is_global` would say much the same, but is not stable.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

const PRIVATE: &str = "a private address";
const LOOPBACK: &str = "a loopback address";
const LINK_LOCAL: &str = "a link-local address";
const DOCUMENTATION: &str = "an address for documentation";
const BENCHMARK: &str = "an address for benchmarks";
const MULTICAST: &str = "a multicast address";
const RESERVED: &str = "a reserved address";
const UNSPECIFIED: &str = "an unspecified address";
const TRANSLATED: &str = "an address that stands for an IPv4 address";
const METADATA_OF_CLOUD: &str = "an address of a cloud's metadata service";

/// What is not the open internet, and what it is; the first that matches counts.
const SPECIAL: [(IpNet, &str); 29] = [
    (v4([0, 0, 0, 0], 8), UNSPECIFIED),
    (v4([10, 0, 0, 0], 8), PRIVATE),
    (v4([100, 64, 0, 0], 10), "an address shared behind a provider's NAT"),
    (v4([127, 0, 0, 0], 8), LOOPBACK),
    (v4([169, 254, 0, 0], 16), LINK_LOCAL),
    (v4([172, 16, 0, 0], 12), PRIVATE),
    (v4([192, 0, 0, 0], 24), RESERVED),
    (v4([192, 0, 2, 0], 24), DOCUMENTATION),
    (v4([192, 88, 99, 0], 24), "a 6to4 relay's address"),
    (v4([192, 168, 0, 0], 16), PRIVATE),
    (v4([198, 18, 0, 0], 15), BENCHMARK),
    (v4([198, 51, 100, 0], 24), DOCUMENTATION),
    (v4([203, 0, 113, 0], 24), DOCUMENTATION),
    (v4([224, 0, 0, 0], 4), MULTICAST),
    (v4([240, 0, 0, 0], 4), RESERVED),
    (host(Ipv6Addr::UNSPECIFIED), UNSPECIFIED),
    (host(Ipv6Addr::LOCALHOST), LOOPBACK),
    (v6([0, 0, 0], 96), TRANSLATED),
    (NAT64, TRANSLATED),
    (v6([0x64, 0xff9b, 1], 48), TRANSLATED),
    (v6([0xfc00, 0, 0], 7), PRIVATE),
    (v6([0xfe80, 0, 0], 10), LINK_LOCAL),
    (v6([0xff00, 0, 0], 8), MULTICAST),
    (v6([0x2001, 0, 0], 32), "a Teredo address"),
    (v6([0x2001, 2, 0], 48), BENCHMARK),
    (v6([0x2001, 0, 0], 23), RESERVED),
    (v6([0x2001, 0xdb8, 0], 32), DOCUMENTATION),
    (SIX_TO_FOUR, TRANSLATED),
    (v6([0x3fff, 0, 0], 20), DOCUMENTATION),
];

/// [RFC 6052](https://www.rfc-editor.org/rfc/rfc6052#section-2.1).
const NAT64: IpNet = v6([0x64, 0xff9b, 0], 96);
/// [RFC 3056](https://www.rfc-editor.org/rfc/rfc3056#section-2).
const SIX_TO_FOUR: IpNet = v6([0x2002, 0, 0], 16);
/// All of IPv6 that is given out as unicast.
const UNICAST: IpNet = v6([0x2000, 0, 0], 3);

/// Whoever reaches these holds the machine's credentials, so no wider range ever allows them. Of AWS
/// ([instances](https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html),
/// [tasks](https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html),
/// [pods](https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html)), Google, Azure, Oracle, Alibaba.
const METADATA: [IpAddr; 9] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

const fn v4([a, b, c, d]: [u8; 4], length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length))
}

const fn v6([a, b, c]: [u16; 3], length: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), length))
}

const fn host(address: Ipv6Addr) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(address, 128))
}

/// What an address is that does not lie on the open internet, for people; `None` for one that does.
pub fn special(address: IpAddr) -> Option<&'static str> {
    let address = address.to_canonical();
    if METADATA.contains(&address) {
        return Some(METADATA_OF_CLOUD);
    }
    let listed = SPECIAL.iter().find(|(network, _)| network.contains(&address)).map(|(_, what)| *what);
    listed.or((address.is_ipv6() && !UNICAST.contains(&address)).then_some(RESERVED))
}

/// The IPv4 address that a translator on the way would make of it.
fn embedded(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = address else { return None };
    let [_, high, low, .., before_last, last] = v6.segments();
    let joined = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    if NAT64.contains(&address) {
        return Some(joined(before_last, last));
    }
    SIX_TO_FOUR.contains(&address).then(|| joined(high, low))
}

/// Networks outside the open internet that accounts may have us connect to. The default is none.
///
/// As text: networks in CIDR form with commas between, or `none`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedNetworks(Vec<IpNet>);

impl AllowedNetworks {
    /// Loopback and private networks: for a machine whose users are its owners.
    pub fn loopback_and_private() -> Self {
        let of_owner = |(network, what): &(IpNet, &str)| [LOOPBACK, PRIVATE].contains(what).then_some(*network);
        Self(SPECIAL.iter().filter_map(of_owner).collect())
    }

    /// Whether none is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes `address` if it lies on the open internet or in one of these networks, and answers it as it is to be connected
    /// to. The error tells what it is.
    ///
    /// An IPv4-mapped address is judged, and answered, as the IPv4 address that it is. One that a translator turns into an
    /// IPv4 address (NAT64, 6to4) is allowed only if that one is too. A cloud's metadata service is allowed only by itself,
    /// as `169.254.169.254/32`.
    pub fn check(&self, address: IpAddr) -> Result<IpAddr, &'static str> {
        let address = address.to_canonical();
        let Some(what) = special(address) else { return Ok(address) };
        let alone = METADATA.contains(&address);
        let allows = |network: &IpNet| {
            network.contains(&address) && (!alone || network.prefix_len() == network.max_prefix_len())
        };
        if !self.0.iter().any(allows) {
            return Err(what);
        }
        embedded(address).map_or(Ok(address), |behind| self.check(behind).map(|_| address))
    }
}

/// A list of networks that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadNetworks {
    /// One of them is no network.
    #[error("{0:?} is no network; write it as 10.0.0.0/8 or fd00::/8, with commas between several, or none for none")]
    NoNetwork(String),
    /// One of them has bits set beyond its length: it may not be what was meant.
    #[error("{given} is an address with a length; write the network as {network}")]
    HostBits {
        /// As it was written.
        given: IpNet,
        /// The network that it lies in.
        network: IpNet,
    },
}

impl FromStr for AllowedNetworks {
    type Err = BadNetworks;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim() == "none" {
            return Ok(Self::default());
        }
        text.split(',').map(|one| network(one.trim())).collect::<Result<_, _>>().map(Self)
    }
}

/// One network, or an address, which is a network of its own.
fn network(text: &str) -> Result<IpNet, BadNetworks> {
    let no_network = || BadNetworks::NoNetwork(text.to_owned());
    // std reads no leading zero, which some take for octal.
    let address = text.split('/').next().unwrap_or_default().parse::<IpAddr>().map_err(|_| no_network())?;
    let given = match text.contains('/') {
        true => text.parse().map_err(|_| no_network())?,
        false => IpNet::from(address),
    };
    let network = given.trunc();
    if network == given { Ok(network) } else { Err(BadNetworks::HostBits { given, network }) }
}

impl fmt::Display for AllowedNetworks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        let networks: Vec<_> = self.0.iter().map(IpNet::to_string).collect();
        f.write_str(&networks.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn allowing(networks: &str) -> AllowedNetworks {
        networks.parse().unwrap()
    }

    #[test]
    fn what_is_not_the_open_internet_is_told() {
        let cases = [
            ("0.0.0.0", UNSPECIFIED),
            ("0.1.2.3", UNSPECIFIED),
            ("10.0.0.0", PRIVATE),
            ("10.255.255.255", PRIVATE),
            ("100.64.0.0", "an address shared behind a provider's NAT"),
            ("100.127.255.255", "an address shared behind a provider's NAT"),
            ("100.100.100.200", METADATA_OF_CLOUD),
            ("127.0.0.1", LOOPBACK),
            ("127.255.255.254", LOOPBACK),
            ("168.63.129.16", METADATA_OF_CLOUD),
            ("169.254.0.1", LINK_LOCAL),
            ("169.254.169.254", METADATA_OF_CLOUD),
            ("169.254.170.2", METADATA_OF_CLOUD),
            ("172.16.0.1", PRIVATE),
            ("172.31.255.255", PRIVATE),
            ("192.0.0.1", RESERVED),
            ("192.0.0.192", METADATA_OF_CLOUD),
            ("192.0.2.1", DOCUMENTATION),
            ("192.88.99.1", "a 6to4 relay's address"),
            ("192.168.1.1", PRIVATE),
            ("198.18.0.1", BENCHMARK),
            ("198.19.255.255", BENCHMARK),
            ("198.51.100.1", DOCUMENTATION),
            ("203.0.113.1", DOCUMENTATION),
            ("224.0.0.1", MULTICAST),
            ("239.255.255.255", MULTICAST),
            ("240.0.0.1", RESERVED),
            ("255.255.255.255", RESERVED),
            ("::", UNSPECIFIED),
            ("::1", LOOPBACK),
            ("::127.0.0.1", TRANSLATED),
            ("::8.8.8.8", TRANSLATED),
            ("::ffff:127.0.0.1", LOOPBACK),
            ("::ffff:10.0.0.1", PRIVATE),
            ("::ffff:169.254.169.254", METADATA_OF_CLOUD),
            ("::ffff:0:127.0.0.1", RESERVED),
            ("64:ff9b::7f00:1", TRANSLATED),
            ("64:ff9b::8.8.8.8", TRANSLATED),
            ("64:ff9b:1::1", TRANSLATED),
            ("100::1", RESERVED),
            ("200::1", RESERVED),
            ("2001::1", "a Teredo address"),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "a Teredo address"),
            ("2001:2::1", BENCHMARK),
            ("2001:10::1", RESERVED),
            ("2001:1ff:ffff::", RESERVED),
            ("2001:db8::1", DOCUMENTATION),
            ("2002:7f00:1::", TRANSLATED),
            ("2002:808:808::1", TRANSLATED),
            ("3fff::1", DOCUMENTATION),
            ("4000::1", RESERVED),
            ("5f00::1", RESERVED),
            ("fc00::1", PRIVATE),
            ("fd00:ec2::253", PRIVATE),
            ("fd00:ec2::254", METADATA_OF_CLOUD),
            ("fe80::1", LINK_LOCAL),
            ("febf::1", LINK_LOCAL),
            ("fec0::1", RESERVED),
            ("ff02::1", MULTICAST),
            ("ff0e::1", MULTICAST),
        ];
        let none = AllowedNetworks::default();
        for (text, what) in cases {
            assert_eq!(special(address(text)), Some(what), "{text}");
            assert_eq!(none.check(address(text)), Err(what), "{text}");
        }
    }

    #[test]
    fn the_open_internet_is_taken_up_to_its_edges() {
        let cases = [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2000::1",
            "2001:200::1",
            "2001:db7:ffff::1",
            "2001:db9::1",
            "2003::1",
            "2606:4700::1111",
            "2a01:4f8::1",
            "3ffe:ffff::1",
        ];
        for text in cases {
            assert_eq!(AllowedNetworks::default().check(address(text)), Ok(address(text)), "{text}");
        }
        let mapped = AllowedNetworks::default().check(address("::ffff:8.8.8.8"));
        assert_eq!(mapped, Ok(address("8.8.8.8")), "what is connected to is what was judged");
    }

    #[test]
    fn the_operator_allows_networks_and_nothing_beside_them() {
        let some = allowing("10.1.0.0/16, fd12::/32,192.168.1.5");
        for text in ["10.1.2.3", "::ffff:10.1.2.3", "fd12:0:1::1", "192.168.1.5", "8.8.8.8"] {
            assert!(some.check(address(text)).is_ok(), "{text}");
        }
        for text in ["10.2.0.1", "192.168.1.6", "127.0.0.1", "fd13::1", "::10.1.2.3", "64:ff9b::10.1.2.3"] {
            assert!(some.check(address(text)).is_err(), "{text}");
        }
        let own = AllowedNetworks::loopback_and_private();
        assert_eq!(own.to_string(), "10.0.0.0/8,127.0.0.0/8,172.16.0.0/12,192.168.0.0/16,::1/128,fc00::/7");
        for text in ["169.254.1.1", "100.64.0.1", "fe80::1", "0.0.0.0", "::"] {
            assert!(own.check(address(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn a_translated_address_needs_what_is_behind_it_too() {
        let nat64 = allowing("64:ff9b::/96");
        assert_eq!(nat64.check(address("64:ff9b::8.8.8.8")), Ok(address("64:ff9b::8.8.8.8")));
        assert_eq!(nat64.check(address("64:ff9b::127.0.0.1")), Err(LOOPBACK));
        assert_eq!(nat64.check(address("64:ff9b::169.254.169.254")), Err(METADATA_OF_CLOUD));
        let both = allowing("2002::/16,10.0.0.0/8");
        assert!(both.check(address("2002:a00:1::1")).is_ok());
        assert_eq!(both.check(address("2002:c0a8:1::1")), Err(PRIVATE));
        // All of IPv6 is not all of IPv4.
        assert_eq!(allowing("::/0").check(address("::ffff:127.0.0.1")), Err(LOOPBACK));
    }

    #[test]
    fn metadata_is_allowed_only_by_itself() {
        let wide = allowing("0.0.0.0/0,::/0");
        for metadata in METADATA {
            assert_eq!(wide.check(metadata), Err(METADATA_OF_CLOUD), "{metadata}");
            assert_eq!(AllowedNetworks::loopback_and_private().check(metadata), Err(METADATA_OF_CLOUD));
            assert_eq!(allowing(&metadata.to_string()).check(metadata), Ok(metadata));
        }
    }

    #[test]
    fn lists_are_read_and_written() {
        for text in ["none", "10.0.0.0/8", "10.0.0.0/8,fd00::/8", "0.0.0.0/0"] {
            assert_eq!(allowing(text).to_string(), text);
        }
        assert_eq!(allowing(" none ").to_string(), "none");
        assert_eq!(allowing("10.0.0.1").to_string(), "10.0.0.1/32");
        for text in
            ["", "x", "10.0.0.0/33", "10.0.0.0/8,", "10.0.0.0/8;fd00::/8", "10/8", "none,10.0.0.0/8", "010.0.0.0/8"]
        {
            let error = text.parse::<AllowedNetworks>().unwrap_err();
            assert!(matches!(error, BadNetworks::NoNetwork(_)), "{text:?}: {error}");
        }
        let bits = "10.0.0.1/8".parse::<AllowedNetworks>().unwrap_err();
        assert_eq!(bits.to_string(), "10.0.0.1/8 is an address with a length; write the network as 10.0.0.0/8");
    }
}
