//! Our candidates as text, for answers and fragments (RFC 8839 5.1, RFC 8445 5.1.2).

use std::net::{IpAddr, SocketAddr};

use sdp_types::{Candidate, CandidateAddress, CandidateType};

/// Host candidates over UDP, the most preferred first: IPv4 before IPv6 (FFmpeg tries the first one only), else in the
/// order given. The foundation is a number per address, so it never holds the letters `udp`, by which FFmpeg finds the
/// transport.
pub(super) fn host_candidates(addresses: &[SocketAddr]) -> Vec<Candidate> {
    let mut ordered: Vec<SocketAddr> = addresses.to_vec();
    ordered.sort_by_key(|address| address.ip().to_canonical().is_ipv6());
    let mut foundations: Vec<IpAddr> = Vec::new();
    let mut candidates = Vec::with_capacity(ordered.len());
    for (index, address) in ordered.iter().enumerate() {
        let ip = address.ip().to_canonical();
        let foundation = foundations.iter().position(|known| *known == ip).unwrap_or_else(|| {
            foundations.push(ip);
            foundations.len() - 1
        });
        candidates.push(Candidate::new(
            foundation + 1,
            1,
            "udp",
            u64::from(priority(index)),
            CandidateAddress::IpAddr(ip),
            address.port(),
            CandidateType::Host,
        ));
    }
    candidates
}

/// RFC 8445 5.1.2.1: type preference 126 for host candidates, a local preference unlike every other's, component 1.
fn priority(index: usize) -> u32 {
    let local = u16::MAX.saturating_sub(u16::try_from(index).unwrap_or(u16::MAX));
    (126 << 24) | (u32::from(local) << 8) | (256 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_comes_first_and_priorities_fall() {
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
            ]
        );
    }

    #[test]
    fn a_mapped_address_is_written_as_the_ipv4_address_it_is() {
        let candidates = host_candidates(&["[::ffff:192.0.2.1]:8189".parse().unwrap()]);
        assert_eq!(candidates[0].to_string(), "1 1 udp 2130706431 192.0.2.1 8189 typ host");
    }
}
