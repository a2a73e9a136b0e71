//! Media that a gateway can judge: H.264 with parameter sets, and anything as Opus.

use std::time::{Duration, Instant};

use super::rtp::{Rtcp, Rtp};
use super::{Peer, Received};
use crate::kit::PATIENCE;

/// Parameter sets of a camera of 320x240, constrained baseline, as `x264` writes them.
const SPS: [u8; 28] = [
    0x67, 0x42, 0xc0, 0x15, 0xd9, 0x01, 0x41, 0xfb, 0x01, 0x6a, 0x0c, 0x0c, 0x0d, 0x4a, 0x00, 0x00, 0x03, 0x00, 0x02,
    0x00, 0x00, 0x03, 0x00, 0x79, 0x1e, 0x2c, 0x5c, 0x90,
];
const PPS: [u8; 4] = [0x68, 0xcb, 0x8c, 0xb2];

/// One sender's packets of one SSRC.
#[derive(Clone)]
pub(crate) struct Track {
    pub(crate) ssrc: u32,
    pub(crate) pt: u8,
    /// Of the next packet.
    pub(crate) seq: u16,
    pub(crate) time: u32,
    /// On every packet.
    pub(crate) extensions: Vec<(u8, Vec<u8>)>,
    /// Frames so far; each carries its number.
    frames: u32,
}

impl Track {
    pub(crate) fn new(ssrc: u32, pt: u8) -> Track {
        Track { ssrc, pt, seq: 65_000, time: 4_294_900_000, extensions: Vec::new(), frames: 0 }
    }

    pub(crate) fn with(mut self, id: u8, value: &[u8]) -> Track {
        self.extensions.push((id, value.to_vec()));
        self
    }

    pub(crate) fn packet(&mut self, marker: bool, payload: Vec<u8>) -> Rtp {
        let seq = self.seq;
        self.seq = self.seq.wrapping_add(1);
        let (pt, time, ssrc, extensions) = (self.pt, self.time, self.ssrc, self.extensions.clone());
        Rtp { pt, marker, seq, time, ssrc, extensions, payload, padding: 0 }
    }

    /// A frame of H.264 a decoder can start at: parameter sets, then a slice.
    pub(crate) fn keyframe(&mut self) -> [Rtp; 2] {
        self.frame(3000);
        let mut sets = vec![24];
        for unit in [&SPS[..], &PPS[..]] {
            sets.extend((unit.len() as u16).to_be_bytes());
            sets.extend(unit);
        }
        let slice = self.slice(0x65, 100);
        [self.packet(false, sets), self.packet(true, slice)]
    }

    /// A frame of H.264 that builds on the last, in one packet with `size` bytes of payload.
    pub(crate) fn delta(&mut self, size: usize) -> Rtp {
        self.frame(3000);
        let slice = self.slice(0x41, size);
        self.packet(true, slice)
    }

    /// 20 ms of audio.
    pub(crate) fn audio(&mut self) -> Rtp {
        self.frame(960);
        let mut payload = vec![0xfc];
        payload.extend(self.frames.to_be_bytes());
        self.packet(false, payload)
    }

    fn frame(&mut self, duration: u32) {
        self.frames += 1;
        self.time = self.time.wrapping_add(duration);
    }

    fn slice(&self, header: u8, size: usize) -> Vec<u8> {
        let mut slice = vec![header];
        slice.extend(self.frames.to_be_bytes());
        slice.resize(size, 0x5a);
        slice
    }
}

/// The number of the frame a slice or a piece of audio belongs to.
pub(crate) fn frame_of(packet: &Rtp) -> Option<u32> {
    let number = packet.payload.get(1..5)?.try_into().ok()?;
    matches!(packet.payload[0], 0x65 | 0x41 | 0xfc).then(|| u32::from_be_bytes(number))
}

/// A camera and who looks.
pub(crate) struct Scene {
    pub(crate) publisher: Peer,
    pub(crate) viewer: Peer,
    pub(crate) camera: Track,
    /// What the viewer got, in the order it came.
    pub(crate) packets: Vec<Rtp>,
    /// Compounds that the viewer got, with when.
    pub(crate) viewer_rtcp: Vec<(Instant, Vec<Rtcp>)>,
    /// Compounds that the publisher got, with when.
    pub(crate) publisher_rtcp: Vec<(Instant, Vec<Rtcp>)>,
}

impl Scene {
    /// Sends key frames until the viewer has got one.
    #[track_caller]
    pub(crate) fn begin(publisher: Peer, viewer: Peer, camera: Track) -> Scene {
        let (packets, viewer_rtcp, publisher_rtcp) = (Vec::new(), Vec::new(), Vec::new());
        let mut scene = Scene { publisher, viewer, camera, packets, viewer_rtcp, publisher_rtcp };
        let deadline = Instant::now() + PATIENCE;
        while scene.packets.len() < 2 {
            assert!(Instant::now() < deadline, "no picture in {PATIENCE:?}");
            let frame = scene.camera.keyframe();
            frame.iter().for_each(|packet| drop(scene.publisher.send(packet)));
            scene.live(Duration::from_millis(10));
        }
        scene
    }

    /// Both take in what comes for this long.
    #[track_caller]
    pub(crate) fn live(&mut self, duration: Duration) {
        let until = Instant::now() + duration;
        loop {
            let slice = Duration::from_millis(1);
            let viewed = self.viewer.receive(slice);
            let published = self.publisher.receive(slice);
            let idle = viewed.is_none() && published.is_none();
            match viewed {
                Some(Received::Rtp(packet)) => self.packets.push(packet),
                Some(Received::Rtcp(compound)) => self.viewer_rtcp.push((Instant::now(), compound)),
                _ => {}
            }
            if let Some(Received::Rtcp(compound)) = published {
                self.publisher_rtcp.push((Instant::now(), compound));
            }
            if idle && Instant::now() >= until {
                return;
            }
        }
    }

    /// Lives until something has happened.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, happened: impl Fn(&Scene) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !happened(self) {
            assert!(Instant::now() < deadline, "{what} did not happen in {PATIENCE:?}");
            self.live(Duration::from_millis(5));
        }
    }

    /// Sends a frame that builds on the last; gives the datagram and the number of the frame.
    #[track_caller]
    pub(crate) fn delta(&mut self) -> (Vec<u8>, u32) {
        let packet = self.camera.delta(200);
        let frame = frame_of(&packet).expect("a slice");
        (self.publisher.send(&packet), frame)
    }

    /// Whether the viewer has got this frame.
    pub(crate) fn has(&self, frame: u32) -> bool {
        self.packets.iter().any(|packet| frame_of(packet) == Some(frame))
    }

    /// Every packet RTCP asked the publisher for, in order.
    pub(crate) fn nacked(&self) -> Vec<u16> {
        let compounds = self.publisher_rtcp.iter().flat_map(|(_, compound)| compound);
        compounds.filter(|packet| packet.is(super::rtp::RTPFB, 1)).flat_map(Rtcp::nacked).collect()
    }
}
