//! The numbers of the media plane: per worker, and summed up over all of them.

use whipstitch_stream::CloseReason;

use super::families::Families;
use crate::media::{Counters, Measured, Totals, WorkerReport};

/// What the workers told last, by their numbers, and what must not go back all the same.
#[derive(Default)]
pub(super) struct Last {
    workers: Vec<Option<WorkerReport>>,
    /// Lost packets in and out. One that comes late is taken back from a session's count; the sum shown stands still then.
    lost: [u64; 2],
}

impl Last {
    /// Takes what the workers told now, and tells it on.
    pub(super) fn tell(&mut self, measured: Measured, families: &mut Families) {
        let counts = measured.counts;
        families.gauge("whipstitch_streams", "Streams that can be watched.", [(vec![], counts.streams as f64)]);
        families.gauge(
            "whipstitch_publishers",
            "Publisher slots taken, also by those still connecting.",
            [(vec![], counts.publishers as f64)],
        );
        families.gauge(
            "whipstitch_subscribers",
            "Subscriber slots taken, also by those still connecting.",
            [(vec![], counts.subscribers as f64)],
        );
        families.gauge(
            "whipstitch_half_open_sessions",
            "Sessions that are not through their handshake.",
            [(vec![], counts.half_open as f64)],
        );
        let mut up = vec![false; measured.all];
        self.workers.resize(measured.all, None);
        for report in measured.workers {
            // Two scrapes at once may end in the other order than they began.
            let at = report.worker;
            if let (Some(up), Some(last)) = (up.get_mut(at), self.workers.get_mut(at)) {
                *up = true;
                if last.as_ref().is_none_or(|last| last.uptime <= report.uptime) {
                    *last = Some(report);
                }
            }
        }
        self.tell_of_sessions(families);
        self.tell_of_media(families);
        self.tell_of_workers(&up, families);
    }

