//! Credentials that this server makes for the processes it runs: each for one right on one stream, shown from this machine,
//! good for as long as its guard lives. Children show them as `?process=`, to HTTP and RTSP alike, and are looked at where
//! everybody may come, too: what is shown there is one of these, or good for nothing.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use whipstitch_ffmpeg::owner::{Owners, Peer};
use whipstitch_stream::StreamKey;

use crate::access::Right;
use crate::credentials::{Token, random_hex};

/// As many random bits as the admin token has.
const BYTES: usize = 32;

/// Those that are good now. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Issued(Arc<Mutex<State>>, Owners);

#[derive(Debug, Default)]
struct State {
    grants: HashMap<u64, Grant>,
    next: u64,
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

    /// Whose credential this is, and whether it is good for this. Its owner is for the caller to know: every user of the
    /// machine can read it in the arguments of the child, so it counts on connections that [are ours](Self::is_ours) only.
    pub(crate) fn find(&self, right: Right, stream: Option<&StreamKey>, text: &str) -> Option<(Arc<str>, bool)> {
        let state = self.lock();
        let grant = state.shown(text)?;
        Some((grant.process.clone(), grant.right == right && Some(&grant.stream) == stream))
    }

    /// Whether this is a credential that is good for something now.
    pub(crate) fn knows(&self, text: &str) -> bool {
        self.lock().shown(text).is_some()
    }

    /// Whether who has connected from `client` to this port of ours is a child, or at least our own user. It is asked of the
    /// system, which takes its time: of those only who know a credential, once for each connection, and not on the threads
    /// that serve others.
    pub(crate) async fn is_ours(&self, client: SocketAddr, port: u16) -> bool {
        client.ip().to_canonical().is_loopback() && self.1.is_ours(Peer::Connected(client, port)).await
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_good_for_one_right_on_one_stream_while_it_lives() {
        let issued = Issued::default();
        let [cam, other] = ["cam", "other"].map(|name| StreamKey::parse(name).unwrap());
        let credential = issued.issue("encoder", Right::Play, &cam).unwrap();
        let text = credential.reveal().to_owned();
        let find = |right, stream, text: &str| {
            let found = issued.find(right, Some(stream), text);
            assert_eq!(issued.knows(text), found.is_some());
            found.map(|(process, good)| {
                assert_eq!(&*process, "encoder");
                good
            })
        };
        assert_eq!(find(Right::Play, &cam, &text), Some(true));
        assert_eq!(find(Right::Publish, &cam, &text), Some(false));
        assert_eq!(find(Right::Play, &other, &text), Some(false));
        assert_eq!(find(Right::Play, &cam, "another"), None);
        assert!(!format!("{issued:?}{credential:?}").contains(&text));
        let second = issued.issue("encoder", Right::Play, &cam).unwrap();
        assert_ne!(second.reveal(), text);
        drop(credential);
        assert_eq!(find(Right::Play, &cam, &text), None);
        assert_eq!(find(Right::Play, &cam, second.reveal()), Some(true));
    }

    #[tokio::test]
    async fn connections_are_ours_that_our_user_has_over_loopback() {
        let issued = Issued::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let client = stream.local_addr().unwrap();
        assert!(issued.is_ours(client, port).await);
        assert!(!issued.is_ours(client, 1).await, "there is no such connection to us");
        drop(stream);
        assert!(!issued.is_ours(client, port).await, "nobody's any more");
        assert!(!issued.is_ours("192.0.2.1:40000".parse().unwrap(), port).await);
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
