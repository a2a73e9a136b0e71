//! `GET /metrics` of a proxy. `docs/metrics.md` names each; a test compares the two.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::TextEncoder;
use whipstitch_proxy::state::State;

use super::Admin;
use crate::http::metrics::families::Families;
use crate::http::metrics::tell_of_process;

impl Admin {
    /// The text; `None` if it cannot be written.
    pub(super) fn metrics(&self) -> Option<String> {
        let mut families = Families::default();
        tell(&self.0.state, &mut families);
        let denials = self.0.denials.lock().unwrap_or_else(PoisonError::into_inner).clone();
        families.counter(
            "whipstitch_proxy_admin_denied_total",
            "Requests to the admin listener that were denied, by why.",
            denials.iter().map(|(why, count)| (vec![("reason", *why)], *count as f64)),
        );
        families.counter(
            "whipstitch_proxy_malformed_registrations_total",
            "Registrations of origins that could not be read.",
            [(vec![], self.0.malformations.load(Ordering::Relaxed) as f64)],
        );
        tell_of_process(self.0.started, &mut families);
        let mut families = families.into_inner();
        families.extend((self.0.more)());
        families.retain(|family| !family.get_metric().is_empty());
        TextEncoder::new().encode_to_string(&families).ok()
    }
}

fn tell(state: &State, families: &mut Families) {
    families.gauge(
        "whipstitch_proxy_origins",
        "Origins, by how they stand.",
        state.origins_by_standing().iter().map(|(it, count)| (vec![("state", it.word())], *count as f64)),
    );
    let up = f64::from(u8::from(!state.is_away()));
    let gauges = [
        ("whipstitch_proxy_registry_up", "1 while the registry answers.", up),
        ("whipstitch_proxy_kept_sessions", "Sessions whose records this proxy looks after.", state.sessions() as f64),
        ("whipstitch_proxy_streams", "Streams whose origin this proxy knows.", state.streams_known() as f64),
    ];
    for (name, help, value) in gauges {
        families.gauge(name, help, [(vec![], value)]);
    }
    let (counters, read) = (state.counters(), |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64);
    let lookups = [("found", &counters.found), ("unknown", &counters.unknown)];
    families.counter(
        "whipstitch_proxy_lookups_total",
        "Pairs of ufrags that were looked up in the registry, by what came of it.",
        lookups.map(|(result, counter)| (vec![("result", result)], read(counter))),
    );
    let counts = [
        (
            "whipstitch_proxy_registry_errors_total",
            "Calls to the registry that it did not answer.",
            read(&counters.away),
        ),
        (
            "whipstitch_proxy_registry_refusals_total",
            "Calls that the registry refused, for want of room or the like.",
            read(&counters.refused),
        ),
        (
            "whipstitch_proxy_registry_poisoned_total",
            "Values in the registry that no proxy wrote, passed over.",
            state.poisoned() as f64,
        ),
        ("whipstitch_proxy_heartbeats_total", "Heartbeats of origins that were taken.", read(&counters.heartbeats)),
        (
            "whipstitch_proxy_claim_conflicts_total",
            "Streams that an origin named while another has them.",
            read(&counters.conflicts),
        ),
        (
            "whipstitch_proxy_reclaimed_streams_total",
            "Streams that went to another origin as theirs was gone.",
            read(&counters.reclaimed),
        ),
        (
            "whipstitch_proxy_events_dropped_total",
            "What the datagram plane told and found no room.",
            read(&counters.dropped),
        ),
        ("whipstitch_proxy_no_origin_total", "Requests that found no origin.", read(&counters.nowhere)),
    ];
    for (name, help, value) in counts {
        families.counter(name, help, [(vec![], value)]);
    }
}
