//! Where a webhook may be sent: to the public internet, and to the networks of `WEBHOOK_ALLOW`.
//!
//! The URL is checked when it is set and again at each delivery, and the addresses that a name has
//! where they are connected to: in the resolver of the client. So a name whose addresses change
//! between two look-ups gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use url::{Host, Url};

use crate::ground::networks::Networks;

/// The longest URL, in characters.
pub const MOST_CHARACTERS: usize = 2_000;

/// Networks of IPv4 that are not the public internet
/// (<https://www.iana.org/assignments/iana-ipv4-special-registry/>, and multicast).
const SPECIAL_V4: [(Ipv4Addr, u8); 19] = [
    // "This network", and private, shared, loopback and link-local ones: the last has the metadata
    // services of clouds.
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    // Protocols, documentation, the sink of reverse look-ups, relays and benchmarks.
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 31, 196, 0), 24),
    (Ipv4Addr::new(192, 52, 193, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 175, 48, 0), 24),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Multicast, reserved, broadcast.
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
    // The address that some clouds answer at beside the link-local one.
    (Ipv4Addr::new(168, 63, 129, 16), 32),
];

/// All of the public internet of IPv6, but for [`SPECIAL_V6`]: mapped and compatible addresses,
/// NAT64, unique local, link-local and multicast ones are outside.
const PUBLIC_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Networks in there that are not public
/// (<https://www.iana.org/assignments/iana-ipv6-special-registry/>): protocols with Teredo and
/// ORCHID, documentation, 6to4, which has an IPv4 address inside, and the sink of reverse look-ups.
const SPECIAL_V6: [(Ipv6Addr, u8); 5] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Why a webhook can't have a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAllowed(pub String);

/// Whether anybody on the internet could have this address.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => !SPECIAL_V4.iter().any(|(first, bits)| {
            Ipv4Net::new(*first, *bits).is_ok_and(|net| net.contains(&address))
        }),
        IpAddr::V6(address) => {
            let is_in = |(first, bits): &(Ipv6Addr, u8)| {
                Ipv6Net::new(*first, *bits).is_ok_and(|net| net.contains(&address))
            };
            is_in(&PUBLIC_V6) && !SPECIAL_V6.iter().any(is_in)
        }
    }
}

/// Which addresses may be connected to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    allowed: Networks,
}

impl Reach {
    /// The public internet, and these networks.
    pub fn with(allowed: Networks) -> Reach {
        Reach { allowed }
    }

    /// Whether an address may be connected to. Without TLS only one that was allowed may.
    pub fn admits(&self, address: IpAddr, encrypted: bool) -> bool {
        self.allowed.contain(address) || (encrypted && is_public(address))
    }

    /// Reads the URL of a webhook. A name is not looked up here.
    ///
    /// # Errors
    /// It is no URL, is too long, has another scheme, a user or a fragment, or names an address
    /// that may not be connected to.
    pub fn read(&self, text: &str) -> Result<Url, NotAllowed> {
        let refuse = |why: String| Err(NotAllowed(why));
        if text.chars().count() > MOST_CHARACTERS {
            return refuse(format!("must have {MOST_CHARACTERS} characters at most"));
        }
        let Ok(url) = Url::parse(text) else {
            return refuse("must be a URL such as https://example.com/hook".to_owned());
        };
        let encrypted = match url.scheme() {
            "https" => true,
            // What a name leads to is looked at when it is connected to.
            "http" if self.allowed != Networks::default() => false,
            _ => return refuse("must begin with https://".to_owned()),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("must have no user and no password; deliveries are signed".to_owned());
        }
        if url.fragment().is_some() {
            return refuse("must have no fragment: it would not be sent".to_owned());
        }
        if url.port() == Some(0) {
            return refuse("must not have the port 0".to_owned());
        }
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) => None,
            None => return refuse("must name a host".to_owned()),
        };
        match literal {
            Some(address) if !self.admits(address, encrypted) => refuse(format!(
                "must lead to the public internet{}; {address} does not, and WEBHOOK_ALLOW does not \
                 name it",
                if encrypted { "" } else { " by https" }
            )),
            _ => Ok(url),
        }
    }
}

#[cfg(test)]
mod tests;
