//! What signalling asks of whoever knows the origins and the sessions.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use url::Url;

use crate::ice::Generation;
use crate::record::{OriginId, Role, Session, SessionId};

/// What an origin speaks, and so which URLs it is asked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// This program.
    Whipstitch,
    /// SRS, with its own URLs.
    Srs,
    /// Any other server of WHIP and WHEP.
    Whip,
}

/// One server behind the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its name among all.
    pub id: OriginId,
    /// Where its HTTP is.
    pub url: Url,
    /// What it speaks.
    pub kind: Kind,
    /// Where it takes media, if it said so; else its answers say it.
    pub rtc: Option<SocketAddr>,
}

/// The origin for a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picked {
    /// Who is to be asked.
    pub origin: Origin,
    /// Whether the stream became its own just now, for this request.
    pub claimed_now: bool,
}

/// Why nobody can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoOrigin {
    /// No origin lives that may take it.
    None,
    /// Who has the stream cannot be found out now.
    RegistryAway,
}

/// The registry does not answer, and nothing is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Away;

/// As many sessions as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// Who knows.
pub trait Directory: Send + Sync + 'static {
    /// Which origin has the stream, or is to have it from now on.
    fn pick(&self, stream: &str, role: Role) -> impl Future<Output = Result<Picked, NoOrigin>> + Send;
    /// Nobody listens there: the next pick gives another one.
    fn failed(&self, origin: &OriginId);
    /// What came of a request to it. Where nothing did, a stream that became its own for that is nobody's again.
    fn answered(&self, stream: &str, picked: &Picked, ok: bool) -> impl Future<Output = ()> + Send;
    /// A session has begun: its datagrams are passed on from now on, and every proxy may know of it.
    fn opened(&self, session: Arc<Session>) -> impl Future<Output = Result<(), Full>> + Send;
    /// A session by its name in the proxy's URLs.
    fn session(&self, id: &SessionId) -> impl Future<Output = Result<Option<Arc<Session>>, Away>> + Send;
    /// An ICE restart has given it another generation.
    fn restarted(
        &self,
        id: &SessionId,
        generation: Generation,
        etag: Option<String>,
    ) -> impl Future<Output = ()> + Send;
    /// It has been ended by request.
    fn closed(&self, id: &SessionId) -> impl Future<Output = ()> + Send;
}
