//! What fuzz targets and tests share: anything goes in, and what must hold is asserted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use whipstitch_media::time::Ntp;
use whipstitch_media::{Codec, Extensions, Packet};
use whipstitch_net::Path;
use whipstitch_net::batch::Batch;
use whipstitch_net::outbox::Room;
use whipstitch_stream::history::Limits;
use whipstitch_stream::{Burst, Clock, Forwarded, History, PerKind};

use super::{Egress, ExtensionIds, Format, Keys, Profile, TrackConfig};

/// SSRCs of the tracks and of the viewer, easy to guess.
const AUDIO: u32 = 1;
const VIDEO: u32 = 2;
const VIDEO_RTX: u32 = 3;
const VIEWER: u32 = 4;

/// Packets of each track that can be asked for, numbered from 0.
const SENT: u64 = 12;

/// Bytes that may be resent of each track at once: the budget's floor, which is all that so few packets allow.
const BUDGET: usize = 7_500;

/// Gives a viewer's bytes to an egress that has sent a dozen packets of each track. The first byte says what the rest is: a
/// datagram as it came, or a compound that the viewer sealed, to be handled twice, a second apart. Says whether it was
/// accepted.
///
/// # Panics
/// If what was rejected had an effect, if the answer exceeds the budget, or if the viewer cannot open it.
pub fn rtcp(data: &[u8]) -> bool {
    let Some((mode, data)) = data.split_first() else { return false };
    let profile = Profile::ALL[usize::from(mode >> 1) % Profile::ALL.len()];
    let material: Vec<u8> = (0..profile.material_len()).map(|byte| byte as u8).collect();
    let keys = |client| Keys::split(profile, &material, client).expect("as long as the profile needs");
    let (mut sealers, mut opener) = keys(true).into_contexts();
    let (now, history, mut egress) = sender(keys(false));
    let path = Path::to(([192, 0, 2, 1], 5000).into());
    let mut viewer = sealers.sealer(VIEWER, 0, 0).expect("the first of its SSRC");

    let mut accepted = false;
    for later in [Duration::ZERO, Duration::from_secs(1)] {
        let mut datagram = [data, &[0; 20]].concat();
        let len = if mode & 1 == 0 { viewer.seal_rtcp(&mut datagram, data.len()).unwrap_or(0) } else { data.len() };
        let (before, mut batch) = (egress.stats(), Batch::new());
        let result = egress.handle_rtcp(now + later, path, &mut datagram[..len], &history, &mut batch);
        if result.is_err() {
            assert!(batch.is_empty());
            assert_eq!(egress.stats().counters.rejected, before.counters.rejected + 1);
        }
        accepted |= result.is_ok();
        let mut bytes = 0;
        for (_, resent) in batch.datagrams() {
            bytes += resent.len();
            opener.open(&mut resent.to_vec()).expect("authentic, and not sent within this test before");
        }
        assert!(bytes <= 2 * BUDGET, "{bytes} bytes resent");
        // What was resent without RTX the viewer would take for a replay the next time.
        opener = keys(true).into_contexts().1;
    }
    accepted
}

/// An egress that has sent [`SENT`] packets of each track.
fn sender(keys: Keys) -> (Instant, History, Egress) {
    let now = Instant::now();
    let [audio, video] = [(Codec::Opus, None), (Codec::Vp8, Some(97))].map(|(codec, rtx_pt)| Format {
        codec,
        pt: 96,
        rtx_pt,
        nack: true,
    });
    let track = |format: Format, ssrc, rtx_ssrc: Option<u32>| TrackConfig {
        kind: format.codec.kind(),
        ssrc,
        rtx_ssrc,
        repeats: rtx_ssrc.is_none(),
        extensions: ExtensionIds::default(),
    };
    let tracks = vec![track(audio, AUDIO, None), track(video, VIDEO, Some(VIDEO_RTX))];
    let mut egress = Egress::new(now, keys, "exercise".into(), tracks, |bytes| bytes.fill(0)).expect("lawful tracks");
    for format in [audio, video] {
        egress.send_as(format.codec.kind(), format).expect("lawful numbers");
    }
    let mut history = History::new(Limits::default());
    let packets: Vec<_> = (0..2 * SENT)
        .map(|n| {
            let packet = Packet {
                seq: 1000 + n / 2,
                time: 5000 + n,
                marker: false,
                payload: Arc::from(&[n as u8; 60][..]),
                extensions: Extensions::default(),
                arrived: now,
            };
            Forwarded { codec: if n % 2 == 0 { Codec::Opus } else { Codec::Vp8 }, packet, start: n < 2 }
        })
        .collect();
    packets.iter().for_each(|forwarded| history.insert(forwarded));
    let clock = Some(Clock { ntp: Ntp(1 << 40), time: 5000, at: now });
    let burst = Burst { packets, clocks: PerKind { audio: clock, video: clock } };
    egress.deliver(now, Path::to(([192, 0, 2, 1], 5000).into()), &burst, Room::UNBOUNDED, &mut Batch::new());
    (now, history, egress)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nack_and_a_pli_are_accepted() {
        let nack = [0, 0x81, 205, 0, 3, 0, 0, 0, 4, 0, 0, 0, 2, 0, 5, 0, 3];
        assert!(rtcp(&nack));
        let pli = [2, 0x81, 206, 0, 2, 0, 0, 0, 4, 0, 0, 0, 2];
        assert!(rtcp(&pli));
        assert!(!rtcp(&[1, 0x81, 206, 0, 2, 0, 0, 0, 4, 0, 0, 0, 2]), "not sealed");
    }
}
