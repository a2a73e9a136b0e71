//! Who a request comes from when it came through a proxy. Only a proxy that is trusted by configuration may say so:
//! anybody can write an `X-Forwarded-For`.
//!
//! The address found here is what limits and the log go by. Whether a client is on this machine is decided elsewhere
//! ([`crate::access`]) and never by it.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

/// The proxies in front of this server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trusted(Vec<IpNet>);

/// One address or network (`10.0.0.0/8`) as it stands in the configuration.
///
/// # Errors
/// It is neither.
pub(crate) fn parse(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    network.ok_or_else(|| format!("{text:?} is neither an IP address nor a network such as 10.0.0.0/8"))
}

impl Trusted {
    pub(crate) fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// The client's address: the peer's; if that is a trusted proxy, what it says, and so on from proxy to proxy. What
    /// stands left of the first address that is not trusted was written by the client and says nothing.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let fields = headers.get_all("x-forwarded-for").iter();
        let fields: Vec<&str> = fields.map(|field| field.to_str().unwrap_or_default()).collect();
        for said in fields.iter().rev().flat_map(|field| field.rsplit(',')) {
            let (true, Some(next)) = (self.contains(client), address(said.trim())) else { break };
            client = next;
        }
        client
    }

    /// Whether what the other end of a connection says of its own client counts.
    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        self.contains(peer.to_canonical())
    }

    fn contains(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&ip))
    }
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))?;
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_about_its_own_client() {
        let trusted =
            Trusted::new(["127.0.0.1", "10.0.0.0/8", "2001:db8:1::/48"].map(|text| parse(text).unwrap()).into());
        for (peer, fields, client) in [
            ("192.0.2.9", &["203.0.113.7"][..], "192.0.2.9"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            ("::ffff:127.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            ("127.0.0.1", &["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
            ("127.0.0.1", &["1.1.1.1", "203.0.113.7"], "203.0.113.7"),
            ("127.0.0.1", &["203.0.113.7, 10.1.2.3"], "203.0.113.7"),
            ("127.0.0.1", &["203.0.113.7,10.1.2.3", "10.3.2.1"], "203.0.113.7"),
            ("127.0.0.1", &["10.1.2.3"], "10.1.2.3"),
            ("127.0.0.1", &["nonsense"], "127.0.0.1"),
            ("127.0.0.1", &["203.0.113.7, nonsense"], "127.0.0.1"),
            ("127.0.0.1", &["203.0.113.7, "], "127.0.0.1"),
            ("127.0.0.1", &["203.0.113.7:4711"], "203.0.113.7"),
            ("2001:db8:1::1", &["[2001:db8:2::7]:4711"], "2001:db8:2::7"),
            ("2001:db8:1::1", &["[2001:db8:2::7]"], "2001:db8:2::7"),
            ("2001:db8:2::1", &["2001:db8:2::7"], "2001:db8:2::1"),
        ] {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append("x-forwarded-for", HeaderValue::from_static(field));
            }
            let found = trusted.client(peer.parse().unwrap(), &headers);
            assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{peer} {fields:?}");
        }
    }

    #[test]
    fn what_is_no_address_and_no_network_is_refused() {
        for text in ["", "proxy", "10.0.0.0/33", "10.0.0", "10.0.0.1:80", "::1/129"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
