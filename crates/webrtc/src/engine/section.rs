//! A publisher's section: what negotiation said of it, and what the engine counted.

use std::time::{Duration, SystemTime};

use str0m::media::{KeyframeRequestKind, Mid, Rid};
use str0m::stats::MediaIngressStats;
use whipstitch_media::{Kind, time};

use super::layers::Layers;

/// Counters that only the engine knows.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct EngineCounters {
    pub(crate) nacks: u64,
    pub(crate) plis: u64,
    pub(crate) firs: u64,
    pub(crate) rtt: Option<Duration>,
    /// The share of packets that our last report called lost.
    pub(crate) loss: Option<f32>,
    /// The interarrival jitter that it told.
    pub(crate) jitter: Option<Duration>,
}

/// A publisher's section as the engine knows it.
pub(super) struct Section {
    pub(super) kind: Kind,
    pub(super) mid: Mid,
    pub(super) pt: u8,
    pub(super) rtx_pt: Option<u8>,
    /// The SSRC it announced, and that of its retransmissions.
    pub(super) announced: Option<(u32, Option<u32>)>,
    /// It expects transport-wide feedback.
    pub(super) transport_cc: bool,
    /// It resends what it is asked for.
    pub(super) nack: bool,
    pub(super) keyframe_request: Option<KeyframeRequestKind>,
    /// Packets are told apart by payload type because negotiation named neither SSRC nor MID extension.
    pub(super) by_payload_type: bool,
    /// The layers of a simulcast publisher; without simulcast every SSRC is the same sender's.
    pub(super) layers: Option<Layers>,
    /// The last sender report handed on, to hand on each but once.
    pub(super) reported: Option<SystemTime>,
    /// One entry for each layer, one without simulcast.
    pub(super) counters: Vec<(Option<Rid>, EngineCounters)>,
    pub(super) clock_rate: u32,
}

impl Section {
    /// Takes over what the engine counted.
    pub(super) fn count(&mut self, stats: &MediaIngressStats) {
        let at = self.counters.iter().position(|(rid, _)| *rid == stats.rid).unwrap_or_else(|| {
            self.counters.push((stats.rid, EngineCounters::default()));
            self.counters.len() - 1
        });
        let counters = &mut self.counters[at].1;
        // The engine forgets what it counted with a sender that fell silent; nothing here goes back.
        *counters = EngineCounters {
            // Those of the engine are not sent.
            nacks: 0,
            plis: stats.plis.max(counters.plis),
            firs: stats.firs.max(counters.firs),
            rtt: stats.rtt.or(counters.rtt),
            loss: stats.loss,
            jitter: Some(time::duration(stats.jitter.into(), self.clock_rate)),
        };
    }
}
