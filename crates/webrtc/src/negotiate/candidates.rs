//! Our candidates as text, for answers and fragments (RFC 8839 5.1, RFC 8445 5.1.2).

use std::net::{IpAddr, SocketAddr};

use sdp_types::{Candidate, CandidateAddress, CandidateType};

/// Host candidates at these addresses: all over UDP, then all over TCP, to which a client connects (RFC 6544, passive).
/// Of either the most preferred come first: IPv4 before IPv6, else in the order given. FFmpeg tries the first one over
/// UDP only, GStreamer the first one whatever it is. The foundation is a number for each address and transport, so it
/// never holds the letters `udp`, by which FFmpeg finds the transport.
pub(super) fn host_candidates(addresses: &[SocketAddr]) -> Vec<Candidate> {
    let mut ordered: Vec<SocketAddr> = addresses.to_vec();
    ordered.sort_by_key(|address| address.ip().to_canonical().is_ipv6());
    let mut foundations: Vec<(Transport, IpAddr)> = Vec::new();
    let mut candidates = Vec::with_capacity(2 * ordered.len());
    for transport in [Transport::Udp, Transport::TcpPassive] {
        for (index, address) in ordered.iter().enumerate() {
            let base = (transport, address.ip().to_canonical());
            let foundation = foundations.iter().position(|known| *known == base).unwrap_or_else(|| {
                foundations.push(base);
                foundations.len() - 1
            });
            candidates.push(transport.candidate(foundation + 1, index, *address));
        }
    }
    candidates
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Udp,
    TcpPassive,
}

impl Transport {
    fn candidate(self, foundation: usize, index: usize, address: SocketAddr) -> Candidate {
        let (name, extensions) = match self {
            Transport::Udp => ("udp", Vec::new()),
            Transport::TcpPassive => ("tcp", vec![("tcptype".to_owned(), "passive".to_owned())]),
        };
        let ip = CandidateAddress::IpAddr(address.ip().to_canonical());
        let priority = u64::from(self.priority(index));
        let candidate = Candidate::new(foundation, 1, name, priority, ip, address.port(), CandidateType::Host);
        Candidate { extensions, ..candidate }
    }

    /// RFC 8445 5.1.2.1 for component 1, with a local preference unlike every other's.
    fn priority(self, index: usize) -> u32 {
        let below = |most: u16| u32::from(most.saturating_sub(u16::try_from(index).unwrap_or(u16::MAX)));
        let (kind, local) = match self {
            Transport::Udp => (126, below(u16::MAX)),
            // RFC 6544 4.2: a host's type preference is lower than UDP's (browsers have 90), the direction preference of
            // a passive candidate is 4, the other one has 13 bits.
            Transport::TcpPassive => (90, (4 << 13) | below((1 << 13) - 1)),
        };
        (kind << 24) | (local << 8) | (256 - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn udp_comes_first_then_ipv4_and_priorities_fall() {
        let addresses =
            ["[2001:db8::1]:8189", "192.0.2.1:8189", "203.0.113.9:8189", "192.0.2.1:9000"].map(|a| a.parse().unwrap());
        let lines: Vec<String> = host_candidates(&addresses).iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "1 1 udp 2130706431 192.0.2.1 8189 typ host",
                "2 1 udp 2130706175 203.0.113.9 8189 typ host",
                "1 1 udp 2130705919 192.0.2.1 9000 typ host",
                "3 1 udp 2130705663 2001:db8::1 8189 typ host",
                "4 1 tcp 1520435199 192.0.2.1 8189 typ host tcptype passive",
                "5 1 tcp 1520434943 203.0.113.9 8189 typ host tcptype passive",
                "4 1 tcp 1520434687 192.0.2.1 9000 typ host tcptype passive",
                "6 1 tcp 1520434431 2001:db8::1 8189 typ host tcptype passive",
            ]
        );
    }

    #[test]
    fn a_mapped_address_is_written_as_the_ipv4_address_it_is() {
        let candidates = host_candidates(&["[::ffff:192.0.2.1]:8189".parse().unwrap()]);
        assert_eq!(candidates[0].to_string(), "1 1 udp 2130706431 192.0.2.1 8189 typ host");
    }
}
