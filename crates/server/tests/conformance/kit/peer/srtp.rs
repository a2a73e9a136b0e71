//! SRTP of a client: libsrtp, which OBS, GStreamer and browsers use, in a process of its own.

#[path = "../../../../../webrtc/tests/libsrtp/process.rs"]
mod process;

use process::Libsrtp;

use super::rtp::{Rtcp, Rtp};

/// The master keys of both directions, each with its salt.
pub(crate) struct Masters {
    pub(crate) profile: &'static str,
    pub(crate) ours: Vec<u8>,
    pub(crate) theirs: Vec<u8>,
}

/// Protects what is sent and opens what comes.
pub(crate) struct Srtp {
    libsrtp: Libsrtp,
    pub(crate) profile: &'static str,
}

impl Srtp {
    pub(crate) fn new(masters: &Masters) -> Srtp {
        let libsrtp = Libsrtp::start(masters.profile, &masters.ours, &masters.theirs);
        Srtp { libsrtp, profile: masters.profile }
    }

    #[track_caller]
    pub(crate) fn protect(&mut self, packet: &Rtp) -> Vec<u8> {
        self.libsrtp.call("protect", &packet.bytes()).expect("libsrtp seals each packet once")
    }

    #[track_caller]
    pub(crate) fn protect_rtcp(&mut self, compound: &[u8]) -> Vec<u8> {
        self.libsrtp.call("protect_rtcp", compound).expect("libsrtp seals a compound")
    }

    /// The packet, or libsrtp's status.
    pub(crate) fn open(&mut self, datagram: &[u8]) -> Result<Rtp, i32> {
        self.libsrtp.call("unprotect", datagram).map(|bytes| Rtp::parse(&bytes))
    }

    #[track_caller]
    pub(crate) fn open_rtcp(&mut self, datagram: &[u8]) -> Vec<Rtcp> {
        let compound =
            self.libsrtp.call("unprotect_rtcp", datagram).expect("every compound of the server is authentic");
        Rtcp::parse_all(&compound)
    }
}
