//! Lists of networks in settings.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// A list of networks, given as addresses or in CIDR notation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl FromStr for Networks {
    type Err = String;

    /// Parses a list such as `127.0.0.1,10.0.0.0/8,fd00::/8`. An empty text is an empty list.
    fn from_str(text: &str) -> Result<Networks, String> {
        if text.trim().is_empty() {
            return Ok(Networks::default());
        }
        let network = |part: &str| {
            let part = part.trim();
            let address = part.parse().map(|address: IpAddr| IpNet::from(address.to_canonical()));
            address
                .or_else(|_| part.parse::<IpNet>())
                .map_err(|_| format!("{part:?} is no address, nor a network such as 10.0.0.0/8"))
        };
        text.split(',').map(network).collect::<Result<_, _>>().map(Networks)
    }
}

impl Networks {
    /// Whether the address is in one of them. One that is mapped into IPv6 counts as what it is.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_or_named() {
        assert_eq!("".parse(), Ok(Networks::default()));
        for wrong in ["x", "10.0.0.0/33", "10.0.0.1,", "10.0.0.0/8 10.1.1.1", "host.example"] {
            assert!(wrong.parse::<Networks>().is_err(), "{wrong}");
        }
    }
}
