//! Credentials that this server makes for the processes it runs: each for one right on one stream, shown from this machine,
//! good for as long as its guard lives. Children show them as `?process=`, to HTTP and RTSP alike, and are looked at where
//! everybody may come, too: what is shown there is one of these, or good for nothing.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use tokio::sync::watch;
use tracing::warn;
use whipstitch_ffmpeg::owner;
use whipstitch_stream::StreamKey;

use crate::access::Right;
use crate::credentials::{Token, random_hex};

/// As many random bits as the admin token has.
const BYTES: usize = 32;

/// Those that are good now. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Issued(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    grants: HashMap<u64, Grant>,
    next: u64,
    /// Where children find us; empty until that is known.
    ports: Vec<u16>,
}

#[derive(Debug)]
struct Grant {
    token: Token,
    right: Right,
    stream: StreamKey,
    process: Arc<str>,
    /// Dropped with it, which is how those hear that it is over who wait for that.
    lives: watch::Sender<()>,
}

/// One credential. Nothing is allowed by it any more once this is dropped.
#[derive(Debug)]
pub(crate) struct Credential {
    issued: Issued,
    id: u64,
    token: Token,
}

impl Credential {
    /// What has to be shown.
    pub(crate) fn reveal(&self) -> &str {
        self.token.reveal()
    }
}

impl Drop for Credential {
    fn drop(&mut self) {
        self.issued.lock().grants.remove(&self.id);
    }
}

impl State {
    /// The one that this is.
    fn shown(&self, text: &str) -> Option<&Grant> {
        // All are compared always: which one matched must not show in the time taken.
        self.grants.values().fold(None, |found, grant| if grant.token.matches(text) { Some(grant) } else { found })
    }
}

impl Issued {
    /// A credential for one start of a process. Their number is bounded by that of the processes.
    pub(crate) fn issue(&self, process: &str, right: Right, stream: &StreamKey) -> Option<Credential> {
        let token = Token::parse(&random_hex::<BYTES>()).ok()?;
        let mut state = self.lock();
        let (id, lives) = (state.next, watch::Sender::new(()));
        state.next += 1;
        let grant = Grant { token: token.clone(), right, stream: stream.clone(), process: process.into(), lives };
        state.grants.insert(id, grant);
        Some(Credential { issued: self.clone(), id, token })
    }

    /// Comes true when this is none of them, or no longer.
    pub(crate) async fn over(&self, text: &str) {
        let lives = self.lock().shown(text).map(|grant| grant.lives.subscribe());
        if let Some(mut lives) = lives {
            // Nothing is ever told but the end.
            while lives.changed().await.is_ok() {}
        }
    }

    /// Whose credential this is, and whether it is good for this. From elsewhere than this machine none is known; `here` is
    /// from where on it. Nor is any from somebody else here than a child of ours, once it is known where we listen: every
    /// user of the machine can read it in the arguments of the child.
    pub(crate) fn find(
        &self,
        right: Right,
        stream: Option<&StreamKey>,
        here: Option<SocketAddr>,
        text: &str,
    ) -> Option<(Arc<str>, bool)> {
        let client = here?;
        let (found, ports) = {
            let state = self.lock();
            let grant = state.shown(text)?;
            ((grant.process.clone(), grant.right == right && Some(&grant.stream) == stream), state.ports.clone())
        };
        is_ours(client, &ports).then_some(found)
    }

    /// Children connect to these ports. From now on it is looked whose a connection is.
    pub(crate) fn listens_at(&self, ports: impl IntoIterator<Item = u16>) {
        self.lock().ports = ports.into_iter().collect();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether who has connected to one of our ports from there is a child of ours, or our own user.
fn is_ours(client: SocketAddr, ports: &[u16]) -> bool {
    static UNTOLD: Once = Once::new();
    ports.is_empty()
        || ports.iter().any(|port| {
            owner::is_ours(client, *port).unwrap_or_else(|error| {
                // As it is where processes are hidden from each other altogether.
                UNTOLD.call_once(|| {
                    warn!(error, "the system does not tell whose connections are: credentials of processes are good for every user here");
                });
                true
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_good_for_one_right_on_one_stream_from_here_while_it_lives() {
        let issued = Issued::default();
        let [cam, other] = ["cam", "other"].map(|name| StreamKey::parse(name).unwrap());
        let credential = issued.issue("encoder", Right::Play, &cam).unwrap();
        let text = credential.reveal().to_owned();
        let find = |right, stream, local: bool, text: &str| {
            let here = local.then_some(SocketAddr::from(([127, 0, 0, 1], 40_000)));
            issued.find(right, Some(stream), here, text).map(|(process, good)| {
                assert_eq!(&*process, "encoder");
                good
            })
        };
        assert_eq!(find(Right::Play, &cam, true, &text), Some(true));
        assert_eq!(find(Right::Publish, &cam, true, &text), Some(false));
        assert_eq!(find(Right::Play, &other, true, &text), Some(false));
        assert_eq!(find(Right::Play, &cam, false, &text), None);
        assert_eq!(find(Right::Play, &cam, true, "another"), None);
        assert!(!format!("{issued:?}{credential:?}").contains(&text));
        let second = issued.issue("encoder", Right::Play, &cam).unwrap();
        assert_ne!(second.reveal(), text);
        drop(credential);
        assert_eq!(find(Right::Play, &cam, true, &text), None);
        assert_eq!(find(Right::Play, &cam, true, second.reveal()), Some(true));
    }

    #[test]
    fn a_credential_is_good_on_connections_of_ours_only() {
        let (issued, cam) = (Issued::default(), StreamKey::parse("cam").unwrap());
        let credential = issued.issue("encoder", Right::Play, &cam).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let client = stream.local_addr().unwrap();
        issued.listens_at([1, listener.local_addr().unwrap().port()]);
        let is_good = || issued.find(Right::Play, Some(&cam), Some(client), credential.reveal()).is_some();
        assert!(is_good());
        issued.listens_at([1]);
        assert!(!is_good(), "there is no such connection to us");
        issued.listens_at([listener.local_addr().unwrap().port()]);
        drop(stream);
        assert!(!is_good(), "nobody's any more");
    }

    #[tokio::test]
    async fn who_waits_for_the_end_of_a_credential_is_told_of_it() {
        let issued = Issued::default();
        let cam = StreamKey::parse("cam").unwrap();
        let credential = issued.issue("encoder", Right::Play, &cam).unwrap();
        let _other = issued.issue("encoder", Right::Publish, &cam).unwrap();
        let text = credential.reveal().to_owned();
        issued.over("another").await;
        let mut waits = Box::pin(issued.over(&text));
        let is_over = async |waits: &mut std::pin::Pin<Box<_>>| {
            tokio::select! {
                biased;
                () = waits => true,
                () = tokio::task::yield_now() => false,
            }
        };
        assert!(!is_over(&mut waits).await);
        drop(credential);
        assert!(is_over(&mut waits).await);
        issued.over(&text).await;
    }
}
