//! Plain RTP that comes in: who may send it, where it is taken, and how it gets a session URL.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use whipstitch_ffmpeg::{Client, Input, InputRefused, Inputs, Wanted};
use whipstitch_plane::Ending;
use whipstitch_stream::StreamKey;
use whipstitch_webrtc::{Gateway, SessionUrl};

use crate::access;
use crate::media::Role;

/// From whom plain RTP is taken, of those who may publish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlainRtp {
    /// From programs on this machine.
    #[default]
    Loopback,
    /// From everybody.
    On,
    /// From nobody who asks over HTTP.
    Off,
}

/// Why somebody's is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// From nobody.
    Off,
    /// There are no ports to lease.
    NoPorts,
    /// From programs on this machine only.
    Elsewhere,
}

/// Where it is to be sent, and where it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) announced: IpAddr,
    pub(crate) local: IpAddr,
}

/// Takes plain RTP for HTTP. Clones are the same.
#[derive(Clone)]
pub(crate) struct Plain {
    pub(crate) inputs: Inputs,
    pub(crate) gateway: Gateway,
    pub(crate) from: PlainRtp,
}

impl std::fmt::Debug for Plain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plain").field("inputs", &self.inputs).field("from", &self.from).finish_non_exhaustive()
    }
}

impl Plain {
    /// Whether it is taken from who asks.
    pub(crate) fn allows(&self, is_on_this_machine: bool) -> Result<(), NotTaken> {
        match self.from {
            PlainRtp::Off => Err(NotTaken::Off),
            _ if !self.inputs.ports().can_lease() => Err(NotTaken::NoPorts),
            PlainRtp::Loopback if !is_on_this_machine => Err(NotTaken::Elsewhere),
            PlainRtp::Loopback | PlainRtp::On => Ok(()),
        }
    }

    /// Where it is taken from who asks: on this machine at 127.0.0.1, else at the address it would reach us at for WebRTC.
    /// `None` if none is known.
    pub(crate) fn place(
        &self,
        is_on_this_machine: bool,
        host: Option<&str>,
        candidates: &[SocketAddr],
    ) -> Option<Place> {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        if is_on_this_machine && (self.from == PlainRtp::Loopback || host.is_none_or(access::is_local_name)) {
            return Some(Place { announced: loopback, local: loopback });
        }
        let announced = candidates.first()?.ip();
        let local = match announced {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Some(Place { announced, local })
    }

    /// Opens an input for a session that has a URL, which is this subject's.
    pub(crate) async fn publish(
        &self,
        wanted: Wanted,
        client: Client,
        subject: Option<Arc<str>>,
    ) -> Result<(Input, SessionUrl), InputRefused> {
        let (mut url, stream) = (None, wanted.stream.clone());
        let enter = |session, worker, ending: &Ending| {
            let (given, guard) = self.gateway.give_url((session, worker), Role::Publisher, &stream, subject, ending);
            url = Some(given);
            Some(guard)
        };
        let input = self.inputs.open(wanted, client, enter).await?;
        // Whoever opens an input enters its session.
        Ok((input, url.expect("an input that is open was entered")))
    }

    /// Opens an input without a URL of its own.
    pub(crate) async fn open(&self, wanted: Wanted, client: Client) -> Result<Input, InputRefused> {
        self.inputs.open(wanted, client, |_, _, _| None).await
    }

    /// The input of a stream.
    pub(crate) fn input(&self, stream: &StreamKey) -> Option<Input> {
        self.inputs.of(stream)
    }
}
