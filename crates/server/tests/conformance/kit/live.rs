//! A peer that does what any offer promises: str0m for ICE and DTLS without its SDP, so that the offer stays the one of
//! the client it is played for.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use str0m::config::Fingerprint;
use str0m::crypto::from_feature_flags;
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, IceCreds, Input, Output, Rtc, RtcConfig};

use super::{Answer, PATIENCE, Site};

/// A session that is connected and stays so until it is dropped, in a thread of its own. It sends no media.
pub(crate) struct Live {
    /// The 201.
    pub(crate) accepted: Answer,
    /// The offer as it was sent: that of the caller with this peer's credentials and fingerprint.
    pub(crate) offer: String,
    signs: Arc<Signs>,
    thread: Option<JoinHandle<()>>,
}

/// What the two threads tell each other.
#[derive(Default)]
struct Signs {
    /// The server has said goodbye.
    closed: AtomicBool,
    /// Say goodbye and end.
    hang_up: AtomicBool,
    /// End.
    stop: AtomicBool,
}

impl Live {
    /// POSTs `offer` to `target`, with credentials of its own in it, and waits for DTLS to be done.
    #[track_caller]
    pub(crate) fn connect(site: &Site, target: &str, offer: &str) -> Live {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
        let mut rtc = RtcConfig::new().set_crypto_provider(Arc::new(from_feature_flags())).build(Instant::now());
        let local = socket.local_addr().expect("bound");
        rtc.add_local_candidate(Candidate::host(local, Protocol::Udp).expect("an address"));
        let offer = with_credentials(offer, &mut rtc);
        let accepted = site.post(target, &offer).is(201);
        begin(&mut rtc, accepted.text());

        let signs = Arc::new(Signs::default());
        let (connected, is_connected) = mpsc::sync_channel(1);
        let peer = Peer { rtc, socket, connected, signs: Arc::clone(&signs) };
        let thread = Some(std::thread::spawn(move || peer.run()));
        let live = Live { accepted, offer, signs, thread };
        is_connected.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no connection for\n{}", live.offer));
        live
    }

    /// The session URL.
    #[track_caller]
    pub(crate) fn url(&self) -> &str {
        self.accepted.location()
    }

    /// Whether the server has ended it with a DTLS close.
    pub(crate) fn is_closed(&self) -> bool {
        self.signs.closed.load(Ordering::Relaxed)
    }

    /// Closes DTLS and nothing else, as OBS does first.
    pub(crate) fn hang_up(&self) {
        self.signs.hang_up.store(true, Ordering::Relaxed);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.signs.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))), "the peer panicked");
    }
}

/// `offer` with what this peer can answer for.
fn with_credentials(offer: &str, rtc: &mut Rtc) -> String {
    let api = rtc.direct_api();
    let IceCreds { ufrag, pass } = api.local_ice_credentials();
    let fingerprint = api.local_dtls_fingerprint().to_string();
    let lines = offer.split_inclusive('\n').map(|line| {
        let end = line.trim_start_matches(|c| c != '\r' && c != '\n');
        for (name, value) in [("a=ice-ufrag:", &ufrag), ("a=ice-pwd:", &pass), ("a=fingerprint:", &fingerprint)] {
            if line.starts_with(name) {
                return format!("{name}{value}{end}");
            }
        }
        line.to_owned()
    });
    lines.collect()
}

/// Takes from an answer what ICE and DTLS need.
#[track_caller]
fn begin(rtc: &mut Rtc, answer: &str) {
    let all = |name: &str| -> Vec<&str> {
        answer.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':')).collect()
    };
    let first = |name: &str| *all(name).first().unwrap_or_else(|| panic!("no {name} in\n{answer}"));
    let creds = IceCreds { ufrag: first("a=ice-ufrag").to_owned(), pass: first("a=ice-pwd").to_owned() };
    let fingerprint: Fingerprint = first("a=fingerprint").parse().expect("a fingerprint");
    let is_client = first("a=setup") == "passive";
    for candidate in all("a=candidate").into_iter().filter(|candidate| candidate.contains(" udp ")) {
        let candidate = Candidate::from_sdp_string(&format!("candidate:{candidate}")).expect("a candidate");
        rtc.add_remote_candidate(candidate);
    }
    let mut api = rtc.direct_api();
    api.set_ice_controlling(true);
    api.set_remote_ice_credentials(creds);
    api.set_remote_fingerprint(fingerprint);
    api.start_dtls(is_client).expect("a fresh peer");
}

struct Peer {
    rtc: Rtc,
    socket: UdpSocket,
    connected: mpsc::SyncSender<()>,
    signs: Arc<Signs>,
}

impl Peer {
    fn run(mut self) {
        let local = self.socket.local_addr().expect("bound");
        let mut bytes = [0; 2048];
        while !self.signs.stop.load(Ordering::Relaxed) && self.rtc.is_alive() {
            if self.signs.hang_up.swap(false, Ordering::Relaxed) {
                self.rtc.close().expect("a connected peer");
            }
            self.drain();
            let input = match self.socket.recv_from(&mut bytes) {
                Ok((length, source)) => {
                    let receive = Receive::new(Protocol::Udp, source, local, &bytes[..length]);
                    receive.map(|receive| Input::Receive(Instant::now(), receive)).ok()
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    Some(Input::Timeout(Instant::now()))
                }
                // The server is gone.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => None,
                Err(error) => panic!("{error}"),
            };
            if let Some(input) = input {
                self.rtc.handle_input(input).expect("an open peer");
            }
        }
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output().expect("an open peer") {
                Output::Timeout(_) => return,
                Output::Transmit(transmit) => {
                    // A server that has stopped is no mistake of this peer.
                    let _ = self.socket.send_to(&transmit.contents, transmit.destination);
                }
                Output::Event(Event::Connected) => {
                    let _ = self.connected.try_send(());
                }
                Output::Event(Event::Closed) => self.signs.closed.store(true, Ordering::Relaxed),
                Output::Event(_) => {}
            }
        }
    }
}
