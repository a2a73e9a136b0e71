//! What the datagram plane counted, for `GET /metrics` of the admin listener. `docs/metrics.md` names each; a test compares
//! the two.

use prometheus::proto::MetricFamily;
use whipstitch_proxy::Role;
use whipstitch_proxy::relay::{Counters, Dropped, EndReason, SessionState};

use crate::http::metrics::families::Families;

/// The families.
pub(super) fn families(counters: &Counters, sessions: &[SessionState]) -> Vec<MetricFamily> {
    let mut families = Families::default();
    let of = |role: Role| sessions.iter().filter(|session| session.role == role && session.client.is_some()).count();
    families.gauge(
        "whipstitch_proxy_sessions",
        "Sessions whose client got through.",
        [("publisher", Role::Publisher), ("viewer", Role::Viewer)]
            .map(|(word, role)| (vec![("role", word)], of(role) as f64)),
    );
    let waiting = sessions.iter().filter(|session| session.client.is_none()).count();
    families.gauge(
        "whipstitch_proxy_waiting_sessions",
        "Sessions whose client has not come yet.",
        [(vec![], waiting as f64)],
    );
    let ways = [("origin", counters.to_origin), ("client", counters.to_client)];
    families.counter(
        "whipstitch_proxy_datagrams_total",
        "Datagrams passed on, by whom to.",
        ways.map(|(to, traffic)| (vec![("to", to)], traffic.datagrams as f64)),
    );
    families.counter(
        "whipstitch_proxy_bytes_total",
        "Bytes in them.",
        ways.map(|(to, traffic)| (vec![("to", to)], traffic.bytes as f64)),
    );
    families.counter(
        "whipstitch_proxy_datagrams_dropped_total",
        "Datagrams that went no further, by why.",
        Dropped::ALL.map(|why| (vec![("reason", why.as_str())], counters.dropped(why) as f64)),
    );
    families.counter(
        "whipstitch_proxy_sessions_ended_total",
        "Sessions that ended, by why.",
        EndReason::ALL.map(|why| (vec![("reason", why.as_str())], counters.ended(why) as f64)),
    );
    for (name, help, value) in [
        ("whipstitch_proxy_sessions_begun_total", "Sessions whose client got through.", counters.begun),
        (
            "whipstitch_proxy_addresses_moved_total",
            "Addresses that media was turned to, the first included.",
            counters.moved,
        ),
        (
            "whipstitch_proxy_session_lookups_total",
            "Sessions looked up because of a client's request.",
            counters.lookups,
        ),
        ("whipstitch_proxy_handed_over_total", "Datagrams handed from one worker to another.", counters.handed_over),
        ("whipstitch_proxy_origin_sockets_opened_total", "Sockets to origins opened.", counters.upstreams_opened),
        ("whipstitch_proxy_origin_sockets_failed_total", "Sockets to origins that failed.", counters.upstreams_failed),
        ("whipstitch_proxy_worker_panics_total", "Turns of a worker that were given up.", counters.panics),
    ] {
        families.counter(name, help, [(vec![], value as f64)]);
    }
    families.into_inner()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prometheus::TextEncoder;

    use super::*;

    #[test]
    fn every_metric_is_documented_and_every_documented_one_is_there() {
        let page = TextEncoder::new().encode_to_string(&families(&Counters::default(), &[])).unwrap();
        let exposed: BTreeSet<String> =
            page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(str::to_owned).collect();
        let guide = include_str!("../../../../docs/metrics.md");
        let section = guide.split_once("\n## Datagrams\n").unwrap().1.split("\n## ").next().unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| `whipstitch_")).map(|line| {
            let cells: Vec<_> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            format!("{} {}", cells[1], cells[2])
        });
        assert_eq!(exposed, rows.collect());
    }
}
