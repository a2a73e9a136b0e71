//! The steps every session takes: a socket towards the endpoint, an offer, the answer, ICE and DTLS.

use std::time::Instant;

use str0m::config::DtlsCert;

use crate::error::Error;
use crate::link::Link;
use crate::peer::{Offer, Peer};
use crate::signalling::{Endpoint, Session};
use crate::socket::Socket;

/// A session the server has accepted and that is not connected yet.
pub(crate) struct Joining {
    link: Link,
    session: Session,
    /// When the POST was sent, and when its answer had been read.
    pub(crate) posted: Instant,
    pub(crate) answered: Instant,
}

/// Posts an offer and takes the answer. When the answer is of no use, the session is deleted again.
pub(crate) async fn join(endpoint: &Endpoint, offer: &Offer, certificate: Option<DtlsCert>) -> Result<Joining, Error> {
    let socket = Socket::towards(endpoint.url(), offer.tcp).await?;
    let (mut peer, text) = Peer::new(Instant::now(), socket.local_addr()?, offer, certificate)?;
    let posted = Instant::now();
    let (session, answer) = endpoint.post(text).await?;
    let answered = Instant::now();
    if let Err(error) = peer.accept(&answer) {
        let reason = error.to_string();
        abandon(session).await;
        return Err(Error::Answer { url: endpoint.url().to_string(), reason });
    }
    Ok(Joining { link: Link::new(peer, socket), session, posted, answered })
}

impl Joining {
    /// Runs ICE and DTLS. When they come to nothing, the session is deleted again.
    pub(crate) async fn connect(mut self) -> Result<(Link, Session), Error> {
        match self.link.connect().await {
            Ok(()) => Ok((self.link, self.session)),
            Err(error) => {
                abandon(self.session).await;
                Err(error)
            }
        }
    }
}

/// Frees what the server holds for a session that came to nothing; a failure here would hide the one that matters.
async fn abandon(session: Session) {
    if let Err(error) = session.delete().await {
        tracing::debug!(%error, "session of a failed attempt not deleted");
    }
}