    fn totals(&self) -> [(&'static str, Totals); 2] {
        let (mut publishers, mut subscribers) = (Totals::default(), Totals::default());
        for worker in self.workers.iter().flatten() {
            publishers += &worker.publishers;
            subscribers += &worker.subscribers;
        }
        [("publisher", publishers), ("subscriber", subscribers)]
    }

    fn tell_of_sessions(&self, families: &mut Families) {
        let totals = self.totals();
        let roles = || totals.iter().map(|(role, totals)| (vec![("role", *role)], totals));
        families.gauge(
            "whipstitch_sessions",
            "Sessions on the workers.",
            roles().map(|(labels, totals)| (labels, totals.sessions as f64)),
        );
        families.counter(
            "whipstitch_sessions_started_total",
            "Sessions that ever were.",
            roles().map(|(labels, totals)| (labels, totals.begun as f64)),
        );
        families.counter(
            "whipstitch_rejected_datagrams_total",
            "Datagrams for sessions that were nothing to them: not authentic, replayed, malformed, or of no use.",
            roles().map(|(labels, totals)| (labels, totals.counters.rejected as f64)),
        );
        let closed = totals.iter().flat_map(|(role, totals)| {
            CloseReason::WORDS.into_iter().map(move |reason| {
                let count = totals.closed.get(reason).copied().unwrap_or_default();
                (vec![("role", *role), ("reason", reason)], count as f64)
            })
        });
        families.counter("whipstitch_sessions_closed_total", "Sessions that ended, by why they did.", closed);
        families.histogram(
            "whipstitch_ice_establish_seconds",
            "From the answer to the first address that passed a check.",
            roles().map(|(labels, totals)| (labels, &totals.ice)),
        );
        families.histogram(
            "whipstitch_dtls_establish_seconds",
            "From there to the end of the DTLS handshake.",
            roles().map(|(labels, totals)| (labels, &totals.dtls)),
        );
        families.histogram(
            "whipstitch_first_media_seconds",
            "From there to the first packet of media.",
            roles().map(|(labels, totals)| (labels, &totals.first_media)),
        );
    }

    fn tell_of_media(&mut self, families: &mut Families) {
        let [(_, publishers), (_, subscribers)] = self.totals();
        let (taken, sent) = (publishers.counters, subscribers.counters);
        let lost = [taken.lost, sent.lost];
        for (last, lost) in self.lost.iter_mut().zip(lost) {
            *last = lost.max(*last);
        }
        let mut both = |name: &str, help: &str, values: [u64; 2]| {
            let samples = ["in", "out"].into_iter().zip(values);
            families.counter(name, help, samples.map(|(way, value)| (vec![("direction", way)], value as f64)));
        };
        let media = |count: fn(&Counters) -> u64| [count(&taken), count(&sent)];
        // Requests travel against the media: a publisher's are those we sent.
        let requests = |count: fn(&Counters) -> u64| [count(&sent), count(&taken)];
        both("whipstitch_rtp_packets_total", "RTP packets, repairs included.", media(|counters| counters.packets));
        both("whipstitch_rtp_bytes_total", "Their bytes, as SRTP.", media(|counters| counters.bytes));
        both("whipstitch_rtp_lost_packets_total", "Packets that never came.", self.lost);
        both("whipstitch_rtx_packets_total", "Packets that came or went as RTX.", media(|counters| counters.rtx));
        both(
            "whipstitch_nacks_total",
            "NACKs from subscribers (in) and to publishers (out).",
            requests(|counters| counters.nacks),
        );
        both("whipstitch_plis_total", "PLIs, likewise.", requests(|counters| counters.plis));
        both("whipstitch_firs_total", "FIRs, likewise.", requests(|counters| counters.firs));
        families.counter(
            "whipstitch_resent_packets_total",
            "Packets sent again to subscribers, with RTX or without.",
            [(vec![], sent.resent as f64)],
        );
        self.tell_of_drops(&sent, families);
    }

    fn tell_of_drops(&self, sent: &Counters, families: &mut Families) {
        let (mut drops, mut slow) = (whipstitch_stream::stats::Drops::default(), 0);
        for worker in self.workers.iter().flatten() {
            drops += worker.drops;
            slow += worker.slow;
        }
        let reasons = [
            ("overflow", drops.overflow),
            ("foreign", drops.foreign),
            ("broken", drops.broken),
            ("misplaced", drops.misplaced),
            ("duplicate", drops.duplicate),
            ("slow", slow),
            ("unsealed", sent.unsealed),
            ("skipped", sent.skipped),
        ];
        families.counter(
            "whipstitch_dropped_packets_total",
            "RTP packets that were dropped, by why they were.",
            reasons.map(|(reason, count)| (vec![("reason", reason)], count as f64)),
        );
    }

    fn tell_of_workers(&self, up: &[bool], families: &mut Families) {
        let names: Vec<String> = (0..up.len()).map(|worker| worker.to_string()).collect();
        families.gauge(
            "whipstitch_worker_up",
            "1 if the worker answered this scrape; with 0 its numbers are those of an earlier one.",
            names.iter().zip(up).map(|(name, up)| (vec![("worker", name.as_str())], f64::from(u8::from(*up)))),
        );
        let known = || names.iter().zip(&self.workers).filter_map(|(name, last)| Some((name.as_str(), last.as_ref()?)));
        families.gauge(
            "whipstitch_worker_sessions",
            "Sessions on the worker.",
            known().flat_map(|(name, last)| {
                [("publisher", &last.publishers), ("subscriber", &last.subscribers)]
                    .map(|(role, totals)| (vec![("worker", name), ("role", role)], totals.sessions as f64))
            }),
        );
        families.gauge(
            "whipstitch_worker_tcp_connections",
            "TCP connections for media on the worker, those of no session yet included.",
            known().map(|(worker, last)| (vec![("worker", worker)], last.connections as f64)),
        );
        let mut each = |name: &str, help: &str, value: fn(&WorkerReport) -> f64| {
            let samples = known().map(|(worker, last)| (vec![("worker", worker)], value(last)));
            families.counter(name, help, samples);
        };
        each("whipstitch_worker_busy_seconds_total", "Time the worker worked; its rate is its load.", |last| {
            last.busy.as_secs_f64()
        });
        each("whipstitch_worker_turns_total", "Turns: wake-ups, and goes without waiting.", |last| last.turns as f64);
        each("whipstitch_worker_stray_datagrams_total", "Datagrams that no session wanted.", |last| last.strays as f64);
        each(
            "whipstitch_worker_refused_datagrams_total",
            "Datagrams the kernel refused for their destination.",
            |last| last.refused as f64,
        );
        each("whipstitch_worker_unsent_datagrams_total", "Datagrams the kernel had no room for.", |last| {
            last.dropped as f64
        });
        each(
            "whipstitch_worker_mailbox_full_total",
            "What others had for the worker while its mailbox was full.",
            |last| last.mailbox_full as f64,
        );
        each("whipstitch_worker_panics_total", "Sessions that broke an invariant and were dropped.", |last| {
            last.panics as f64
        });
        let mut traffic = |name: &str, help: &str, values: fn(&WorkerReport) -> [u64; 2]| {
            let samples = known().flat_map(|(worker, last)| {
                let ways = ["in", "out"].into_iter().zip(values(last));
                ways.map(move |(way, value)| (vec![("worker", worker), ("direction", way)], value as f64))
            });
            families.counter(name, help, samples);
        };
        traffic(
            "whipstitch_worker_datagrams_total",
            "Datagrams through the worker's sockets, frames over TCP included.",
            |last| [last.received.datagrams, last.sent.datagrams],
        );
        traffic("whipstitch_worker_bytes_total", "Their payload bytes.", |last| [last.received.bytes, last.sent.bytes]);
        traffic("whipstitch_worker_batches_total", "Receive calls and batches sent that moved them.", |last| {
            [last.received.calls, last.sent.calls]
        });
    }
}
