//! What every conformance test is made of: the server in this process on free ports of loopback ([`Site`]), an HTTP
//! client that sends any bytes and shows the answer as it came ([`Connection`], [`Answer`]), the offers of real clients
//! ([`offers`]), a peer that connects with any of them ([`Live`]), one that does what the test says, datagram by datagram
//! ([`peer::Peer`]), and a judge of SDP answers ([`answer`]).

pub(crate) mod answer;
mod http;
mod live;
pub(crate) mod offers;
pub(crate) mod peer;
pub(crate) mod sdp;
mod site;

use std::time::Duration;

pub(crate) use http::{Answer, Connection};
pub(crate) use live::Live;
pub(crate) use site::Site;

/// How long anything may take on a busy machine before a test is given up. Nothing waits this long that works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The header field of an offer.
pub(crate) const SDP: &str = "Content-Type: application/sdp";
/// The header field of a fragment.
pub(crate) const FRAGMENT: &str = "Content-Type: application/trickle-ice-sdpfrag";

/// `text` with every occurrence of the left side replaced; a left side that does not occur is a mistake in the test.
#[track_caller]
pub(crate) fn changed(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "there is no {from:?} in it");
        text.replace(from, to)
    })
}
