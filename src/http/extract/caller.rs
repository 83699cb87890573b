//! Who sends a request.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use futures_util::future::{Ready, ready};
use paperclip::actix::OperationModifier;
use paperclip::v2::schema::Apiv2Schema;

use crate::access::Caller;
use crate::ground::networks::Networks;
use crate::http::AppState;
use crate::http::error::ApiError;

/// The name of the caller, for keys; empty on an instance that requires no token.
pub fn name(request: &HttpRequest) -> String {
    let caller = request.extensions().get::<Caller>().and_then(Caller::user_id);
    caller.map_or_else(String::new, of_user)
}

/// The name of this user as a caller.
pub fn of_user(user: i64) -> String {
    format!("user:{user}")
}

/// The user whose token the request brings, if it brings a valid one.
pub fn user(request: &HttpRequest) -> Option<i64> {
    request.extensions().get::<Caller>()?.user_id()
}

/// Gives a handler the address of its client.
pub struct Client(HttpRequest);

impl Client {
    /// The client's address. For IPv6 it is the first address of the /64, so that a client that has
    /// the whole network counts as one.
    pub fn address(&self, state: &AppState) -> Option<IpAddr> {
        address(&self.0, state.common.rates.trusted_proxies()).map(network)
    }
}

impl FromRequest for Client {
    type Error = ApiError;
    type Future = Ready<Result<Client, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Client(request.clone())))
    }
}

// It is not a parameter in the OpenAPI document.
impl Apiv2Schema for Client {}
impl OperationModifier for Client {}

/// The address that a request comes from. A trusted proxy names its client in the last element of
/// `X-Forwarded-For`, and that client may be a trusted proxy as well. Elements to the left of the
/// first untrusted address can be forged by anybody, and so can the whole header if the peer is
/// untrusted.
pub fn address(request: &HttpRequest, trusted: &Networks) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip();
    let lines = request.headers().get_all("x-forwarded-for").map(|value| value.as_bytes());
    Some(behind(peer, lines, trusted))
}

fn behind<'a>(peer: IpAddr, lines: impl Iterator<Item = &'a [u8]>, trusted: &Networks) -> IpAddr {
    let mut address = peer.to_canonical();
    if !trusted.contain(address) {
        return address;
    }
    let lines: Vec<&[u8]> = lines.collect();
    let elements = lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
    for element in elements {
        let Some(before) = read(element) else { break };
        address = before;
        if !trusted.contain(address) {
            break;
        }
    }
    address
}

/// Reads an address, which some proxies write with a port or in brackets.
fn read(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address =
        bare.parse().or_else(|_| text.parse().map(|with_port: SocketAddr| with_port.ip()));
    address.ok().map(|address| address.to_canonical())
}

/// The unit in which addresses are counted. A client with one IPv6 address usually has all of its
/// /64 (RFC 6177), so a /64 counts as one.
pub fn household(address: IpAddr) -> String {
    match network(address) {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{address}/64"),
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, lines: &[&str], trusted: &str) -> String {
        let lines = lines.iter().map(|line| line.as_bytes());
        behind(peer.parse().unwrap(), lines, &trusted.parse().unwrap()).to_string()
    }

    #[test]
    fn only_a_trusted_peer_is_believed() {
        assert_eq!(client("192.0.2.1", &["203.0.113.9"], ""), "192.0.2.1");
        assert_eq!(client("192.0.2.1", &["203.0.113.9"], "192.0.2.2"), "192.0.2.1");
        assert_eq!(client("192.0.2.1", &["203.0.113.9"], "192.0.2.1"), "203.0.113.9");
        assert_eq!(client("192.0.2.1", &[], "192.0.2.1"), "192.0.2.1");
        assert_eq!(client("::ffff:192.0.2.1", &["203.0.113.9"], "192.0.2.0/24"), "203.0.113.9");
    }

    #[test]
    fn the_list_is_walked_from_the_right_past_trusted_proxies() {
        let trusted = "192.0.2.0/24, 10.0.0.0/8,fd00::/8";
        for (lines, wanted) in [
            (&["203.0.113.9"] as &[&str], "203.0.113.9"),
            (&["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
            (&["198.51.100.1,203.0.113.9 , 10.1.2.3"], "203.0.113.9"),
            (&["198.51.100.1, 203.0.113.9", "10.1.2.3,fd00::1"], "203.0.113.9"),
            (&["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
            (&["198.51.100.1, unknown, 10.1.2.3"], "10.1.2.3"),
            (&["nonsense"], "192.0.2.1"),
            (&[""], "192.0.2.1"),
            (&["203.0.113.9:4711"], "203.0.113.9"),
            (&["[2001:db8::1]:4711"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["::ffff:203.0.113.9"], "203.0.113.9"),
        ] {
            assert_eq!(client("192.0.2.1", lines, trusted), wanted, "{lines:?}");
        }
    }

    #[test]
    fn an_address_of_ipv6_stands_for_its_network() {
        let of = |text: &str| household(text.parse().unwrap());
        assert_eq!(of("192.0.2.1"), "192.0.2.1");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(of("2001:db8:1:2::9"), of("2001:db8:1:2:3:4:5:6"));
        assert_ne!(of("2001:db8:1:3::9"), of("2001:db8:1:2::9"));
    }
}
